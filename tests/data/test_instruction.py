"""The sentence that a base model is told when the recipe gives none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from metier.data.instruction import with_instruction
from metier.recipe.sections import PromptSection


@pytest.mark.parametrize(
    ("column", "shape", "told"),
    [
        ("reference_summary", "columns", "Read the text and write its reference summary."),
        ("note.plan", "columns", "Read the text and write its plan."),
        ("summaries[0]", "columns", "Read the text and write its summaries."),
        ("answers.text", "columns", None),
        ("answers[0].text", "columns", None),
        ("messages[-1].content", "columns", None),
        ("answer", "columns", None),
        (None, "columns", None),
        ("note", "alpaca", None),
    ],
)
def test_only_a_telling_name_makes_a_sentence(column: str | None, shape: str, told: str | None) -> None:
    card: Any = cast(Any, SimpleNamespace(answer_column=column, shape=shape, task="generation"))
    assert with_instruction(PromptSection(), card).instruction == told


def test_the_recipes_own_instruction_stays() -> None:
    card: Any = cast(Any, SimpleNamespace(answer_column="note", shape="columns", task="multilabel"))
    assert with_instruction(PromptSection(instruction="Write."), card).instruction == "Write."


def test_a_model_that_writes_lists_is_told_the_labels_and_the_form() -> None:
    for task, form in (("multilabel", "a JSON list"), ("extraction", '["piece", "kind"]')):
        card: Any = cast(Any, SimpleNamespace(answer_column="x", shape="columns", task=task, labels=("late", "rude")))
        told = with_instruction(PromptSection(), card).instruction or ""
        assert form in told and told.endswith(": late, rude") and "[] if" in told
