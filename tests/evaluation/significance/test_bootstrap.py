"""The bootstrap against scipy's, its speed, and what it says when it cannot know."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from metier.evaluation.significance.bootstrap import Draws, Units, bca_interval, resample

Floats = npt.NDArray[np.float64]


def _mean(sums: Floats) -> Floats:
    """The mean, from sums of (value, one)."""
    result: Floats = sums[..., 0] / np.maximum(sums[..., 1], 1)
    return result


def _units(values: npt.ArrayLike) -> Units:
    data = np.asarray(values, dtype=np.float64)
    return Units(np.stack([data, np.ones_like(data)], axis=1), np.ones(len(data), dtype=np.int64))


def test_bca_equals_scipy_within_monte_carlo_error() -> None:
    data = np.random.default_rng(3).exponential(size=60).round(3)
    ours = resample(_units(data), 20_000, seed=1).interval(_mean)
    scipys = stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=0.015)


def test_bca_equals_scipy_exactly_on_the_same_resamples() -> None:
    data = np.random.default_rng(4).exponential(size=40)
    scipys = stats.bootstrap((data,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(2))
    without = (data.sum() - data) / (len(data) - 1)
    ours = bca_interval(float(data.mean()), scipys.bootstrap_distribution, without, np.ones(40, dtype=np.int64))
    expected = scipys.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_identical_units_stored_once_change_nothing_but_the_draws() -> None:
    apart = _units([0.0] * 30 + [1.0] * 70)
    merged = Units(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([30, 70]))
    one, other = (resample(units, 20_000, seed=3).interval(_mean) for units in (apart, merged))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.011)


def test_the_p_value_agrees_with_the_interval() -> None:
    for shift in (0.0, 0.15, 0.2, 0.25, 0.3, 0.5):
        data = np.random.default_rng(8).normal(size=80) + shift
        found = resample(_units(data), 4000, seed=2).interval(_mean)
        assert found.low is not None and found.high is not None and found.p_value is not None
        if abs(found.p_value - 0.05) > 0.004:
            assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_the_p_value_is_close_to_the_t_test() -> None:
    data = np.random.default_rng(11).normal(size=200) + 0.12
    found = resample(_units(data), 20_000, seed=2).interval(_mean)
    assert found.p_value == pytest.approx(stats.ttest_1samp(data, 0).pvalue, abs=0.02)


def test_the_p_value_is_never_zero() -> None:
    found = resample(_units(np.full(50, 5.0) + np.arange(50) / 100), 500, seed=2).interval(_mean)
    assert found.p_value is not None and 1 / 501 <= found.p_value < 0.01


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param([1.0] * 20, "every resample gives the same value", id="no spread"),
        pytest.param([1.0], "fewer than two independent units", id="one unit"),
    ],
)
def test_what_cannot_be_known_has_a_reason(values: list[float], reason: str) -> None:
    found = resample(_units(values), 500, seed=1).interval(_mean)
    assert (found.low, found.high, found.p_value, found.reason) == (None, None, None, reason)


def test_a_value_outside_its_resamples_has_no_interval() -> None:
    found = bca_interval(9.0, np.linspace(0, 1, 50), np.linspace(0, 1, 5), np.ones(5, dtype=np.int64))
    assert found.low is None and found.reason == "the value lies at the edge of its resamples"


def test_the_same_seed_gives_the_same_draws() -> None:
    units = _units(np.arange(30))
    assert np.array_equal(resample(units, 300, seed=5).draws, resample(units, 300, seed=5).draws)
    assert not np.array_equal(resample(units, 300, seed=5).draws, resample(units, 300, seed=6).draws)


def test_blocks_of_draws_do_not_repeat() -> None:
    units = _units(np.arange(50_000))
    draws = resample(units, 200, seed=5).draws[:, 0]
    assert len(np.unique(draws)) > 190


def test_ten_thousand_resamples_of_two_thousand_items_take_under_two_seconds() -> None:
    units = Units(np.random.default_rng(1).integers(0, 2, (2000, 50)).astype(np.float64), np.ones(2000, dtype=np.int64))
    best = _seconds(units)
    assert best < 2.0


def _seconds(units: Units) -> float:
    """Processor time: other people's work on the machine is not ours."""
    started = time.process_time()
    resample(units, 10_000, seed=1).interval(lambda sums: sums[..., 0] - sums[..., 1])
    return time.process_time() - started


def test_units_that_were_drawn_are_not_drawn_again() -> None:
    units = Units(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([5, 3, 2]))
    draws = Draws(300, 4)
    first = draws.of(units)
    assert draws.of(Units(units.sums.copy(), units.counts.copy())) is first
    np.testing.assert_array_equal(first.draws, resample(units, 300, 4).draws)
    other = draws.of(Units(units.sums, np.array([5, 2, 3])))
    assert other is not first and not np.array_equal(other.draws, first.draws)
