"""How often two systems differed on validation, and that power is stated at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metier.evaluation.compare import compare
from metier.evaluation.results import Evaluation
from metier.evaluation.significance.planned import planned_discordances
from metier.recipe.sections import EvaluationSection


def test_the_share_is_of_the_items_that_both_have(make_paired: Callable[..., tuple[Evaluation, Evaluation]]) -> None:
    tuned, tfidf = make_paired(60, 15, 5, 20)
    assert planned_discordances(tuned, [tfidf]) == {"tfidf": 0.2}
    part = replace(tfidf, items=tfidf.items[:50])
    differ = sum(
        (one.answer == one.gold) != (other.answer == other.gold)
        for one, other in zip(tuned.items[:50], part.items, strict=True)
    )
    assert planned_discordances(tuned, [part]) == {"tfidf": differ / 50}


def test_too_little_says_nothing(make_paired: Callable[..., tuple[Evaluation, Evaluation]]) -> None:
    tuned, tfidf = make_paired(60, 15, 5, 20)
    assert planned_discordances(tuned, [replace(tfidf, items=tfidf.items[:20])]) == {}
    assert planned_discordances(tuned, [replace(tuned, system="twin")]) == {}, "a share of 0 would promise any power"


def test_power_is_stated_at_it(make_paired: Callable[..., tuple[Evaluation, Evaluation]]) -> None:
    tuned, tfidf = make_paired(300, 40, 20, 40)
    section = EvaluationSection(primary_metric="accuracy", resamples=200)
    own = compare(tuned, [tfidf], section=section).differences[0]
    planned = compare(tuned, [tfidf], section=section, discordances={"tfidf": 0.4}).differences[0]
    assert (planned.smallest_detectable or 0) > (own.smallest_detectable or 1)
    assert planned.discordance == 0.4 and own.discordance is None
