"""Risk against coverage, its area, and a threshold whose promise holds as often as it says."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from metier.errors import ArgumentError
from metier.evaluation.labels.risk_coverage import look_at_promise, percent, promise_accuracy, risk_coverage
from metier.evaluation.significance.distributions import lower_share
from metier.evaluation.significance.paired import Resampling

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _answers(n: int, generator: np.random.Generator, easy: float = 0.7) -> tuple[Floats, Bools]:
    """A share of easy items, sure and nearly always right, and hard ones that are unsure and often wrong."""
    confidence = np.where(generator.random(n) < easy, generator.uniform(0.9, 1.0, n), generator.uniform(0.3, 0.9, n))
    chance = np.where(confidence > 0.9, 0.998, confidence)
    return confidence, generator.random(n) < chance


def test_the_curve_of_five_items() -> None:
    confidence = np.array([0.5, 0.9, 0.7, 0.6, 0.8])
    right = np.array([False, True, True, False, True])
    found = risk_coverage(confidence, right)
    assert found.coverage == pytest.approx((0.2, 0.4, 0.6, 0.8, 1.0))
    assert found.risk == pytest.approx((0, 0, 0, 1 / 4, 2 / 5))
    assert found.threshold == pytest.approx((0.9, 0.8, 0.7, 0.6, 0.5))
    assert found.aurc.value == pytest.approx((1 / 4 + 2 / 5) / 5)
    assert found.aurc_best == pytest.approx(found.aurc.value)


def test_equal_confidences_are_taken_together_and_on_average() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5])
    right = np.array([True, True, False, False])
    found = risk_coverage(confidence, right)
    assert found.coverage == (0.25, 1.0) and found.risk == (0.0, 0.5)
    orders = list(itertools.permutations([1.0, 0.0, 0.0]))  # 1: right
    areas = [np.mean([0, *(1 - np.cumsum([1, *order])[1:] / np.arange(2, 5))]) for order in orders]
    assert found.aurc.value == pytest.approx(np.mean(areas))


def test_the_area_equals_a_plain_loop_and_has_an_interval() -> None:
    confidence, right = _answers(400, np.random.default_rng(1))
    order = np.argsort(-confidence)
    plain = np.mean(np.cumsum(~right[order]) / np.arange(1, 401))
    found = risk_coverage(confidence, right, how=Resampling(resamples=1000)).aurc
    assert found.value == pytest.approx(plain)
    assert found.low is not None and found.high is not None and found.low < plain < found.high
    assert found.method == "bca bootstrap (1000)"


def test_the_area_of_groups_is_drawn_by_group() -> None:
    confidence, right = _answers(200, np.random.default_rng(1))
    found = risk_coverage(confidence, right, np.arange(200) // 10, Resampling(resamples=400)).aurc
    assert found.method == "bca bootstrap (400, 20 groups)"


def test_no_error_has_no_area_and_no_interval() -> None:
    found = risk_coverage(np.linspace(0, 1, 30), np.ones(30, dtype=bool))
    assert found.aurc.value == 0.0 and found.aurc_best == 0.0
    assert found.aurc.reason == "every resample gives the same value"


def test_a_promise_answers_most_items_and_says_so() -> None:
    generator = np.random.default_rng(2)
    promise = promise_accuracy(*_answers(2000, generator), 0.98)
    assert promise.threshold is not None and 0.6 < promise.coverage < 0.95
    assert promise.accuracy is not None and promise.at_least is not None
    assert promise.at_least >= 0.98 and promise.accuracy > promise.at_least
    confidence, right = _answers(1500, generator)
    found = look_at_promise(promise, confidence, right)
    chosen = confidence >= promise.threshold
    assert found.coverage.value == pytest.approx(chosen.mean())
    assert found.accuracy.value == pytest.approx(right[chosen].mean())
    assert found.at_least == pytest.approx(lower_share(int(right[chosen].sum()), int(chosen.sum()), 0.95))
    assert found.accuracy_all < 0.98
    share = round(100 * chosen.mean())
    assert found.sentence.startswith(f"Answers {share} % by itself with 9")
    assert found.sentence.endswith(f"hands {100 - share} % to a person.")
    assert found.kept is not False


def test_the_threshold_gives_exactly_the_coverage_that_is_told() -> None:
    confidence, right = _answers(1500, np.random.default_rng(5))
    promise = promise_accuracy(np.round(confidence, 2), right, 0.95)
    assert promise.threshold is not None
    assert promise.coverage == pytest.approx(float(np.mean(np.round(confidence, 2) >= promise.threshold)))


def test_too_few_items_promise_nothing() -> None:
    promise = promise_accuracy(np.linspace(0, 1, 100), np.ones(100, dtype=bool), 0.99)
    assert promise.threshold is None
    assert promise.reason == "100 validation items are too few: 368 right answers in a row are needed"
    found = look_at_promise(promise, np.linspace(0, 1, 50), np.ones(50, dtype=bool))
    assert found.sentence == (
        "Hands everything to a person: 99 % right cannot be promised (100 validation items are too few: 368 right "
        "answers in a row are needed)."
    )
    assert found.accuracy.value is None and found.kept is None and found.coverage.value == 0.0


def test_bad_answers_promise_nothing() -> None:
    generator = np.random.default_rng(1)
    promise = promise_accuracy(generator.random(800), generator.random(800) < 0.6, 0.9)
    assert promise.reason == "even the surest answers are wrong too often"


def test_what_was_not_answered_is_never_chosen() -> None:
    confidence, right = _answers(800, np.random.default_rng(8))
    confidence[:100] = -np.inf
    right[:100] = False
    promise = promise_accuracy(confidence, right, 0.9)
    assert promise.threshold is not None and np.isfinite(promise.threshold) and promise.coverage <= 0.875
    nothing = promise_accuracy(np.full(500, -np.inf), np.zeros(500, dtype=bool), 0.9)
    assert nothing.threshold is None


def test_groups_ask_for_more_items() -> None:
    generator = np.random.default_rng(4)
    groups = np.repeat(np.arange(200), 5)
    confidence = np.repeat(generator.uniform(0.5, 1, 200), 5)
    right = np.repeat(generator.random(200) < np.unique(confidence[::5], return_inverse=True)[0].mean() + 0.2, 5)
    alone = promise_accuracy(confidence, right, 0.9)
    together = promise_accuracy(confidence, right, 0.9, groups=groups)
    assert together.coverage <= alone.coverage
    look = look_at_promise(alone, confidence, right, groups=groups)
    assert "effective items" in look.accuracy.method


def test_a_missed_promise_is_called_missed() -> None:
    promise = promise_accuracy(*_answers(2000, np.random.default_rng(2)), 0.98)
    found = look_at_promise(promise, np.ones(500), np.arange(500) % 2 == 0)
    assert found.kept is False


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.97, "97 %"), (0.9, "90 %"), (0.9919, "99.2 %"), (0.99952, "99.95 %"), (1.0, "100 %"), (0.99999, "99.99 %")],
)
def test_percent_says_as_much_as_is_known(share: float, text: str) -> None:
    assert percent(share) == text


def test_percent_of_a_promise_is_rounded_down() -> None:
    assert percent(0.9899, down=True) == "98.9 %"
    assert percent(0.929, down=True) == "92 %"


def test_what_is_no_column_is_refused() -> None:
    with pytest.raises(ArgumentError, match="found 1 confidences and 2 answers"):
        risk_coverage(np.ones(1), np.ones(2, dtype=bool))
    with pytest.raises(ArgumentError, match="not a number"):
        risk_coverage(np.array([np.nan]), np.ones(1, dtype=bool))
    with pytest.raises(ArgumentError, match="target accuracy: found 1, wanted a share between 0 and 1"):
        promise_accuracy(np.ones(5), np.ones(5, dtype=bool), 1.0)


def _broken(repeats: int, n: int, target: float) -> tuple[float, float]:
    """Share of promises whose threshold is truly below the target, and the mean share answered."""
    generator = np.random.default_rng(11)
    broken, coverage = 0, 0.0
    fresh = np.sort(generator.random(200_000))
    for _ in range(repeats):
        # The chance of being right rises with confidence: a line from 0.8 to 1.
        confidence = generator.random(n)
        promise = promise_accuracy(confidence, generator.random(n) < 0.8 + 0.2 * confidence, target)
        if promise.threshold is not None:
            truth = float(np.mean(0.8 + 0.2 * fresh[fresh >= promise.threshold]))
            broken += truth < target
        coverage += promise.coverage
    return broken / repeats, coverage / repeats


def test_promises_are_rarely_broken() -> None:
    broken, coverage = _broken(150, 800, 0.93)
    assert broken <= 0.1
    assert coverage > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("n", "target"), [(400, 0.92), (1000, 0.95), (2000, 0.95)])
def test_promises_are_rarely_broken_in_full(n: int, target: float) -> None:
    broken, coverage = _broken(1500, n, target)
    assert broken <= 0.05
    assert coverage > 0.1
