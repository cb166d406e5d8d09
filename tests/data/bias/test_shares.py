"""Statistics of two shares, against scipy and published values."""

from __future__ import annotations

import numpy as np
import pytest

from metier.data.bias.shares import design_effect, fisher, holm, newcombe, odds_ratio, wilson


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_wilson_equals_scipy() -> None:
    from scipy.stats import binomtest

    counts, rows = whole(0, 3, 10, 999, 1), whole(7, 10, 10, 2000, 100_000)
    low, high = wilson(counts, rows)
    for place in range(len(counts)):
        wanted = binomtest(int(counts[place]), int(rows[place])).proportion_ci(method="wilson")
        assert (low[place], high[place]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert [float(side[0]) for side in wilson(whole(0), whole(0))] == [0.0, 1.0]


# Newcombe 1998 (Stat Med 17:873), table II, method 10.
@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ],
)
def test_newcombe_equals_the_published_intervals(table: tuple[int, ...], low: float, high: float) -> None:
    found = newcombe(*(whole(value) for value in table))
    assert [float(side[0]) for side in found] == pytest.approx([low, high], abs=5e-5)


def test_odds_ratio_equals_scipy() -> None:
    from scipy.stats.contingency import odds_ratio as reference

    found = [float(side[0]) for side in odds_ratio(whole(30), whole(100), whole(20), whole(120))]
    wanted = reference([[30, 70], [20, 100]], kind="sample")
    interval = wanted.confidence_interval(0.95)
    assert found == pytest.approx([wanted.statistic, interval.low, interval.high], rel=1e-9)
    ratio, low, high = odds_ratio(whole(5), whole(5), whole(0), whole(5))
    assert np.isfinite([ratio[0], low[0], high[0]]).all()
    assert ratio[0] == pytest.approx(121.0)


def test_fisher_equals_scipy() -> None:
    from scipy.stats import fisher_exact

    random = np.random.default_rng(3)
    rows, other_rows = random.integers(1, 300, 60), random.integers(1, 300, 60)
    count, other_count = random.integers(0, rows + 1), random.integers(0, other_rows + 1)
    rows[0], other_rows[0], count[0], other_count[0] = 40_000, 60_000, 300, 380
    found = fisher(count, rows, other_count, other_rows)
    for a, n, b, m, p_value in zip(count, rows, other_count, other_rows, found, strict=True):
        wanted = fisher_exact([[a, n - a], [b, m - b]]).pvalue
        assert p_value == pytest.approx(wanted, rel=1e-6, abs=1e-300)
    assert len(fisher(whole(), whole(), whole(), whole())) == 0


def test_holm_equals_the_evaluation_rooms() -> None:
    from metier.evaluation.statistics import holm as reference

    values = np.array([0.01, 0.04, 0.03, 0.005, 0.5])
    assert holm(values).tolist() == pytest.approx(reference(values.tolist()))
    assert holm(np.zeros(0)).tolist() == []


def test_rows_that_vary_together_count_as_one() -> None:
    random = np.random.default_rng(5)
    outcome, here = random.random(400) < 0.5, np.arange(400) % 2 == 0
    each = np.arange(400, dtype=np.int64)
    assert design_effect(outcome, here, each) == 1.0
    five = design_effect(np.repeat(outcome, 5), np.repeat(here, 5), np.repeat(each, 5))
    assert five == pytest.approx(5 * 400 / 399)  # five copies of every row say nothing new
    assert design_effect(np.repeat(outcome, 5), np.repeat(here, 5), np.arange(2000, dtype=np.int64)) == 1.0
    assert design_effect(outcome, here, np.zeros(400, np.int64)) == np.inf
    assert design_effect(outcome, np.ones(400, np.bool_), each) == np.inf
    assert design_effect(np.ones(400, np.bool_), here, each // 2) == 1.0
