"""Bootstrap intervals for anything that is a function of sums over items.

A *unit* is what is drawn: an item, or a whole group of items that vary together. Each unit is a row of
sums (how often each label was gold, answered, right), so one resample is a weighted sum of rows, and all
resamples are one matrix product. Identical units are stored once with their count, which changes nothing
but the speed. Only numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.evaluation.statistics import CONFIDENCE, normal_cdf, normal_quantile

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From sums (…, features) to values (…)."""

CELLS_AT_ONCE = 4_000_000
"""Draws held in memory together; about 32 MB."""
LEAST_BEYOND = 4
"""Resamples that must lie beyond a bound: an interval is not read off the last of them."""


@dataclass(frozen=True, eq=False)
class Units:
    """What is drawn: `sums` (units, features) of distinct units, and how often each occurs."""

    sums: Floats
    counts: npt.NDArray[np.int64]

    @property
    def total(self) -> Floats:
        """The sums over all units (features)."""
        total: Floats = self.counts.astype(np.float64) @ self.sums
        return total


@dataclass(frozen=True, eq=False)
class Resampled:
    """Sums of every resample and of every leave-one-unit-out sample, ready for any statistic of them."""

    units: Units
    draws: Floats
    without: Floats

    def interval(self, statistic: Statistic, confidence: float = CONFIDENCE) -> Interval:
        """The BCa interval of `statistic`, or the reason why there is none."""
        value = float(statistic(self.units.total))
        return bca_interval(value, statistic(self.draws), statistic(self.without), self.units.counts, confidence)


@dataclass(frozen=True)
class Interval:
    """Bounds and the two-sided p-value of "it is 0", or a reason why they are unknown."""

    low: float | None
    high: float | None
    p_value: float | None
    reason: str | None = None


def resample(units: Units, resamples: int, seed: int) -> Resampled:
    """Draw as many units as there are, with replacement, `resamples` times.

    Args:
        units: What is drawn.
        resamples: How many samples to draw.
        seed: Seed of the draws; the same seed and units give the same result.
    """
    generator = np.random.default_rng(seed)
    size = int(units.counts.sum())
    at_once = max(1, CELLS_AT_ONCE // max(len(units.counts), 1))
    # float32 holds whole numbers up to 2**24 exactly, and its product is twice as fast.
    whole = float(units.total.max(initial=0.0)) * 8 < 2**24 and bool(np.all(units.sums == np.rint(units.sums)))
    exact: type[np.floating[Any]] = np.float32 if whole else np.float64
    sums: npt.NDArray[Any] = units.sums.astype(exact)
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        weights: npt.NDArray[Any] = generator.multinomial(size, units.counts / size, size=rows).astype(exact)
        parts.append((weights @ sums).astype(np.float64))
    return Resampled(units=units, draws=np.concatenate(parts), without=units.total - units.sums)


@dataclass(frozen=True, eq=False)
class Draws:
    """How units are drawn. Units that were drawn before are not drawn again: their metrics share the resamples."""

    resamples: int
    seed: int
    _made: list[Resampled] = field(default_factory=list, init=False, repr=False)

    def of(self, units: Units) -> Resampled:
        """The resamples of `units`, as `resample` makes them.

        Args:
            units: What is drawn.
        """
        for made in self._made:
            if all(map(np.array_equal, (made.units.sums, made.units.counts), (units.sums, units.counts))):
                return made
        self._made.append(resample(units, self.resamples, self.seed))
        return self._made[-1]


def bca_interval(
    value: float,
    drawn: Floats,
    without: Floats,
    counts: npt.NDArray[np.int64],
    confidence: float = CONFIDENCE,
) -> Interval:
    """Efron's bias-corrected and accelerated interval, and the p-value that agrees with it.

    Args:
        value: The statistic on the data.
        drawn: The statistic on every resample.
        without: The statistic with one unit left out, for each distinct unit.
        counts: How often each distinct unit occurs.
        confidence: Coverage, between 0 and 1.
    """
    if counts.sum() < 2:
        return Interval(None, None, None, "fewer than two independent units")
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0 or float(np.ptp(drawn)) < 1e-12:
        return Interval(None, None, None, "every resample gives the same value")
    bias = normal_quantile(_share_below(drawn, value))
    if not math.isfinite(bias):
        return Interval(None, None, None, "the value lies at the edge of its resamples")
    if len(drawn) * (1 - confidence) / 2 < LEAST_BEYOND:
        return Interval(None, None, None, f"too few resamples for {100 * confidence:.4g} % coverage")
    acceleration = _acceleration(without, counts)
    levels = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + normal_quantile(tail)
        levels.append(normal_cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = (float(bound) for bound in np.quantile(drawn, levels))
    return Interval(low, high, _p_value(drawn, bias, acceleration))


def _share_below(drawn: Floats, value: float) -> float:
    """Share of `drawn` below `value`, ties counted half. Rounding must not break a tie."""
    margin = 1e-12
    below = np.count_nonzero(drawn < value - margin) + np.count_nonzero(drawn <= value + margin)
    return float(below) / (2 * len(drawn))


def _acceleration(without: Floats, counts: npt.NDArray[np.int64]) -> float:
    """Efron's acceleration from the jackknife; 0 when leaving a unit out changes nothing."""
    known = np.isfinite(without)
    values, weights = without[known], counts[known]
    if len(values) == 0:
        return 0.0
    gaps = np.average(values, weights=weights) - values
    squares = float(np.sum(weights * gaps**2))
    return float(np.sum(weights * gaps**3)) / (6 * squares**1.5) if squares > 1e-300 else 0.0


def _p_value(drawn: Floats, bias: float, acceleration: float) -> float:
    """Twice the level at which the one-sided BCa bound reaches 0; never below 1 / (resamples + 1)."""
    floor = 1 / (len(drawn) + 1)
    share = min(max(_share_below(drawn, 0.0), floor), 1 - floor)
    distance = normal_quantile(share) - bias
    scale = 1 + acceleration * distance
    # Beyond the pole of the transformation the bound never comes back: the smallest p there is.
    level = normal_cdf(distance / scale - bias) if scale > 0 else floor
    return max(min(1.0, 2 * min(level, 1 - level)), floor)
