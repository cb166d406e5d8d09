"""The guide of the data names every step, every policy, every reason and every file, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from metier.data.cleaning.steps import STEPS
from metier.data.record.decisions import DECISIONS
from metier.recipe.sections import DataSection


@pytest.fixture(scope="module")
def guide(repository: Path) -> str:
    return (repository / "docs" / "data.md").read_text(encoding="utf-8")


def rows_below(text: str, heading: str) -> list[list[str]]:
    """The first table below a heading, its cells without code marks."""
    part = re.split(r"^#", text.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^\| (.+) \|$", part.partition("| --- |")[2].partition("\n\n")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in found]


def policies_of(path: str) -> tuple[str, ...]:
    """The values that a field of the data section may have, the default first."""
    section: Any = DataSection
    *steps, last = path.split(".")
    for step in steps:
        section = section.model_fields[step].annotation
    field = section.model_fields[last]
    default, values = field.default, get_args(field.annotation)
    return (default, *(value for value in values if value != default))


def test_every_step_is_there_in_its_order(guide: str) -> None:
    rows = rows_below(guide, "## Cleaning, step by step")
    assert [row[0].strip("`") for row in rows] == [step.name for step in STEPS]


def test_every_step_names_its_policies(guide: str) -> None:
    by_step = {step.name: step for step in STEPS}
    for name, _, fields, policies in rows_below(guide, "## Cleaning, step by step"):
        step = by_step[name.strip("`")]
        allowed = policies_of(step.policy)
        told = tuple(re.findall(r"`(\w+)`", policies))
        assert (told[0], set(told)) == (allowed[0], set(allowed)), name
        assert f"`data.{step.policy.partition('.')[0]}" in fields
        for field in re.findall(r"`data\.(\w+)`", fields):
            assert field in DataSection.model_fields, field


def test_every_decision_is_explained(guide: str) -> None:
    assert [row[0].strip("`") for row in rows_below(guide, "### What a person decides")] == list(DECISIONS)


def test_outputs_are_filled_in(guide: str) -> None:
    assert "<!-- output" not in guide
