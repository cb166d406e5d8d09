"""Closed-form statistics against scipy and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metier.evaluation import statistics as ours

counts = st.integers(0, 60)


@pytest.mark.parametrize("value", [-8.0, -1.96, 0.0, 0.3, 4.0])
def test_normal_cdf_equals_scipy(value: float) -> None:
    assert ours.normal_cdf(value) == pytest.approx(stats.norm.cdf(value), rel=1e-9)


@pytest.mark.parametrize("probability", [1e-10, 0.025, 0.5, 0.975, 1 - 1e-9])
def test_normal_quantile_equals_scipy(probability: float) -> None:
    assert ours.normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), rel=1e-7, abs=1e-12)


def test_normal_quantile_at_the_ends_is_infinite() -> None:
    assert ours.normal_quantile(0.0) == -math.inf
    assert ours.normal_quantile(1.0) == math.inf


@given(trials=st.integers(0, 3000), share=st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(1e-6, 1 - 1e-6)))
@settings(max_examples=40, deadline=None)
def test_binomial_pmf_equals_scipy(trials: int, share: float) -> None:
    expected = stats.binom.pmf(np.arange(trials + 1), trials, share)
    assert ours.binomial_pmf(trials, share) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(trials=st.integers(1, 5000), part=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_wilson_equals_scipy(trials: int, part: float) -> None:
    right = round(part * trials)
    expected = stats.binomtest(right, trials).proportion_ci(method="wilson")
    assert ours.wilson_interval(right, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("right", "trials", "low", "high"),
    [
        pytest.param(81, 263, 0.2553, 0.3662, id="Newcombe 1998 81/263"),
        pytest.param(15, 148, 0.0624, 0.1605, id="Newcombe 1998 15/148"),
        pytest.param(0, 20, 0.0, 0.1611, id="Newcombe 1998 0/20"),
        pytest.param(1, 29, 0.0061, 0.1718, id="Newcombe 1998 1/29"),
    ],
)
def test_wilson_has_the_published_values(right: int, trials: int, low: float, high: float) -> None:
    assert ours.wilson_interval(right, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="trials: 0, wanted at least 1"):
        ours.wilson_interval(0, 0)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        pytest.param((36, 12, 2, 0), 0.0569, 0.3404, id="Newcombe 1998"),
        pytest.param((20, 12, 2, 16), 0.056, 0.329, id="Altman 2000, page 52"),
        pytest.param((1, 1, 7, 12), -0.507, -0.026, id="Bentur 2009 in Fagerland 2014"),
    ],
)
def test_newcombe_has_the_published_values(table: tuple[int, int, int, int], low: float, high: float) -> None:
    assert ours.newcombe_interval(*table) == pytest.approx((low, high), abs=6e-4)


@given(both=counts, gained=counts, lost=counts, neither=counts)
@settings(max_examples=100, deadline=None)
def test_newcombe_holds_the_difference_and_mirrors(both: int, gained: int, lost: int, neither: int) -> None:
    n = both + gained + lost + neither
    if n == 0:
        return
    low, high = ours.newcombe_interval(both, gained, lost, neither)
    assert -1 - 1e-9 <= low <= (gained - lost) / n + 1e-12
    assert (gained - lost) / n - 1e-12 <= high <= 1 + 1e-9
    assert ours.newcombe_interval(both, lost, gained, neither) == pytest.approx((-high, -low), abs=1e-12)


def test_mcnemar_mid_p_has_the_published_value() -> None:
    # Fagerland, Lydersen and Laake 2013: 1 against 7, mid-p 0.0391.
    assert ours.mcnemar_mid_p(1, 7) == pytest.approx(0.0391, abs=5e-5)


@given(gained=st.integers(0, 400), lost=st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_mcnemar_equals_scipy(gained: int, lost: int) -> None:
    if gained + lost == 0:
        assert ours.mcnemar_mid_p(0, 0) == 1.0
        return
    smaller = stats.binom(gained + lost, 0.5)
    mid = min(1.0, 2 * smaller.cdf(min(gained, lost)) - smaller.pmf(min(gained, lost)))
    assert ours.mcnemar_mid_p(gained, lost) == pytest.approx(mid, rel=1e-9)
    assert ours.mcnemar_mid_p(gained, lost) == ours.mcnemar_mid_p(lost, gained)


def test_holm_has_the_textbook_values() -> None:
    assert ours.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_an_unknown_p_unknown_and_does_not_count_it() -> None:
    assert ours.holm([0.02, None, 0.04]) == [0.04, None, 0.04]
    assert ours.holm([]) == []


def test_clustered_standard_error_equals_its_formula() -> None:
    generator = np.random.default_rng(1)
    values, groups = generator.random(40), generator.integers(0, 9, 40)
    gaps = values - values.mean()
    total = sum(float(np.outer(gaps[groups == group], gaps[groups == group]).sum()) for group in range(9))
    expected = math.sqrt(total * 9 / 8) / 40
    assert ours.clustered_standard_error(list(values), list(groups)) == pytest.approx(expected, rel=1e-9)


def test_clustered_standard_error_of_single_items_is_the_usual_one() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert ours.clustered_standard_error(values, range(5)) == pytest.approx(np.std(values, ddof=1) / math.sqrt(5))


def test_clustered_standard_error_of_one_group_is_unknown() -> None:
    assert ours.clustered_standard_error([0.0, 1.0], ["a", "a"]) is None


@pytest.mark.parametrize(
    ("n", "discordance", "expected"),
    [(100, 0.1, 0.089), (400, 0.1, 0.044), (400, 0.2, 0.063), (1000, 0.2, 0.040), (2000, 0.3, 0.034)],
)
def test_smallest_detectable_agrees_with_the_rule_of_thumb(n: int, discordance: float, expected: float) -> None:
    assert ours.smallest_detectable(n, discordance) == pytest.approx(expected, rel=0.12)


def test_smallest_detectable_of_too_few_items_is_unknown() -> None:
    assert ours.smallest_detectable(4, 0.5) is None
    assert ours.smallest_detectable(5, 0.5) is not None


def test_smallest_detectable_without_any_discordance_is_known_and_not_zero() -> None:
    found = ours.smallest_detectable(300, 0.0)
    assert found is not None and 0.01 < found < 0.03


def test_power_is_what_simulation_finds() -> None:
    n, gain, share = 120, 0.12, 0.2
    draws = np.random.default_rng(5).multinomial(n, [(share + gain) / 2, (share - gain) / 2, 1 - share], size=3000)
    found = np.mean([win > loss and ours.mcnemar_mid_p(win, loss) <= 0.05 for win, loss, _ in draws.tolist()])
    assert ours.mcnemar_power(n, gain, share) == pytest.approx(found, abs=0.03)


def test_power_is_smooth_where_the_exact_sum_ends() -> None:
    share = 0.25
    n = int(ours.EXACT_POWER_LIMIT / share)
    assert ours.mcnemar_power(n, 0.04, share) == pytest.approx(ours.mcnemar_power(n + 4, 0.04, share), abs=0.01)


@pytest.mark.parametrize(("gain", "discordance"), [(0.02, 0.2), (0.05, 0.1), (0.2, 0.2)])
def test_items_needed_have_the_power(gain: float, discordance: float) -> None:
    n = ours.items_needed(gain, discordance)
    assert n is not None
    assert ours.mcnemar_power(n, gain, discordance) >= 0.8
    assert ours.mcnemar_power(int(0.9 * n), gain, discordance) < 0.8


def test_items_needed_for_no_gain_are_unknown() -> None:
    assert ours.items_needed(0.0, 0.2) is None


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        pytest.param((56, 70, 48, 80), 0.0524, 0.3339, id="Newcombe 1998 (a)"),
        pytest.param((9, 10, 3, 10), 0.1705, 0.8090, id="Newcombe 1998 (b)"),
        pytest.param((10, 10, 0, 10), 0.6075, 1.0, id="Newcombe 1998 (h)"),
        pytest.param((5, 56, 0, 29), -0.0381, 0.1926, id="Newcombe 1998 (d)"),
    ],
)
def test_newcombe_unpaired_has_the_published_values(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert ours.newcombe_unpaired_interval(*counts) == pytest.approx((low, high), abs=6e-5)


@given(a=st.integers(0, 40), b=st.integers(0, 40), c=st.integers(0, 40), d=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_fisher_mid_p_is_scipys_less_half_of_what_is_as_likely(a: int, b: int, c: int, d: int) -> None:
    if a + b == 0 or c + d == 0:
        assert ours.fisher_mid_p(a, a + b, c, c + d) == 1.0
        return
    table = stats.hypergeom(a + b + c + d, a + c, a + b)
    exact = float(stats.fisher_exact([[a, b], [c, d]]).pvalue)
    ties = sum(table.pmf(k) for k in range(a + c + 1) if table.pmf(k) == pytest.approx(table.pmf(a), rel=1e-7))
    expected = exact if a + c in (0, a + b + c + d) else exact - ties / 2
    assert ours.fisher_mid_p(a, a + b, c, c + d) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_benjamini_hochberg_equals_scipy(p_values: list[float]) -> None:
    assert ours.benjamini_hochberg(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)), abs=1e-12)


def test_benjamini_hochberg_leaves_an_unknown_p_unknown() -> None:
    assert ours.benjamini_hochberg([0.02, None, 0.04]) == pytest.approx([0.04, None, 0.04])
    assert ours.benjamini_hochberg([]) == []
