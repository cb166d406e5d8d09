"""The table of systems."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from metier.data.records import Choice
from metier.errors import ArgumentError
from metier.evaluation.systems import SYSTEMS_OF, UNTRAINED, Material, build_system
from metier.recipe.sections import EvaluationSection, SystemName

Records = Callable[..., list[Choice]]


def _material(records: list[Choice]) -> Material:
    labels = tuple(sorted({record.label for record in records}))
    section = EvaluationSection(resamples=200)
    return Material(train=records, validation=records[:30], labels=labels, section=section, seed=1)


def test_the_tables_have_the_names_of_the_recipe() -> None:
    names = {name for table in SYSTEMS_OF.values() for name in table}
    assert names == set(SystemName.__args__)
    assert names >= UNTRAINED


@pytest.mark.parametrize("task", sorted(SYSTEMS_OF))
def test_every_builder_is_a_function_that_its_module_defines(task: str) -> None:
    for place in SYSTEMS_OF[task].values():
        module, function = place.split(":")
        source = Path(find_spec(module).origin or "").read_text(encoding="utf-8")  # type: ignore[union-attr]
        assert f"def {function}(material: Material)" in source


@pytest.mark.parametrize("name", ["majority", "tfidf"])
def test_a_row_builds_the_system_of_its_name(name: str, make_records: Records) -> None:
    assert build_system(name, _material(make_records(60))).name == name


def test_an_unknown_name_is_refused(make_records: Records) -> None:
    with pytest.raises(ArgumentError, match=r"evaluation\.systems: found 'oracle', wanted one of majority, tfidf"):
        build_system("oracle", _material(make_records(30)))


def test_a_system_of_another_task_is_refused(make_records: Records) -> None:
    with pytest.raises(ArgumentError, match=r"systems: found 'tfidf', wanted one of copy_input, nearest_answer, zero"):
        build_system("tfidf", replace(_material(make_records(30)), task="chat"))
    with pytest.raises(ArgumentError, match=r"systems: found 'few_shot', wanted one of zero_shot"):
        build_system("few_shot", _material(make_records(30)), "text")


def test_the_table_loads_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, metier.evaluation.systems; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
