"""Medians and spreads of repeats, and how repeats of two sides are interleaved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of `values` lies, linear between neighbours (as numpy's default).

    Args:
        values: At least one.
        share: From 0 to 1.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Spread:
    """The middle of some repeats and the middle half of them."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    n: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Summarise repeats; at least one."""
        return Spread(quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75), len(values))


def alternating(repeats: int) -> str:
    """Who works when: `ABBAABBA…`, each side `repeats` times, so that a drift of the machine meets both alike."""
    return "".join("AB" if number % 2 == 0 else "BA" for number in range(repeats))


def interleave(repeats: int, left: Callable[[int], Any], right: Callable[[int], Any]) -> tuple[list[Any], list[Any]]:
    """Measure both sides in turn.

    Args:
        repeats: How often each works.
        left: Side A; takes the number of its repeat.
        right: Side B; likewise.
    """
    found: tuple[list[Any], list[Any]] = ([], [])
    for who in alternating(repeats):
        mine, measure = (found[0], left) if who == "A" else (found[1], right)
        mine.append(measure(len(mine)))
    return found


def ratio(left: Sequence[float], right: Sequence[float]) -> Spread:
    """How many times more left is than right, repeat by repeat: neighbours in time are compared."""
    return Spread.of([a / b for a, b in zip(left, right, strict=True)])
