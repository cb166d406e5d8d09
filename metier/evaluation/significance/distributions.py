"""Beta, binomial and Student distributions, so that exact bounds need neither scipy nor its second of import.

Only the standard library. The tests hold every function against scipy.
"""

from __future__ import annotations

import math

from metier.evaluation.statistics import CONFIDENCE

TINY = 1e-300
MOST_TERMS = 20_000
"""Terms of the continued fraction; it needs about the root of the larger parameter."""


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b): the probability that a beta variable is at most `x`.

    By Lentz' method on its continued fraction (Press et al., Numerical Recipes, 3rd edition, 6.4).

    Args:
        a: First parameter, above 0; need not be whole.
        b: Second parameter, above 0.
        x: Between 0 and 1; outside counts as the nearer end.

    Raises:
        ValueError: A parameter is not above 0.
    """
    if a <= 0.0 or b <= 0.0:
        raise ValueError(f"parameters: {a:g} and {b:g}, wanted numbers above 0")
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # The fraction is fast below the mean, and the symmetry turns the rest around.
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function."""

    def kept(value: float) -> float:
        return value if abs(value) > TINY else TINY

    upper = 1.0
    lower = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0))
    total = lower
    for term in range(1, MOST_TERMS):
        even = term * (b - term) * x / ((a + 2 * term - 1.0) * (a + 2 * term))
        lower, upper = 1.0 / kept(1.0 + even * lower), kept(1.0 + even / upper)
        total *= lower * upper
        odd = -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1.0))
        lower, upper = 1.0 / kept(1.0 + odd * lower), kept(1.0 + odd / upper)
        step = lower * upper
        total *= step
        if abs(step - 1.0) < 1e-15:
            break
    return total


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the beta distribution reaches `probability`, by bisection; 0 and 1 give the ends."""
    if probability <= 0.0:
        return 0.0
    if probability >= 1.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def binomial_at_most(successes: int, trials: int, share: float) -> float:
    """Probability of at most `successes` out of `trials`, each with probability `share`."""
    if successes < 0:
        return 0.0
    if successes >= trials:
        return 1.0
    return incomplete_beta(trials - successes, successes + 1.0, 1.0 - share)


def lower_share(successes: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """One-sided exact lower bound of a share (Clopper and Pearson 1934).

    Args:
        successes: How many; not whole where an effective sample size stands in for items.
        trials: Out of how many; 0 gives 0.
        confidence: Of this one bound, between 0 and 1.
    """
    if trials <= 0 or successes <= 0:
        return 0.0
    return beta_quantile(1.0 - confidence, successes, trials - successes + 1.0)


def upper_share(successes: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """One-sided exact upper bound of a share (Clopper and Pearson 1934); no trials give 1.

    Args:
        successes: How many; not whole where an effective sample size stands in for items.
        trials: Out of how many.
        confidence: Of this one bound, between 0 and 1.
    """
    if trials <= 0 or successes >= trials:
        return 1.0
    return beta_quantile(confidence, successes + 1.0, trials - successes)


def clopper_pearson(successes: float, trials: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided exact interval of a share (Clopper and Pearson 1934, Biometrika 26:404).

    Its coverage is never below `confidence`, which promises need; Wilson's is nearer to it on average.
    """
    one_side = (1.0 + confidence) / 2
    return lower_share(successes, trials, one_side), upper_share(successes, trials, one_side)


def student_cdf(value: float, freedom: float) -> float:
    """Probability that Student's t with `freedom` degrees of freedom is at most `value`."""
    square = value * value
    if square < freedom:  # near the middle the tail's argument would round to 1
        return 0.5 + math.copysign(0.5 * incomplete_beta(0.5, freedom / 2, square / (freedom + square)), value)
    tail = 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square))
    return tail if value < 0 else 1.0 - tail


def student_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t; the degrees of freedom need not be whole."""
    if probability < 0.5:
        return -student_quantile(1.0 - probability, freedom)
    if probability >= 1.0:
        return math.inf
    square = beta_quantile(2.0 * probability - 1.0, 0.5, freedom / 2)
    return math.sqrt(freedom * square / (1.0 - square)) if square < 1.0 else math.inf
