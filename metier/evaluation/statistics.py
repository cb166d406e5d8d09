"""Closed-form statistics for scores on items: intervals, paired tests, power.

Only numpy and the standard library, so that two finished runs are compared in under a second;
the tests hold every function against scipy or published values.

Paired counts always come as (gained, lost): items that only the candidate, or only the baseline, got right.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
POWER = 0.8
EXACT_POWER_LIMIT = 250
"""Expected discordant items up to which power is exact; above, the normal approximation is within half a point."""

_STANDARD = NormalDist()
Floats = npt.NDArray[np.float64]


def normal_cdf(value: float) -> float:
    """Probability that a standard normal variable is at most `value`."""
    return _STANDARD.cdf(value)


def normal_quantile(probability: float) -> float:
    """The standard normal quantile; 0 and 1 give minus and plus infinity."""
    if probability <= 0.0:
        return -math.inf
    if probability >= 1.0:
        return math.inf
    return _STANDARD.inv_cdf(probability)


@lru_cache(maxsize=512)
def _log_factorials(largest: int) -> Floats:
    return np.array([math.lgamma(count + 1.0) for count in range(largest + 1)])


def binomial_pmf(trials: int, share: float) -> Floats:
    """Probabilities of 0 to `trials` successes, each success having probability `share`."""
    if share <= 0.0 or share >= 1.0:
        certain = np.zeros(trials + 1)
        certain[0 if share <= 0.0 else trials] = 1.0
        return certain
    successes = np.arange(trials + 1)
    log_factorial = _log_factorials(trials)
    logs = log_factorial[trials] - log_factorial - log_factorial[::-1]
    logs = logs + successes * math.log(share) + (trials - successes) * math.log1p(-share)
    probabilities: Floats = np.exp(logs)
    return probabilities


def wilson_interval(successes: float, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share (no continuity correction); `trials` must be at least 1."""
    if trials < 1:
        raise ValueError(f"trials: {trials}, wanted at least 1")
    z = normal_quantile(0.5 + confidence / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    # At 0 and 1 the bound is exact; rounding would leave 1e-17.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return low, high


def newcombe_interval(
    both: int, gained: int, lost: int, neither: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the difference of two paired shares: Newcombe 1998 (Stat Med 17:2635), method 10.

    Args:
        both: Items right in both.
        gained: Items right by the first only.
        lost: Items right by the second only.
        neither: Items wrong in both.
        confidence: Coverage, between 0 and 1.

    Returns:
        Low and high of (first minus second).
    """
    n = both + gained + lost + neither
    first, second = (both + gained) / n, (both + lost) / n
    low_1, high_1 = wilson_interval(both + gained, n, confidence)
    low_2, high_2 = wilson_interval(both + lost, n, confidence)
    phi = _corrected_phi(both, gained, lost, neither)
    down_1, up_1, down_2, up_2 = first - low_1, high_1 - first, second - low_2, high_2 - second
    below = math.sqrt(max(0.0, down_1**2 - 2 * phi * down_1 * up_2 + up_2**2))
    above = math.sqrt(max(0.0, up_1**2 - 2 * phi * up_1 * down_2 + down_2**2))
    return first - second - below, first - second + above


def _corrected_phi(both: int, gained: int, lost: int, neither: int) -> float:
    """Phi correlation with Newcombe's continuity correction; 0 where a margin is empty."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - gained * lost)
    if product > 0:
        product = max(product - (both + gained + lost + neither) / 2, 0.0)
    return product / math.sqrt(margins)


def newcombe_unpaired_interval(
    right_1: int, n_1: int, right_2: int, n_2: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the difference of two shares on different items: Newcombe 1998 (Stat Med 17:873), method 10.

    Args:
        right_1: Items right among the first.
        n_1: Items of the first, at least 1.
        right_2: Items right among the second.
        n_2: Items of the second, at least 1.
        confidence: Coverage, between 0 and 1.

    Returns:
        Low and high of (first minus second).
    """
    first, second = right_1 / n_1, right_2 / n_2
    low_1, high_1 = wilson_interval(right_1, n_1, confidence)
    low_2, high_2 = wilson_interval(right_2, n_2, confidence)
    gap = first - second
    return gap - math.hypot(first - low_1, high_2 - second), gap + math.hypot(high_1 - first, second - low_2)


def fisher_mid_p(right_1: int, n_1: int, right_2: int, n_2: int) -> float:
    """Two-sided mid-p value of "two shares on different items are the same" (Fisher's test; Lancaster 1961).

    Tables as likely as the one that was seen count half. 1 where one side has no items.
    """
    right = right_1 + right_2
    fewest, most = max(0, right - n_2), min(n_1, right)
    if fewest == most:
        return 1.0
    logs = _log_factorials(n_1 + n_2)
    inside = np.arange(fewest, most + 1)
    chances = np.exp(
        logs[n_1] - logs[inside] - logs[n_1 - inside]
        + logs[n_2] - logs[right - inside] - logs[n_2 - right + inside]
        - logs[n_1 + n_2] + logs[right] + logs[n_1 + n_2 - right]
    )  # fmt: skip
    seen = float(chances[right_1 - fewest])
    tie = np.abs(chances - seen) <= 1e-7 * seen
    return min(1.0, float(np.sum(chances[(chances < seen) & ~tie])) + float(np.sum(chances[tie])) / 2)


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Two-sided mid-p McNemar p-value (Fagerland 2013): the test that is reported."""
    pmf = binomial_pmf(gained + lost, 0.5)
    smaller = min(gained, lost)
    return min(1.0, 2 * math.fsum(pmf[:smaller]) + float(pmf[smaller]))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, in the given order; an unknown p-value stays unknown and is not counted."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, place) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[place] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Step-up correction of many exploratory looks (Benjamini and Hochberg 1995), in the given order.

    At most the level's share of what it calls different is expected to be chance, where Holm keeps the chance of
    a single false call below it. An unknown p-value stays unknown and is not counted.
    """
    known = sorted(((p, place) for place, p in enumerate(p_values) if p is not None), reverse=True)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 1.0
    for rank, (p, place) in enumerate(known):
        running = min(running, p * len(known) / (len(known) - rank))
        adjusted[place] = running
    return adjusted


def clustered_standard_error(values: Sequence[float], groups: Sequence[Hashable]) -> float | None:
    """Standard error of a mean when items of a group vary together (Miller, arXiv 2411.00640, with C / (C - 1)).

    None with fewer than two groups, where it is unknown.
    """
    data = np.asarray(values, dtype=np.float64)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) < 2:
        return None
    places = np.array([numbers[group] for group in groups])
    sums = np.bincount(places, weights=data - data.mean())
    return math.sqrt(float(np.sum(sums**2)) * len(sums) / (len(sums) - 1)) / len(data)


@lru_cache(maxsize=4096)
def _rejected_from(trials: int, alpha: float) -> int:
    """Fewest wins among `trials` discordant items for which mid-p McNemar is at most `alpha`; `trials` + 1 if none."""
    pmf = binomial_pmf(trials, 0.5)
    below = np.concatenate(([0.0], np.cumsum(pmf)[:-1]))
    p_values = 2 * below + pmf
    losses = int(np.searchsorted(p_values[: trials // 2 + 1], alpha, side="right")) - 1
    return trials - losses if losses >= 0 else trials + 1


def mcnemar_power(n: int, gain: float, discordance: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Probability that mid-p McNemar finds a true `gain` on `n` items, in the right direction.

    Args:
        n: Items.
        gain: True difference of the two shares, above 0.
        discordance: Share of items on which the two differ; raised to `gain` where it is below.
        alpha: Two-sided level of the test.
    """
    share = min(1.0, max(discordance, gain))
    if share <= 0.0 or n < 1:
        return 0.0
    win = (share + gain) / (2 * share)
    if n * share > EXACT_POWER_LIMIT:
        z = normal_quantile(1 - alpha / 2)
        return normal_cdf((gain * math.sqrt(n) - z * math.sqrt(share)) / math.sqrt(max(share - gain * gain, 1e-12)))
    spread = 4.5 * math.sqrt(n * share * (1 - share)) + 3
    first, last = max(0, math.floor(n * share - spread)), min(n, math.ceil(n * share + spread))
    chances = binomial_pmf(n, share)
    total = 0.0
    for trials in range(first, last + 1):
        wins = _rejected_from(trials, alpha)
        if wins <= trials:
            total += float(chances[trials]) * float(np.sum(binomial_pmf(trials, win)[wins:]))
    return total


def smallest_detectable(n: int, discordance: float, power: float = POWER) -> float | None:
    """Smallest true gain that `n` items show with this power at the 5 % level; None where no gain could.

    Args:
        n: Items.
        discordance: Share of items on which the two systems differ, 0 to 1.
        power: Wanted probability of finding it.
    """
    if mcnemar_power(n, 1.0, 1.0) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        if mcnemar_power(n, middle, discordance) >= power:
            high = middle
        else:
            low = middle
    return high


def items_needed(gain: float, discordance: float, power: float = POWER) -> int | None:
    """Items with which a true `gain` is found with this power at the 5 % level; None for a gain of 0."""
    if gain <= 0.0:
        return None
    share = max(gain, discordance)
    z = normal_quantile(0.975) + normal_quantile(power)
    guess = max(8, math.ceil(z * z * share / gain**2))
    low, high = 1, guess
    while mcnemar_power(high, gain, share) < power:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        if mcnemar_power(middle, gain, share) >= power:
            high = middle
        else:
            low = middle
    return high
