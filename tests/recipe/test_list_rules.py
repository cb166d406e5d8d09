"""What tasks with lists read, and what no other task does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from metier.errors import RecipeError
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("task", "text", "message"),
    [
        ("classification", "data: {train: a, label: [x, y]}", "names 2 columns, wanted one column. Set `task: multila"),
        ("classification", "data: {train: a, label_separator: ';'}", "label_separator .*: has no effect with `task: c"),
        ("extraction", "data: {train: a, label: x}", "data.label .*: has no effect with `task: extraction`"),
        ("multilabel", "data: {train: a, answer: x}", "data.answer .*: has no effect with `task: multilabel`"),
        ("multilabel", "data: {train: a, label: [x]}", "is a list of 1, wanted two columns or more, one a label"),
        ("multilabel", "data: {train: a, label: [x, x]}", "has 'x' 2 times, wanted each once"),
        ("multilabel", "data: {train: a, label: [x, y], text: x}", "holds the label column 'x'"),
        ("multilabel", "data: {train: a, label: [x, y], label_separator: ';'}", "has no effect where `data.label` nam"),
        ("multilabel", "data: {train: a, rare_labels: reject}", "rare_labels .*: has no effect with `task: multilabel"),
        ("multilabel", "data: {train: a, shape: alpaca}", "is alpaca, which does not fit `task: multilabel`, wanted c"),
        ("multilabel", "data: {train: a, answers: b}", "data.answers .*: has no effect with `task: multilabel`"),
        ("extraction", "data: {train: a, bias: {augment: true}}", "augment .*: does not fit `task: extraction`. A swa"),
        ("extraction", "data: {train: a}\nadaptation: {method: head}", "method .*: does not fit `task: extraction`"),
        ("extraction", "data: {train: a}\nevaluation: {systems: [majority]}", "has 'majority', which does not fit"),
        ("multilabel", "data: {train: a}\nevaluation: {primary_metric: accuracy}", "is 'accuracy', which does not fit"),
        ("multilabel", "data: {train: a}\ngates: {minimum: {mcc: 0.5}}", "mcc .*: is 'mcc', which does not fit `task:"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_a_fault(load: Load, task: str, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(f"task: {task}\n{text}")


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("multilabel", "data: {train: a, label: [x, y], labels: [x, y], label_names: {x: y}, ignore_labels: [z]}"),
        ("multilabel", "data: {train: a, label: x, label_separator: ';'}\nadaptation: {method: head}"),
        ("extraction", "data: {train: a, answer: spans, labels: [P, Q]}\nprompt: {instruction: find}"),
    ],
)
def test_what_they_read_is_taken(load: Load, task: str, text: str) -> None:
    recipe = load(f"task: {task}\n{text}")
    assert recipe.task == task and recipe.evaluation.primary_metric in ("macro_f1", "span_f1")
    assert re.fullmatch(r"\d+", str(recipe.training.max_length))
