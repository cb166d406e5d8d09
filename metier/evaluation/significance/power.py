"""What a test set can show, said before it is opened: from how often two systems differ on validation.

The test set's own discordance is known only after the look; validation's is known before, so a plan that reads it
is no excuse found afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.results import Estimate
from metier.evaluation.sentences import number
from metier.evaluation.significance.paired import one_sided
from metier.evaluation.statistics import (
    POWER,
    clustered_standard_error,
    items_needed,
    smallest_detectable,
    wilson_interval,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a test set of a given size can show about two systems."""

    discordance: Estimate
    """Share of validation items on which one is right and the other wrong, with its interval."""
    design_effect: float
    """How many items of groups tell as much as one that stands alone; 1 without groups."""
    test_size: int
    gain: float
    """The gain that is wanted: the recipe's smallest useful one."""
    smallest_detectable: float | None
    """Smallest true gain that the test set shows with 80 % power at 5 % (mid-p McNemar, exact); None: none."""
    smallest_low: float | None
    smallest_high: float | None
    """The same at the ends of the discordance's interval: how sure the plan itself is."""
    items_needed: int | None
    """Test items in all with which `gain` is found with 80 % power; None for a gain of 0."""
    missing: int | None
    """Of those, how many there are not yet."""
    sentence: str


def plan_power(
    first: Bools, second: Bools, *, test_size: int, gain: float, groups: Places | None = None, power: float = POWER
) -> Power:
    """What `test_size` items can show about two systems that both answered the validation set.

    Args:
        first: Whether each validation item was right, shape (items,).
        second: The same of the other system.
        test_size: Items of the test set, at least 1.
        gain: The gain that is wanted, in shares of right answers.
        groups: Group number of each validation item. None: items stand alone.
        power: Wanted probability of finding a gain.

    Raises:
        ArgumentError: There are no items, or the lengths differ.
    """
    discordance = discordance_of(first, second, groups)
    effect = design_effect(first.astype(np.float64) - second.astype(np.float64), groups)
    size = max(1, math.floor(test_size / effect))
    assert discordance.value is not None and discordance.low is not None and discordance.high is not None
    shown, low, high = (
        smallest_detectable(size, share, power) for share in (discordance.value, discordance.low, discordance.high)
    )
    alone = items_needed(gain, discordance.value, power)
    needed = None if alone is None else math.ceil(alone * effect)
    missing = None if needed is None else max(0, needed - test_size)
    return Power(
        discordance=discordance,
        design_effect=effect,
        test_size=test_size,
        gain=gain,
        smallest_detectable=shown,
        smallest_low=low,
        smallest_high=high,
        items_needed=needed,
        missing=missing,
        sentence=_sentence(test_size, shown, gain, missing),
    )


def discordance_of(first: Bools, second: Bools, groups: Places | None = None) -> Estimate:
    """Share of items on which one is right and the other wrong, with Wilson's interval (on the effective size).

    Args:
        first: Whether each item was right, shape (items,).
        second: The same of the other system.
        groups: Group number of each item. None: items stand alone.

    Raises:
        ArgumentError: There are no items, or the lengths differ.
    """
    if len(first) != len(second) or len(first) == 0:
        found = f"found {len(first)} and {len(second)} items"
        raise ArgumentError("power", found, "the same items of both, at least one")
    n = len(first)
    share = sum(one_sided(first, second)) / n
    size = max(1, math.floor(n / design_effect((first != second).astype(np.float64), groups)))
    low, high = wilson_interval(share * size, size)
    method = "wilson" if groups is None else f"wilson ({size} effective items)"
    return Estimate(value=share, low=low, high=high, n=n, method=method)


def design_effect(values: Floats | Sequence[float], groups: Places | None) -> float:
    """Variance of a mean over groups relative to items that stand alone (Kish 1965); never below 1.

    Without spread it is the mean size of a group: then all that is known is that groups agree.

    Args:
        values: A number for each item, shape (items,).
        groups: Group number of each item. None: items stand alone.
    """
    data = np.asarray(values, dtype=np.float64)
    if groups is None or len(data) < 2:
        return 1.0
    clusters = len(np.unique(groups))
    clustered = clustered_standard_error(data.tolist(), groups.tolist())
    alone = float(data.std(ddof=1)) / math.sqrt(len(data))
    if clustered is None or alone < 1e-12:
        return len(data) / clusters
    return min(max(1.0, (clustered / alone) ** 2), float(len(data)))


def _sentence(test_size: int, shown: float | None, gain: float, missing: int | None) -> str:
    """What can be shown, and what is missing."""
    if shown is None:
        return f"{test_size} test items cannot show any gain."
    sentence = f"{test_size} test items show a gain of {number(shown)} or more in 4 of 5 cases"
    if missing:
        return f"{sentence}; for {number(gain)}, the smallest useful gain, {missing:,} more are needed."
    if missing == 0:
        return f"{sentence}, so the smallest useful gain of {number(gain)} would be seen."
    return f"{sentence}."
