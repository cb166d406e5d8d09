"""When training does not pay it is said so, with what answers cost; when that is not known, that too is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metier.evaluation.advice import at_price, needless, unproven, with_advice
from metier.evaluation.compare import compare
from metier.evaluation.files import read_comparison, write_comparison, write_evaluation
from metier.evaluation.results import Comparison, Evaluation
from metier.evaluation.verify import verify_set
from metier.recipe.sections import EvaluationSection, HardwareSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]
Make = Callable[..., Evaluation]
SECTION = EvaluationSection(primary_metric="accuracy", resamples=300)


def _compared(pair: tuple[Evaluation, Evaluation], section: EvaluationSection = SECTION) -> Comparison:
    return compare(pair[0], [pair[1]], section=section)


def _systems(make: Make, n: int, misses: dict[str, range]) -> list[Evaluation]:
    """Systems that are wrong on the given items."""
    golds = [("yes", "no")[place % 2] for place in range(n)]
    wrong = {"yes": "no", "no": "yes"}
    return [
        make(name, golds, [wrong[gold] if place in missed else gold for place, gold in enumerate(golds)])
        for name, missed in misses.items()
    ]


@pytest.mark.parametrize(
    ("table", "margin", "firm", "verdict"),
    [
        pytest.param((900, 3, 3, 94), None, True, "no evidence", id="as good"),
        pytest.param((200, 5, 40, 55), None, True, "regressed", id="better without training"),
        pytest.param((5000, 60, 10, 1930), None, True, "improved", id="a real gain that is too small to be useful"),
        pytest.param((950, 0, 0, 50), None, True, "no evidence", id="not one different answer"),
        pytest.param((900, 3, 3, 94), 0.02, True, "not worse", id="within the margin, a useful gain ruled out"),
        pytest.param((200, 40, 5, 55), None, False, "improved", id="training pays"),
        pytest.param((60, 10, 8, 22), None, False, "underpowered", id="not known"),
        pytest.param((400, 60, 55, 85), 0.1, False, "not worse", id="within the margin, a useful gain possible"),
    ],
)
def test_training_is_needless_where_a_useful_gain_is_ruled_out(
    table: tuple[int, int, int, int], margin: float | None, firm: bool, verdict: str, make_paired: Paired
) -> None:
    section = SECTION.model_copy(update={"not_worse_margin": margin})
    found = _compared(make_paired(*table, ("tuned", "few_shot")), section)
    assert found.verdict == verdict
    assert (needless(found) is not None) is firm
    assert found.sentence.endswith("Do not train; use few_shot, which needs no training.") is firm
    assert (found.advice or "").startswith("Do not train; use few_shot: it needs no training, and ") is firm
    assert (unproven(found) is not None) is (verdict == "underpowered" or (verdict == "not worse"))


def test_what_is_not_proven_is_said_without_advising_against_it(make_paired: Paired) -> None:
    found = _compared(make_paired(60, 10, 8, 22, ("tuned", "zero_shot")))
    assert found.advice is not None
    assert found.advice.startswith(
        "It is not proven that training pays: zero_shot needs no training and may be as good. 1,000 answers take "
    )


@pytest.mark.parametrize("name", ["tfidf", "probe", "another run"])
def test_what_learns_itself_is_no_reason_not_to_train(name: str, make_paired: Paired) -> None:
    found = _compared(make_paired(900, 3, 3, 94, ("tuned", name)))
    assert needless(found) is None and unproven(found) is None and found.advice == ""
    assert found.sentence.endswith(f"Use {name}, which is as good, instead.")


def test_the_best_of_several_is_named_with_its_score(make_evaluation: Make) -> None:
    misses = {
        "tuned": range(100), "majority": range(100, 600), "zero_shot": range(2, 104), "few_shot": range(1, 101),
        "tfidf": range(1, 102),
    }  # fmt: skip
    tuned, *others = _systems(make_evaluation, 1000, misses)
    found = compare(tuned, others, section=SECTION)
    row = needless(found)
    assert row is not None and row.baseline == "few_shot"
    assert "Do not train; use few_shot, which needs no training" in found.sentence


def test_a_baseline_that_learns_and_is_better_by_a_useful_gain_comes_first(make_evaluation: Make) -> None:
    misses = {"tuned": range(200), "few_shot": range(1, 201), "tfidf": range(50)}
    tuned, *others = _systems(make_evaluation, 1000, misses)
    found = compare(tuned, others, section=SECTION)
    assert needless(found) is None
    assert found.sentence.endswith("Use tfidf instead.")


def test_what_the_verdict_tells_to_use_is_not_followed_by_another_that_may_be_as_good(make_evaluation: Make) -> None:
    misses = {"tuned": range(40), "zero_shot": range(20, 66), "tfidf": range(10)}
    tuned, *others = _systems(make_evaluation, 100, misses)
    found = compare(tuned, others, section=SECTION)
    verdicts = {row.baseline: row.verdict for row in found.differences}
    assert verdicts == {"zero_shot": "underpowered", "tfidf": "regressed"}
    assert found.sentence.endswith("Use tfidf instead.") and found.advice == ""


def test_a_metric_that_is_better_when_lower_is_compared_the_right_way(make_paired: Paired) -> None:
    found = _compared(make_paired(900, 3, 3, 94, ("tuned", "few_shot")))
    rows = [
        replace(found.differences[0], metric="loss", baseline=name, baseline_value=value)
        for name, value in (("zero_shot", 2.0), ("few_shot", 1.0))
    ]
    row = needless(replace(found, differences=tuple(rows)))
    assert row is not None and row.baseline == "few_shot"


def test_seconds_and_money_of_a_thousand_answers_are_told(make_paired: Paired) -> None:
    tuned, few = make_paired(900, 3, 3, 94, ("tuned", "few_shot"))
    tuned, few = replace(tuned, seconds_per_thousand=36.0), replace(few, seconds_per_thousand=720.0)
    found = _compared((tuned, few))
    assert (found.advice or "").endswith("1,000 answers take 720 s with few_shot, 36 s with tuned.")
    hardware = HardwareSection(price_per_hour=2.0, currency="EUR")
    priced = at_price(found, [tuned, few], hardware)
    assert (priced.price_per_hour, priced.currency) == (2.0, "EUR")
    assert (priced.advice or "").endswith("720 s (0.4 EUR) with few_shot, 36 s (0.02 EUR) with tuned.")
    assert at_price(found, [tuned, few], HardwareSection()) == found
    paid = replace(few, settings={"price_per_thousand": 1.25})
    told = with_advice(found, [tuned, paid], price_per_hour=2.0, currency="EUR").advice or ""
    assert "720 s (paid 1.25) with few_shot" in told
    unknown = with_advice(found, [tuned, replace(few, seconds_per_thousand=None)]).advice or ""
    assert "an unknown time with few_shot" in unknown


def test_verify_makes_the_advice_again(make_paired: Paired, tmp_path: Path) -> None:
    pair = [replace(each, seconds_per_thousand=30.0) for each in make_paired(900, 3, 3, 94, ("tuned", "few_shot"))]
    for evaluation in pair:
        write_evaluation(evaluation, tmp_path)
    comparison = at_price(_compared((pair[0], pair[1])), pair, HardwareSection(price_per_hour=1.5, currency="EUR"))
    write_comparison(comparison, tmp_path)
    assert read_comparison(tmp_path) == comparison
    assert verify_set(tmp_path) == ()
    path = tmp_path / "comparison.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "advice": "Train by all means."}), encoding="utf-8")
    assert [found.where.partition(": ")[0].rpartition(".")[2] for found in verify_set(tmp_path)] == ["advice"]
    older = {key: value for key, value in content.items() if key not in ("advice", "price_per_hour", "currency")}
    path.write_text(json.dumps(older), encoding="utf-8")
    assert verify_set(tmp_path) == ()


def test_training_is_hardly_ever_called_needless_where_it_pays(make_paired: Paired) -> None:
    """A true gain of 0.06, three times the useful one: ruled out in less than 2.5 % of runs."""
    generator, wrong = np.random.default_rng(4), 0
    for _ in range(40):
        both, gained, lost, neither = generator.multinomial(400, [0.7, 0.1, 0.04, 0.16]).tolist()
        wrong += needless(_compared(make_paired(both, gained, lost, neither, ("tuned", "few_shot")))) is not None
    assert wrong <= 2
