"""What the choices of baselines may not say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.errors import RecipeError
from metier.recipe.sections import Recipe

Load = Callable[[str], Recipe]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("few_shot: {selection: []}", r"few_shot\.selection .*: is empty, wanted random, nearest or both"),
        ("few_shot: {selection: [random, random]}", r"few_shot\.selection .*: has 'random' 2 times, wanted each once"),
        ("few_shot: {selection: [nearest], seeds: 3}", r"few_shot\.seeds .*: has no effect without random examples"),
        ("systems: [tfidf]\n  few_shot: {selection: [nearest]}",
         r"few_shot\.selection .*: has no effect without `few_shot` in `evaluation\.systems`"),
        ("probe_depths: []", r"evaluation\.probe_depths .*: is empty, wanted at least one share"),
        ("probe_depths: [0.5, 0.5]", r"evaluation\.probe_depths .*: has '0\.5' 2 times"),
        ("systems: [tfidf]\n  probe_depths: [0.5]", r"probe_depths .*: has no effect without `probe` in `evaluation"),
    ],
)  # fmt: skip
def test_choices_without_effect_are_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(f"data: {{train: a}}\nevaluation:\n  {text}")
    assert len(caught.value.faults) == 1


def test_the_probes_depths_belong_to_labels(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"probe_depths .*: has no effect with `task: chat`\. Remove it"):
        load("task: chat\ndata: {train: a}\nevaluation: {probe_depths: [0.3]}")


def test_what_has_an_effect_is_taken(load: Load) -> None:
    found = load(
        "data: {train: a}\nevaluation: {probe_depths: [0.3, 1], few_shot: {k: [2], selection: [nearest]}}"
    ).evaluation
    assert (found.probe_depths, found.few_shot.selection) == ([0.3, 1], ["nearest"])
