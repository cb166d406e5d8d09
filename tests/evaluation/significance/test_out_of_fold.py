"""Intervals of out-of-fold answers hold; `test_folded.py` has what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from metier.data.records import Choice
from metier.errors import DataError
from metier.evaluation.significance.out_of_fold import (
    corrected_error,
    fold_estimate,
    grouped_folds,
)
from metier.evaluation.statistics import wilson_interval

Make = Callable[..., list[Choice]]


def test_groups_stay_whole_and_folds_are_even(make_records: Make) -> None:
    records = [
        Choice(id=record.id, text=record.text, label=record.label, group=f"g{place // 4}", source="a.csv", row=place)
        for place, record in enumerate(make_records(80))
    ]
    folds = grouped_folds(records, 3, 4)
    assert np.bincount(folds).tolist() == [20] * 4
    assert len({(record.group, fold) for record, fold in zip(records, folds, strict=True)}) == 20
    with pytest.raises(DataError, match="has 3 independent records or groups, wanted at least 5"):
        grouped_folds(make_records(3), seed=1)


def test_the_interval_is_the_corrected_resampled_t() -> None:
    folds = [0.8, 0.9, 0.85, 0.75, 0.95]
    estimate, p_value = fold_estimate(0.85, folds, n=100)
    # Nadeau and Bengio 2003: the variance times 1 / k + test / train, k - 1 degrees of freedom.
    error = np.sqrt((1 / 5 + 20 / 80) * np.var(folds, ddof=1))
    assert corrected_error(np.array(folds)) == pytest.approx(error)
    half = stats.t.ppf(0.975, 4) * error
    assert (estimate.low, estimate.high) == pytest.approx((0.85 - half, 0.85 + half))
    assert p_value == pytest.approx(2 * stats.t.sf(0.85 / error, 4))
    assert estimate.method == "corrected resampled t (5 folds)" and estimate.n == 100


@pytest.mark.parametrize(
    ("folds", "reason"),
    [
        ([0.8], "fewer than two folds"),
        ([0.8, float("nan")], "a fold has no value"),
        ([0.8, 0.8, 0.8], "all folds have the same value"),
    ],
)
def test_what_folds_cannot_say_is_unknown(folds: list[float], reason: str) -> None:
    estimate, p_value = fold_estimate(0.8, folds, n=10)
    assert (estimate.low, estimate.high, estimate.reason, p_value) == (None, None, reason, None)


def _coverage(repeats: int, n: int) -> tuple[float, float]:
    """Share of intervals that hold the true accuracy of nearest-mean models trained on 4 in 5 rows; and Wilson's."""
    generator = np.random.default_rng(8)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        labels = generator.integers(0, 2, size)
        return generator.normal(0, 1, (size, 10)) + 0.25 * (2 * labels[:, None] - 1), labels

    def fit(points: np.ndarray, labels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(points[labels == 1].mean(axis=0) - points[labels == 0].mean(axis=0))

    fresh, truth = draw(20_000)
    true = np.mean([np.mean((fresh @ fit(*draw(4 * n // 5)) > 0) == truth) for _ in range(200)])
    held, naive = 0, 0
    for _ in range(repeats):
        points, labels = draw(n)
        fold_of = np.arange(n) % 5
        right = np.zeros(n)
        for fold in range(5):
            direction = fit(points[fold_of != fold], labels[fold_of != fold])
            right[fold_of == fold] = (points[fold_of == fold] @ direction > 0) == labels[fold_of == fold]
        found, _ = fold_estimate(right.mean(), [float(right[fold_of == fold].mean()) for fold in range(5)], n=n)
        held += found.low is not None and found.high is not None and found.low <= true <= found.high
        low, high = wilson_interval(right.sum(), n)
        naive += low <= true <= high
    return held / repeats, naive / repeats


@pytest.mark.slow
def test_intervals_that_respect_folds_cover() -> None:
    held, naive = _coverage(1500, 100)
    assert held >= 0.94
    assert naive < held
