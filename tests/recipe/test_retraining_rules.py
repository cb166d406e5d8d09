"""What folds and seeds cannot be combined with is said, each with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metier.errors import RecipeError
from metier.recipe.load import recipe_from_values
from metier.recipe.sections import Recipe


def _load(data: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    values = {
        "data": {"train": "t.csv", **(data or {})}, "model": "minilm", "adaptation": {"method": "full"},
        "evaluation": {"systems": ["majority", "tfidf"], **changes.pop("evaluation", {})}, **changes,
    }  # fmt: skip
    return recipe_from_values(values, base=Path(), where="recipe.yaml")


def test_folds_and_seeds_are_read() -> None:
    assert _load(evaluation={"folds": 5}).evaluation.folds == 5
    assert _load(evaluation={"seeds": 5}).evaluation.seeds == 5


@pytest.mark.parametrize(
    ("data", "evaluation", "said"),
    [
        ({"test": "own.csv"}, {}, r"data\.test: is a test set of its own"),
        ({"time": "date"}, {}, r"data\.time: has no effect with evaluation\.folds"),
        ({"test_size": 0.3}, {}, r"data\.test_size: has no effect with evaluation\.folds"),
        ({"ablation": True}, {}, r"data\.ablation: does not go with evaluation\.folds"),
        ({"bias": {"augment": True}}, {}, r"data\.bias\.augment: does not go with evaluation\.folds"),
        ({}, {"split": "validation"}, r"evaluation\.split: is validation with evaluation\.folds"),
        ({}, {"seeds": 3}, r"evaluation\.seeds: is given with evaluation\.folds"),
        ({}, {"explain_errors": 7}, r"evaluation\.explain_errors: has no effect with evaluation\.folds"),
    ],
)
def test_what_folds_cannot_go_with(data: dict[str, Any], evaluation: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        _load(data, evaluation={"folds": 3, **evaluation})


def test_what_stays_at_its_default_is_no_fault() -> None:
    assert _load({"test_size": 0.2}, evaluation={"folds": 3, "explain_errors": 200}).evaluation.folds == 3


def test_a_head_alone_needs_no_seeds() -> None:
    with pytest.raises(RecipeError, match="every seed gives the same model"):
        _load(evaluation={"seeds": 3}, adaptation={"method": "head"})
