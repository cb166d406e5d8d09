"""The table of systems."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from metier.data.records import Choice
from metier.errors import ArgumentError
from metier.evaluation.systems import SYSTEMS, UNTRAINED, Material, build_system
from metier.recipe.sections import EvaluationSection, SystemName

Records = Callable[..., list[Choice]]


def _material(records: list[Choice]) -> Material:
    labels = tuple(sorted({record.label for record in records}))
    section = EvaluationSection(resamples=200)
    return Material(train=records, validation=records[:30], labels=labels, section=section, seed=1)


def test_the_table_has_the_names_of_the_recipe() -> None:
    assert set(SYSTEMS) == set(SystemName.__args__)
    assert set(SYSTEMS) >= UNTRAINED


@pytest.mark.parametrize("name", ["majority", "tfidf"])
def test_a_row_builds_the_system_of_its_name(name: str, make_records: Records) -> None:
    assert build_system(name, _material(make_records(60))).name == name


def test_an_unknown_name_is_refused(make_records: Records) -> None:
    with pytest.raises(ArgumentError, match=r"evaluation\.systems: found 'oracle', wanted one of majority, tfidf"):
        build_system("oracle", _material(make_records(30)))


def test_the_table_loads_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, metier.evaluation.systems; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
