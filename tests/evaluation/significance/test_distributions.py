"""Beta, binomial and Student distributions against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from metier.evaluation.significance import distributions as ours

parameters = st.floats(0.1, 3000)


@given(a=parameters, b=parameters, x=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_incomplete_beta_equals_scipy(a: float, b: float, x: float) -> None:
    assert ours.incomplete_beta(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), rel=1e-8, abs=1e-11)


def test_incomplete_beta_outside_is_at_its_ends() -> None:
    assert ours.incomplete_beta(2, 3, -1) == 0.0
    assert ours.incomplete_beta(2, 3, 2) == 1.0


def test_incomplete_beta_refuses_parameters_of_nothing() -> None:
    with pytest.raises(ValueError, match="parameters: 0 and 2, wanted numbers above 0"):
        ours.incomplete_beta(0, 2, 0.5)


@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.5, 0.975])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (3, 300), (40, 2), (500, 700)])
def test_beta_quantile_equals_scipy(probability: float, a: float, b: float) -> None:
    assert ours.beta_quantile(probability, a, b) == pytest.approx(float(stats.beta.ppf(probability, a, b)), rel=1e-8)


def test_beta_quantile_at_the_ends() -> None:
    assert (ours.beta_quantile(0, 2, 3), ours.beta_quantile(1, 2, 3)) == (0.0, 1.0)


@given(trials=st.integers(1, 2000), part=st.floats(0, 1), share=st.floats(0.001, 0.999))
@settings(max_examples=80, deadline=None)
def test_binomial_at_most_equals_scipy(trials: int, part: float, share: float) -> None:
    successes = round(part * trials)
    expected = float(stats.binom.cdf(successes, trials, share))
    assert ours.binomial_at_most(successes, trials, share) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_binomial_at_most_outside() -> None:
    assert ours.binomial_at_most(-1, 5, 0.5) == 0.0
    assert ours.binomial_at_most(5, 5, 0.5) == 1.0


@given(trials=st.integers(1, 2000), part=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_clopper_pearson_equals_scipy(trials: int, part: float, confidence: float) -> None:
    successes = round(part * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert ours.clopper_pearson(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("n", "upper"), [(30, 0.0950), (100, 0.0295), (250, 0.0119), (500, 0.0060)])
def test_no_failures_do_not_mean_safe(n: int, upper: float) -> None:
    # The one-sided 95 % bounds of no failures on n items.
    assert ours.upper_share(0, n) == pytest.approx(upper, abs=6e-5)
    assert ours.lower_share(n, n) == pytest.approx(1 - upper, abs=6e-5)


def test_bounds_of_no_trials_say_nothing() -> None:
    assert (ours.lower_share(0, 0), ours.upper_share(0, 0)) == (0.0, 1.0)


@given(value=st.floats(-30, 30), freedom=st.floats(1, 500))
@settings(max_examples=80, deadline=None)
def test_student_cdf_equals_scipy(value: float, freedom: float) -> None:
    assert ours.student_cdf(value, freedom) == pytest.approx(float(stats.t.cdf(value, freedom)), rel=1e-8, abs=1e-11)


@pytest.mark.parametrize("probability", [0.001, 0.025, 0.5, 0.9, 0.975, 0.9995])
@pytest.mark.parametrize("freedom", [1, 2, 4, 9.5, 30, 1000, 1e6])
def test_student_quantile_equals_scipy(probability: float, freedom: float) -> None:
    expected = float(stats.t.ppf(probability, freedom))
    assert ours.student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_student_quantile_at_the_end_is_infinite() -> None:
    assert ours.student_quantile(1.0, 3) == math.inf
    assert ours.student_quantile(0.0, 3) == -math.inf
