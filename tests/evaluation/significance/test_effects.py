"""Effect sizes and the sign-flip test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metier.evaluation.significance.effects import graded_effect, pass_effect, sign_flip_p


def test_pass_effect_has_the_exact_conditional_interval() -> None:
    found = pass_effect(20, 9)
    interval = stats.binomtest(20, 29).proportion_ci(method="exact")
    assert found.odds_ratio == pytest.approx(20 / 9)
    assert found.odds_low == pytest.approx(interval.low / (1 - interval.low))
    assert found.odds_high == pytest.approx(interval.high / (1 - interval.high))
    assert found.cohens_g == pytest.approx(20 / 29 - 0.5)


def test_pass_effect_without_losses_has_no_upper_end() -> None:
    found = pass_effect(6, 0)
    assert found.odds_ratio is None and found.odds_high is None and found.odds_low > 1
    assert pass_effect(0, 0).cohens_g is None


def test_graded_effect_is_the_mean_over_the_spread() -> None:
    generator = np.random.default_rng(1)
    second = generator.normal(size=50)
    first = second + generator.normal(0.3, 0.5, 50)
    found = graded_effect(first, second)
    gaps = first - second
    assert found.d_z == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    assert found.correlation == pytest.approx(stats.pearsonr(first, second).statistic)


def test_graded_effect_without_spread_is_unknown() -> None:
    found = graded_effect(np.ones(5), np.zeros(5))
    assert found.d_z is None and found.correlation is None


@pytest.mark.parametrize("n", [6, 12])
def test_sign_flips_of_few_items_are_exact(n: int) -> None:
    gaps = np.random.default_rng(n).normal(0.5, 1, n)
    scipys = stats.permutation_test((gaps, np.zeros(n)), lambda a, b: np.mean(a - b), permutation_type="samples")
    assert sign_flip_p(gaps) == pytest.approx(scipys.pvalue, abs=1e-12)


def test_sign_flips_of_many_items_agree_with_scipy() -> None:
    gaps = np.random.default_rng(5).normal(0.15, 1, 120)
    scipys = stats.permutation_test(
        (gaps, np.zeros(120)), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=20_000, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert sign_flip_p(gaps, flips=20_000) == pytest.approx(scipys.pvalue, abs=0.015)


def test_sign_flips_keep_groups_whole() -> None:
    gaps = np.ones(40)
    assert sign_flip_p(gaps, np.repeat(np.arange(4), 10)) == pytest.approx(2 / 16)
    assert sign_flip_p(gaps) < 0.001


def test_sign_flips_without_differences_find_nothing() -> None:
    assert sign_flip_p(np.zeros(10)) == 1.0
