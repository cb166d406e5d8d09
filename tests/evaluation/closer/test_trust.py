"""Trust: planted overconfidence is seen, undone by validation's temperature, and a promise is looked at elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from metier.evaluation.closer.trust import ON_VALIDATION, judge_trust, thinned
from metier.evaluation.evidence import RiskCoverage
from metier.evaluation.labels.risk_coverage import risk_coverage
from metier.evaluation.labels.saved_calibration import NO_PROBABILITIES, fit_calibration
from metier.evaluation.results import Evaluation

LABELS = ("no", "yes")
Make = Callable[..., Evaluation]


def judged(
    make: Make, n: int, *, seed: int, set_name: str = "test", sharp: float = 2.5, groups: Sequence[str] | None = None
) -> Evaluation:
    """Two labels, log-odds `sharp` times too far from 0."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(0, 3, n)
    golds = ["yes" if draw else "no" for draw in generator.random(n) < 1 / (1 + np.exp(-odds))]
    evaluation = make("tuned", golds, ["yes" if each > 0 else "no" for each in odds], groups, set_name=set_name)
    rows = [
        {"no": float(-np.logaddexp(0, sharp * each)), "yes": float(-np.logaddexp(0, -sharp * each))} for each in odds
    ]
    items = tuple(replace(item, label_logprobs=row) for item, row in zip(evaluation.items, rows, strict=True))
    return replace(evaluation, items=items, labels=LABELS)


def test_what_validation_fits_makes_test_believable(make_evaluation: Make) -> None:
    fitted = fit_calibration(judged(make_evaluation, 900, seed=1, set_name="validation"), target=0.9, sure=0.95)
    base = replace(judged(make_evaluation, 600, seed=3, sharp=1.0), system="zero_shot")
    silent = make_evaluation("majority", [item.gold for item in base.items], ["no"] * 600)
    found = judge_trust(judged(make_evaluation, 600, seed=2), [silent, base], fitted)
    assert list(found.calibration) == ["zero_shot", "tuned"], "what has no probabilities has no calibration"
    before, after = found.calibration["tuned"], found.tempered
    assert after is not None and before.ece.value is not None and after.ece.value is not None
    assert before.chance_p is not None and before.chance_p < 0.01 and after.ece.value < before.ece.value / 2
    assert (after.log_loss.value or 9) < (before.log_loss.value or 0)
    assert found.alone is not None and found.alone.kept is not False
    assert 0.2 < (found.alone.coverage.value or 0) < 1
    assert (found.alone.accuracy.value or 0) > 0.9 > found.alone.accuracy_all - 0.08
    assert found.reason is None and found.curve is not None and found.curve.thinned_from == 600


def test_a_promise_that_does_not_hold_elsewhere_is_seen(make_evaluation: Make) -> None:
    fitted = fit_calibration(judged(make_evaluation, 900, seed=1, set_name="validation"), target=0.97, sure=0.95)
    drifted = judged(make_evaluation, 600, seed=2)
    turned = [
        replace(item, gold="yes" if item.gold == "no" else "no") if place % 4 == 0 else item
        for place, item in enumerate(drifted.items)
    ]
    found = judge_trust(replace(drifted, items=tuple(turned)), [], fitted)
    assert found.alone is not None and found.alone.kept is False


def test_written_answers_say_why_there_is_nothing(make_written: Callable[..., Evaluation]) -> None:
    written = make_written("tuned", ["one", "two"] * 20, ["one"] * 40)
    fitted = fit_calibration(replace(written, set="validation"), target=0.9, sure=0.95)
    found = judge_trust(written, [], fitted)
    assert (found.reason, found.curve, found.alone, found.tempered) == (NO_PROBABILITIES, None, None, None)
    assert found.calibration == {}


def test_validation_does_not_look_at_its_own_promise(make_evaluation: Make) -> None:
    own = judged(make_evaluation, 300, seed=1, set_name="validation")
    found = judge_trust(own, [], fit_calibration(own, target=0.9, sure=0.95))
    assert (found.alone, found.tempered, found.reason) == (None, None, ON_VALIDATION)
    assert found.curve is not None and list(found.calibration) == ["tuned"]


def test_a_thinned_curve_keeps_its_ends_and_says_so() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(2000)
    whole = risk_coverage(confidence, generator.random(2000) < confidence)
    few = thinned(whole, 50)
    assert len(few.coverage) == len(few.risk) == len(few.threshold) == 50 and few.thinned_from == 2000
    assert (few.coverage[0], few.coverage[-1]) == (whole.coverage[0], whole.coverage[-1])
    assert (few.aurc, few.n) == (whole.aurc, whole.n)
    assert set(zip(few.coverage, few.risk, few.threshold, strict=True)) <= set(
        zip(whole.coverage, whole.risk, whole.threshold, strict=True)
    )


def test_answers_that_nobody_is_sure_of_are_on_no_curve() -> None:
    confidence = np.array([0.9, 0.8, -np.inf, -np.inf])
    curve: RiskCoverage = thinned(risk_coverage(confidence, np.array([True, True, False, True])))
    assert curve.coverage == pytest.approx((0.25, 0.5)) and curve.thinned_from is None
