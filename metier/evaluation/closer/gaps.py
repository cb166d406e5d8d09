"""How unequal a system treats the slices of one kind, and whether training made that better or worse.

The gap is the best slice minus the worst. It is never 0, even of a system that treats all alike, so it stands
beside the gap that chance alone would show. Only numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.evaluation.closer.slices import LEAST_SUPPORT, Slices, check_lengths
from metier.evaluation.evidence import Gap
from metier.evaluation.metrics import estimate
from metier.evaluation.results import Estimate
from metier.evaluation.sentences import number
from metier.evaluation.significance.bootstrap import Statistic, resample
from metier.evaluation.significance.paired import Resampling, units_of

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
SHUFFLES = 500
"""Times that the items are dealt to the slices at random."""


def measure_gaps(
    scores: Floats,
    slices: Slices,
    *,
    baseline: Floats | None = None,
    groups: Places | None = None,
    how: Resampling | None = None,
) -> tuple[Gap, ...]:
    """The gap of every kind with at least two slices that are large enough, the widest first.

    Args:
        scores: A score for each item, higher is better, shape (items,).
        slices: Kind to the slice of every item; None in no slice of this kind.
        baseline: The other system's scores of the same items. None: no other system.
        groups: Group number of each item. None: items stand alone.
        how: Resamples of the intervals. None: the defaults.

    Raises:
        ArgumentError: A length differs from that of the scores, or there are no items.
    """
    check_lengths(scores, slices, baseline)
    other = scores if baseline is None else baseline
    gaps = []
    for kind, names in slices.items():
        often = Counter(name for name in names if name is not None)
        kept = sorted(name for name, count in often.items() if count >= LEAST_SUPPORT)
        if len(kept) < 2:
            continue
        place = {name: at for at, name in enumerate(kept)}
        of_item = np.array([place.get(name or "", -1) if name is not None else -1 for name in names])
        inside = of_item >= 0
        its_groups = None if groups is None else groups[inside]
        columns = _Columns(kept, of_item[inside], scores[inside], other[inside], its_groups)
        gaps.append(_gap(kind, columns, baseline is not None, how or Resampling()))
    return tuple(sorted(gaps, key=lambda gap: (-(gap.value.value or 0.0), gap.kind)))


@dataclass(frozen=True)
class _Columns:
    """The items of one kind."""

    names: Sequence[str]
    of_item: Places
    scores: Floats
    other: Floats
    groups: Places | None


def _width(totals: Floats, counts: Floats) -> Floats:
    """Best minus worst mean, over slices that have items; shapes (..., slices)."""
    some = counts > 0
    means = np.divide(totals, counts, out=np.zeros(np.broadcast(totals, counts).shape), where=some)
    width: Floats = np.where(some, means, -np.inf).max(axis=-1) - np.where(some, means, np.inf).min(axis=-1)
    return width


def _gap(kind: str, columns: _Columns, has_other: bool, how: Resampling) -> Gap:
    n, size = len(columns.scores), len(columns.names)
    spread = np.zeros((n, 3 * size))
    rows = np.arange(n)
    spread[rows, columns.of_item] = columns.scores
    spread[rows, size + columns.of_item] = 1.0
    spread[rows, 2 * size + columns.of_item] = columns.other
    drawn = resample(units_of(spread, columns.groups), how.resamples, how.seed)

    def ours(sums: Floats) -> Floats:
        return _width(sums[..., :size], sums[..., size : 2 * size])

    def theirs(sums: Floats) -> Floats:
        return _width(sums[..., 2 * size :], sums[..., size : 2 * size])

    def told(statistic: Statistic) -> Estimate:
        grouped = columns.groups is not None
        return estimate(statistic, drawn, grouped=grouped, n=n, passes=False, confidence=how.confidence)

    means = drawn.units.total[:size] / drawn.units.total[size : 2 * size]
    best, worst = int(means.argmax()), int(means.argmin())
    value = told(ours)
    by_chance, chance_p = (None, None) if columns.groups is not None else _chance(columns, value.value or 0.0, how)
    gap = Gap(
        kind=kind, slices=size, best=columns.names[best], best_score=float(means[best]), worst=columns.names[worst],
        worst_score=float(means[worst]), value=value, by_chance=by_chance, chance_p=chance_p,
        baseline=told(theirs) if has_other else None,
        change=told(lambda sums: ours(sums) - theirs(sums)) if has_other else None,
        sentence="",
    )  # fmt: skip
    return replace(gap, sentence=_sentence(gap))


def _chance(columns: _Columns, found: float, how: Resampling) -> tuple[float, float]:
    """The mean gap of items dealt at random to slices of these sizes, and how often it is at least as wide."""
    generator = np.random.default_rng(how.seed)
    size = len(columns.names)
    counts = np.bincount(columns.of_item, minlength=size).astype(np.float64)
    widths = np.empty(SHUFFLES)
    for draw in range(SHUFFLES):
        dealt = generator.permutation(columns.scores)
        widths[draw] = _width(np.bincount(columns.of_item, weights=dealt, minlength=size).astype(np.float64), counts)
    return float(widths.mean()), float((np.count_nonzero(widths >= found - 1e-12) + 1) / (SHUFFLES + 1))


def _sentence(gap: Gap) -> str:
    """`By language 0.71 (de) to 0.93 (en): a gap of 0.22 (…); chance alone would show 0.05.`"""
    ends = f"{number(gap.worst_score)} ({gap.worst}) to {number(gap.best_score)} ({gap.best})"
    if gap.best == gap.worst:
        ends = f"{number(gap.worst_score)} in every slice"
    sentence = f"By {gap.kind} {ends}: a gap of {number(gap.value.value)}"
    if gap.value.low is not None and gap.value.high is not None:
        sentence += f" (95 % interval {number(gap.value.low)} to {number(gap.value.high)})"
    if gap.by_chance is not None:
        sentence += f"; chance alone would show {number(gap.by_chance)}"
    sentence += "."
    if gap.change is None or gap.change.low is None or gap.change.high is None:
        return sentence
    if gap.change.low > 0:
        return f"{sentence} It is wider than before by {number(gap.change.value)}."
    if gap.change.high < 0:
        return f"{sentence} It is narrower than before by {number(-(gap.change.value or 0.0))}."
    return f"{sentence} Whether it became wider cannot be told."
