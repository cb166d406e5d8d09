"""Validation chooses; between those that it cannot tell apart the smaller model is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.results import Item
from metier.recipe.sections import EvaluationSection
from metier.stages.attempt import Attempt
from metier.stages.choose import Chosen, choose_attempt

SECTION = EvaluationSection(primary_metric="accuracy", resamples=400)


def attempt(name: str, right: int, of: int = 100) -> Attempt:
    """An attempt that answers the first `right` of `of` records rightly."""
    items = [
        Item(
            id=str(number), group=None, gold="ab"[number % 2], answer="ab"[(number + (number >= right)) % 2],
            label_logprobs=None, prompt_hash=None, source="x.csv", row=number,
        )
        for number in range(of)
    ]  # fmt: skip
    judged = evaluate_items(
        items, about=About(system="tuned"), set_name="validation", labels=("a", "b"), resamples=400, seed=1
    )
    recipe: Any = None
    return Attempt(name=name, number=1, recipe=recipe, validation=judged)


def choose(sizes: dict[str, int], *attempts: Attempt) -> Chosen:
    return choose_attempt(attempts, SECTION, lambda each: sizes[each.name], seed=3)


def test_one_candidate_is_the_choice() -> None:
    chosen = choose({"only": 5}, attempt("only", 50))
    assert (chosen.attempt.name, chosen.why) == ("only", "the only candidate")


def test_a_larger_model_that_is_proven_better_is_taken() -> None:
    chosen = choose({"large": 100, "small": 10}, attempt("large", 90), attempt("small", 60))
    assert (chosen.attempt.name, chosen.why) == ("large", "highest validation accuracy")


def test_a_larger_model_that_is_not_proven_better_is_not() -> None:
    chosen = choose({"large": 100, "small": 10}, attempt("large", 62), attempt("small", 61))
    assert chosen.attempt.name == "small"
    assert chosen.why.startswith(
        "validation cannot tell it from large, whose accuracy is 0.010 higher, 95 % interval -"
    )
    assert chosen.why.endswith("(n = 100), and it is the smaller model")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_among_equals_the_smallest_and_then_the_better(order: tuple[int, ...]) -> None:
    made = [attempt("large", 80), attempt("head", 79), attempt("encoder", 78)]
    sizes = {"large": 100, "head": 10, "encoder": 10}
    assert choose(sizes, *(made[number] for number in order)).attempt.name == "head"


def test_the_best_of_equal_size_needs_no_proof() -> None:
    chosen = choose({"one": 10, "two": 10}, attempt("one", 71), attempt("two", 70))
    assert (chosen.attempt.name, chosen.why) == ("one", "highest validation accuracy")


def reader(name: str, loss: float, noise: float) -> Attempt:
    """An attempt that reads 100 passages of 10 tokens at about this loss a token."""
    items = [
        Item(
            id=str(number), group=None, gold="", answer=None, label_logprobs=None, prompt_hash=None, source="x.md",
            row=number, counts={"loss": (10 * loss + noise * (number % 7), 10.0)},
        )
        for number in range(100)
    ]  # fmt: skip
    about = About(system="tuned", task="text")
    judged = evaluate_items(items, about=about, set_name="validation", labels=(), resamples=400, seed=1)
    return replace(attempt(name, 1), validation=judged)


def test_a_lower_loss_is_better() -> None:
    section, sizes = EvaluationSection(primary_metric="loss", resamples=400), {"large": 100, "small": 10}
    made = [reader("small", 1.5, 0.2), reader("large", 1.0, 0.1)]
    chosen = choose_attempt(made, section, lambda each: sizes[each.name], seed=3)
    assert (chosen.attempt.name, chosen.why) == ("large", "lowest validation loss")
    assert made[1].score("loss") == -(made[1].validation.metrics["loss"].value or 0.0)


def test_what_is_said_of_a_lower_loss() -> None:
    """The numbers of the sentence are those of the metric: lower, not higher."""
    one, other = reader("large", 1.0, 0.4), reader("small", 1.0, 0.4)
    items = [
        replace(item, counts={"loss": (item.counts["loss"][0] + (1.5 if item.row % 2 else -1.2), 10.0)})
        for item in other.validation.items
    ]  # fmt: skip
    about = About(system="tuned", task="text")
    judged = evaluate_items(items, about=about, set_name="validation", labels=(), resamples=400, seed=1)
    section = EvaluationSection(primary_metric="loss", resamples=400)
    sizes = {"large": 100, "small": 10}
    chosen = choose_attempt([one, replace(other, validation=judged)], section, lambda each: sizes[each.name], seed=3)
    assert chosen.attempt.name == "small"
    assert chosen.why.startswith("validation cannot tell it from large, whose loss is 0.015 lower, 95 % interval -")
