"""How large a paired difference is, beside how sure: effect sizes, and a test of graded scores by sign flips.

Only numpy. What cannot be computed is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.evaluation.significance.distributions import clopper_pearson
from metier.evaluation.statistics import CONFIDENCE

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
ALL_FLIPS = 14
"""Independent units up to which all sign patterns are tried (2**14 of them): the test is then exact."""
CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, kw_only=True)
class PassEffect:
    """Effect sizes of items that pass or fail."""

    gained: int
    lost: int
    odds_ratio: float | None
    """gained / lost; None where nothing was lost."""
    odds_low: float
    """Exact conditional 95 % bounds; 0 and None (no upper end) where one side is empty."""
    odds_high: float | None
    cohens_g: float | None
    """gained / (gained + lost) - 0.5: 0.05 small, 0.15 medium, 0.25 large (Cohen 1988); None without discordance."""


@dataclass(frozen=True, kw_only=True)
class GradedEffect:
    """Effect sizes of graded scores."""

    n: int
    d_z: float | None
    """Mean difference over its standard deviation (Cohen 1988); None where all differences are equal."""
    correlation: float | None
    """Of the two columns: what pairing saves. None where one of them does not vary."""


def pass_effect(gained: int, lost: int, confidence: float = CONFIDENCE) -> PassEffect:
    """Odds ratio with its exact conditional interval (Clopper-Pearson on gained of all discordant), and Cohen's g."""
    discordant = gained + lost
    if discordant == 0:
        return PassEffect(gained=0, lost=0, odds_ratio=None, odds_low=0.0, odds_high=None, cohens_g=None)
    low, high = clopper_pearson(gained, discordant, confidence)
    return PassEffect(
        gained=gained,
        lost=lost,
        odds_ratio=gained / lost if lost else None,
        odds_low=low / (1 - low),
        odds_high=high / (1 - high) if high < 1 else None,
        cohens_g=gained / discordant - 0.5,
    )


def graded_effect(first: Floats, second: Floats) -> GradedEffect:
    """Cohen's d_z and the correlation of two columns of scores on the same items, each of shape (items,)."""
    gaps = first - second
    spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    varies = len(first) > 2 and float(first.std()) > 0 and float(second.std()) > 0
    return GradedEffect(
        n=len(gaps),
        d_z=float(gaps.mean()) / spread if spread > 1e-12 else None,
        correlation=float(np.corrcoef(first, second)[0, 1]) if varies else None,
    )


def sign_flip_p(differences: Floats, groups: Places | None = None, *, flips: int = 10_000, seed: int = 17) -> float:
    """Two-sided p-value of "the mean difference is 0", by flipping signs (Fisher 1935; Phipson and Smyth 2010).

    Exact up to `ALL_FLIPS` units, else by random flips and never below 1 / (flips + 1).

    Args:
        differences: First minus second of each item, shape (items,).
        groups: Group number of each item, whose signs flip together. None: items stand alone.
        flips: Random sign patterns.
        seed: Seed of the patterns.
    """
    sums = differences if groups is None else np.bincount(groups, weights=differences)
    sums = sums[sums != 0.0]  # a unit without a difference flips to itself
    if len(sums) == 0:
        return 1.0
    seen = abs(float(sums.sum())) * (1 - 1e-12)
    if len(sums) <= ALL_FLIPS:
        patterns = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ sums) >= seen))
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(sums))
    beyond = 0
    for start in range(0, flips, at_once):
        rows = min(at_once, flips - start)
        signs = 2.0 * generator.integers(0, 2, size=(rows, len(sums)), dtype=np.int8) - 1.0
        beyond += int(np.count_nonzero(np.abs(signs @ sums) >= seen))
    return (beyond + 1) / (flips + 1)
