"""Paired differences of columns of scores: closed forms where they hold, resampling where not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metier.errors import ArgumentError
from metier.evaluation.significance.paired import (
    Resampling,
    mean_score,
    one_sided,
    paired_difference,
    pass_difference,
    units_of,
)
from metier.evaluation.statistics import mcnemar_mid_p, newcombe_interval


def _right(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    first = np.array([True] * (both + gained) + [False] * (lost + neither))
    second = np.array([True] * both + [False] * gained + [True] * lost + [False] * neither)
    return first, second


def test_right_and_wrong_have_newcombe_and_mid_p() -> None:
    first, second = _right(50, 12, 4, 34)
    assert one_sided(first, second) == (12, 4)
    estimate, p_value = pass_difference(first, second, 0.9)
    assert (estimate.low, estimate.high) == newcombe_interval(50, 12, 4, 34, 0.9)
    assert estimate.value == pytest.approx(0.08) and p_value == mcnemar_mid_p(12, 4)
    again = paired_difference(first.astype(float), second.astype(float), how=Resampling(confidence=0.9))
    assert again == (estimate, p_value)


def test_graded_scores_are_resampled_in_pairs() -> None:
    generator = np.random.default_rng(1)
    second = generator.random(80)
    first = second + 0.05 + generator.normal(0, 0.05, 80)
    estimate, p_value = paired_difference(first, second, how=Resampling(resamples=4000))
    gap = stats.ttest_rel(first, second)
    expected = gap.confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert estimate.method == "bca bootstrap (4000)"
    assert p_value is not None and p_value < 0.01


def test_groups_are_drawn_whole_whatever_their_numbers() -> None:
    first, second = _right(30, 20, 0, 10)
    groups = np.repeat([7, 3, 90, 11, 5, 2], 10)
    estimate, _ = paired_difference(first.astype(float), second.astype(float), groups)
    alone, _ = paired_difference(first.astype(float), second.astype(float))
    assert estimate.method == "bca bootstrap (2000, 6 groups)"
    assert estimate.low is not None and alone.low is not None and estimate.low < alone.low


def test_equal_items_are_stored_once() -> None:
    units = units_of(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), None)
    assert units.counts.sum() == 3 and len(units.counts) == 2


def test_a_mean_score_is_resampled() -> None:
    data = np.random.default_rng(2).exponential(size=60)
    estimate = mean_score(data, how=Resampling(resamples=5000))
    scipys = stats.bootstrap((data,), np.mean, n_resamples=5000, rng=np.random.default_rng(1)).confidence_interval
    assert (estimate.low, estimate.high) == pytest.approx((scipys.low, scipys.high), abs=0.03)
    assert mean_score(np.zeros(0)).reason == "there are no items"
    assert mean_score(np.ones(5)).reason == "every resample gives the same value"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        pytest.param([1.0, 0.0], [1.0], r"found lengths \[1, 2\]", id="lengths"),
        pytest.param([], [], "found no item", id="none"),
        pytest.param([1.0, float("nan")], [1.0, 0.0], "not finite", id="not finite"),
    ],
)
def test_what_is_no_pair_is_refused(first: list[float], second: list[float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        paired_difference(np.array(first), np.array(second))


def _coverage(repeats: int, groups: int, resamples: int) -> tuple[float, float]:
    """Share of paired intervals that hold the true difference of 0.1: by groups, and of items as if alone."""
    generator = np.random.default_rng(70)
    size, held, naive = 8, 0, 0
    places = np.repeat(np.arange(groups), size)
    for _ in range(repeats):
        # In a group either one or the other is better at nearly all items: differences vary together.
        lift = np.repeat(generator.normal(0.1, 0.3, groups), size)
        gaps = lift + generator.normal(0, 0.2, groups * size)
        base = generator.random(groups * size)
        estimate, _ = paired_difference(base + gaps, base, places, Resampling(resamples=resamples))
        held += (estimate.low or 0) <= 0.1 <= (estimate.high or 0)
        naive += abs(gaps.mean() - 0.1) <= 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return held / repeats, naive / repeats


@pytest.mark.slow
def test_paired_intervals_by_group_cover_where_single_items_do_not() -> None:
    held, naive = _coverage(1500, 100, 1000)
    assert 0.93 <= held <= 0.97
    assert naive < 0.85
