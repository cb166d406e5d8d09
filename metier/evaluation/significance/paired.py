"""The paired difference of two columns of scores on the same items, with the interval and test that fit them.

Items that pass or fail and stand alone have closed forms (Newcombe's interval, mid-p McNemar); everything else
is resampled, by whole groups where items of a group vary together. Only numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.metrics import estimate, unknown
from metier.evaluation.results import Estimate
from metier.evaluation.significance.bootstrap import Units, resample
from metier.evaluation.statistics import CONFIDENCE, mcnemar_mid_p, newcombe_interval

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
MERGED_UP_TO = 64
"""Columns up to which equal items are looked for and stored once; more are hardly ever equal."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How a number without a closed form gets its interval."""

    resamples: int = 2000
    """Bootstrap resamples."""
    seed: int = 17
    """Seed of the draws."""
    confidence: float = CONFIDENCE
    """Coverage, between 0 and 1."""


def one_sided(first: Bools, second: Bools) -> tuple[int, int]:
    """Items that the first alone passed, and those that the second alone passed."""
    return int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))


def newcombe_of(first: Bools, second: Bools, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Newcombe's paired interval of (first minus second).

    Args:
        first: Whether each item passed, shape (items,).
        second: The same of the other system.
        confidence: Coverage, between 0 and 1.
    """
    gained, lost = one_sided(first, second)
    both = int(np.count_nonzero(first & second))
    return newcombe_interval(both, gained, lost, len(first) - both - gained - lost, confidence)


def pass_difference(first: Bools, second: Bools, confidence: float = CONFIDENCE) -> tuple[Estimate, float]:
    """Difference of two shares of independent items that pass or fail, with Newcombe's interval and mid-p McNemar.

    Args:
        first: Whether each item passed, shape (items,), at least one.
        second: The same of the other system.
        confidence: Coverage, between 0 and 1.
    """
    (gained, lost), n = one_sided(first, second), len(first)
    low, high = newcombe_of(first, second, confidence)
    value = Estimate(value=(gained - lost) / n, low=low, high=high, n=n, method="newcombe paired")
    return value, mcnemar_mid_p(gained, lost)


def paired_difference(
    first: Floats, second: Floats, groups: Places | None = None, how: Resampling | None = None
) -> tuple[Estimate, float | None]:
    """Mean of the first minus mean of the second, with its paired interval and two-sided p-value.

    Args:
        first: A score for each item, shape (items,).
        second: The other system's score on the same items.
        groups: Group number of each item. None: items stand alone.
        how: Resamples and coverage. None: the defaults.

    Raises:
        ArgumentError: The lengths differ, there are no items, or a score is not finite.
    """
    how = how or Resampling()
    _check(first, second, groups)
    if groups is None and _passes(first) and _passes(second):
        return pass_difference(first > 0, second > 0, how.confidence)
    units = units_of(np.stack([first, second, np.ones(len(first))], axis=1), groups)

    def difference(sums: Floats) -> Floats:
        gap: Floats = (sums[..., 0] - sums[..., 1]) / np.maximum(sums[..., 2], 1e-300)
        return gap

    resampled = resample(units, how.resamples, how.seed)
    found = estimate(
        difference, resampled, grouped=groups is not None, n=len(first), passes=False, confidence=how.confidence
    )
    return found, resampled.interval(difference, how.confidence).p_value


def units_of(columns: Floats, groups: Places | None) -> Units:
    """Rows of items as units to resample: whole groups, or items of which equal ones are stored once.

    Args:
        columns: What each item adds, shape (items, features).
        groups: Group number of each item. None: items stand alone.
    """
    if groups is not None:
        names, places = np.unique(groups, return_inverse=True)
        sums = np.zeros((len(names), columns.shape[1]))
        np.add.at(sums, places, columns)
        return Units(sums, np.ones(len(sums), dtype=np.int64))
    if columns.shape[1] <= MERGED_UP_TO:
        kinds, counts = np.unique(columns, axis=0, return_counts=True)
        return Units(kinds, counts.astype(np.int64))
    return Units(columns, np.ones(len(columns), dtype=np.int64))


def mean_score(scores: Floats, groups: Places | None = None, how: Resampling | None = None) -> Estimate:
    """The mean of a column of scores, with a BCa interval over items or whole groups.

    Args:
        scores: A score for each item, shape (items,); empty is unknown.
        groups: Group number of each item. None: items stand alone.
        how: Resamples and coverage. None: the defaults.
    """
    how = how or Resampling()
    if len(scores) == 0:
        return unknown(0, "there are no items")
    units = units_of(np.stack([scores, np.ones(len(scores))], axis=1), groups)

    def mean(sums: Floats) -> Floats:
        value: Floats = sums[..., 0] / np.maximum(sums[..., 1], 1e-300)
        return value

    resampled = resample(units, how.resamples, how.seed)
    return estimate(mean, resampled, grouped=groups is not None, n=len(scores), passes=False, confidence=how.confidence)


def _passes(scores: Floats) -> bool:
    """Whether every item passes or fails."""
    return bool(np.all((scores == 0.0) | (scores == 1.0)))


def _check(first: Floats, second: Floats, groups: Places | None) -> None:
    lengths = {len(first), len(second), *([] if groups is None else [len(groups)])}
    if len(lengths) > 1:
        raise ArgumentError("paired scores", f"found lengths {sorted(lengths)}", "one score for every item")
    if len(first) == 0:
        raise ArgumentError("paired scores", "found no item", "at least one")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ArgumentError("paired scores", "found a score that is not finite", "finite numbers")
