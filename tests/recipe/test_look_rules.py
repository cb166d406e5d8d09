"""What the closer looks cannot do is a fault of the recipe, never ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.errors import RecipeError
from metier.recipe.sections import Recipe


@pytest.fixture(scope="module")
def load() -> Callable[[str], Recipe]:
    import yaml

    from metier.recipe.load import recipe_from_values

    def make(text: str) -> Recipe:
        return recipe_from_values(
            {"data": {"train": "a.csv"}, **yaml.safe_load(text)}, base=Path(), where="recipe.yaml"
        )

    return make


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: generation\nevaluation: {robustness: [option_order]}",
            r"evaluation\.robustness.*has 'option_order', which does not fit `task: generation`",
        ),
        ("task: text\nevaluation: {robustness: [typos]}", "with `task: text` nothing is asked"),
        ("task: generation\nevaluation: {robustness_items: 20}", "robustness_items.*has no effect: nothing is asked"),
        ("evaluation: {robustness: [], robustness_items: 20}", "robustness_items.*has no effect: nothing is asked"),
        ("task: generation\nevaluation: {calibrate: false}", "calibrate.*whose answers have no probabilities"),
        ("task: chat\ngates: {minimum_coverage: 0.5}", "gates.minimum_coverage.*no probabilities"),
        ("gates: {largest_gap: {channel: 0.1}}", "gates.largest_gap.channel.*is no kind of slice that is looked at"),
        (
            "evaluation: {slices: [label]}\ngates: {largest_gap: {length: 0.1}}",
            "largest_gap.length.*wanted one of label",
        ),
        ('evaluation: {slice_columns: [" "]}', "slice_columns.*names an empty column"),
    ],
)
def test_a_field_without_effect_is_refused(text: str, message: str, load: Callable[[str], Recipe]) -> None:
    with pytest.raises(RecipeError, match=message):
        load(text)


@pytest.mark.parametrize(
    "text",
    [
        "evaluation: {robustness: [typos, instruction, option_order], robustness_items: 20}",
        "task: generation\nevaluation: {robustness: [typos], robustness_items: 20}",
        "evaluation: {slice_columns: [channel]}\ngates: {largest_gap: {channel: 0.1, label: 0.3}}",
        "gates: {minimum_coverage: 0.4}",
        "task: generation\nevaluation: {calibrate: true, promise_confidence: 0.95, robustness_items: 100}",
    ],
)
def test_what_fits_is_taken(text: str, load: Callable[[str], Recipe]) -> None:
    assert load(text)
