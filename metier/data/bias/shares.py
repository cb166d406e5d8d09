"""Two shares compared, many at a time: intervals, odds ratios, exact tests, correction for looking often.

All arrays are of shape (T,), one entry a comparison: `count` of `rows` rows here, `other_count` of `other_rows`
there. The data room may not read `evaluation`, and needs these for thousands of tables at once; the tests hold
them against scipy and published values.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_TIE = 1.0 + 1e-7
"""Tables this close to the observed one count as just as improbable: log factorials of large counts are no closer."""


def wilson(count: npt.ArrayLike, rows: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's 95 % score interval of shares; 0 to 1 where there are no rows.

    Args:
        count: Successes, shape (T,).
        rows: Trials, shape (T,).
    """
    trials = np.maximum(np.asarray(rows, np.float64), 1.0)
    hits = np.asarray(count, np.float64)
    share = hits / trials
    middle = (share + _Z * _Z / (2 * trials)) / (1 + _Z * _Z / trials)
    half = _Z * np.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials)) / (1 + _Z * _Z / trials)
    low = np.where(hits == 0, 0.0, middle - half)
    high = np.where(hits == trials, 1.0, middle + half)
    empty = np.asarray(rows) == 0
    return np.where(empty, 0.0, low), np.where(empty, 1.0, high)


def newcombe(count: Counts, rows: Counts, other_count: Counts, other_rows: Counts) -> tuple[Floats, Floats]:
    """95 % interval of the difference of two independent shares: Newcombe 1998 (Stat Med 17:873), method 10."""
    share, other = count / rows, other_count / other_rows
    low, high = wilson(count, rows)
    other_low, other_high = wilson(other_count, other_rows)
    below = np.sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = np.sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return share - other - below, share - other + above


def odds_ratio(count: Counts, rows: Counts, other_count: Counts, other_rows: Counts) -> tuple[Floats, Floats, Floats]:
    """Odds ratios with Woolf's 95 % interval; a half is added to all four cells where one is empty (Haldane, Anscombe).

    Returns:
        Ratio, low, high.
    """
    cells = np.stack([count, rows - count, other_count, other_rows - other_count]).astype(np.float64)
    cells += np.where((cells == 0).any(axis=0), 0.5, 0.0)
    log = np.log(cells[0]) - np.log(cells[1]) - np.log(cells[2]) + np.log(cells[3])
    error = np.sqrt((1 / cells).sum(axis=0))
    return np.exp(log), np.exp(log - _Z * error), np.exp(log + _Z * error)


def fisher(count: Counts, rows: Counts, other_count: Counts, other_rows: Counts) -> Floats:
    """Two-sided p-values of Fisher's exact test.

    Exact because what survives the correction lies far out in the tails, where the normal approximation of a rare
    label calls one in 100,000 what is one in 1,000. Cost: the smaller margin of each table. Counts are rounded.
    """
    from scipy.special import gammaln  # type: ignore[import-untyped]

    if len(count) == 0:
        return np.zeros(0)
    count, rows, other_count, other_rows = (
        np.rint(one).astype(np.int64) for one in (count, rows, other_count, other_rows)
    )
    log_factorial = gammaln(np.arange(int((rows + other_rows).max()) + 1, dtype=np.float64) + 1.0)
    p_values = np.empty(len(count))
    for place in range(len(count)):
        here, there = int(rows[place]), int(other_rows[place])
        hits = int(count[place] + other_count[place])
        first = max(0, hits - there)
        cases = np.arange(first, min(here, hits) + 1)
        logs = -(
            log_factorial[cases]
            + log_factorial[here - cases]
            + log_factorial[hits - cases]
            + log_factorial[there - hits + cases]
        )
        chances = np.exp(logs - logs.max())
        observed = chances[int(count[place]) - first]
        p_values[place] = chances[chances <= observed * _TIE].sum() / chances.sum()
    return np.minimum(p_values, 1.0)


def design_effect(
    outcome: npt.NDArray[np.bool_], here: npt.NDArray[np.bool_], clusters: npt.NDArray[np.int64]
) -> float:
    """How many times wider the difference of two shares varies because rows of one cluster vary together.

    Counts divided by it are what independent rows would have been (Rao and Scott 1981, JASA 76:221, first order);
    an exact test on those stays honest with few clusters, where a normal one is not. Both variances are taken under
    equal shares, with C / (C - 1) for clusters.

    Args:
        outcome: What each row has, shape (N,).
        here: Whether a row is of the group; the others are what it is compared with.
        clusters: The cluster of each row, numbers from 0; not all need to occur.

    Returns:
        At least 1; infinite with fewer than two clusters, where nothing is known.
    """
    count = int(np.count_nonzero(np.bincount(clusters))) if len(clusters) else 0
    if count < 2 or here.all() or not here.any():
        return math.inf
    parts = np.where(here, 1 / here.sum(), -1 / (~here).sum()) * (outcome - outcome.mean())
    alone = float((parts**2).sum())
    if count == len(parts) or alone == 0.0:
        return 1.0
    sums = np.bincount(clusters, weights=parts)
    return max(1.0, float((sums**2).sum()) * count / (count - 1) / alone)


def holm(p_values: Floats) -> Floats:
    """Holm's step-down correction, in the given order: chance of any false find among all that were looked at."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.minimum(1.0, p_values[order] * (len(p_values) - np.arange(len(p_values))))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted
