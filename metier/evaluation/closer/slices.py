"""Where a system is weak: its score by slice, worst first, corrected for how many slices were looked at.

Each slice is compared with all other items; a slice is called weak only when that difference survives the
Benjamini-Hochberg correction over every slice of every kind (exploratory looks). Items that are right or wrong and
stand alone have closed forms; else one resampling of items or groups serves all slices. Only numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.evidence import SliceScore
from metier.evaluation.metrics import estimate, unknown
from metier.evaluation.results import Estimate
from metier.evaluation.significance.bootstrap import Statistic, resample
from metier.evaluation.significance.paired import Resampling, pass_difference, units_of
from metier.evaluation.statistics import (
    benjamini_hochberg,
    fisher_mid_p,
    newcombe_unpaired_interval,
    normal_cdf,
    wilson_interval,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Slices = Mapping[str, Sequence[str | None]]
"""Kind -> the slice of every item, as `slice_kinds.slices_of` gives it."""
LEAST_SUPPORT = 10
"""Items below which nothing is said of a slice but its score."""
LEVEL = 0.05
"""Share of the slices called weak or strong that may be chance."""


@dataclass(frozen=True)
class _Slice:
    kind: str
    name: str
    inside: Bools
    rest: Bools


@dataclass(frozen=True)
class _Numbers:
    """What is estimated of one slice."""

    score: Estimate
    against_rest: Estimate
    p_value: float | None
    baseline: Estimate | None
    gain: Estimate | None


def score_slices(
    scores: Floats,
    slices: Slices,
    *,
    baseline: Floats | None = None,
    groups: Places | None = None,
    how: Resampling | None = None,
) -> tuple[SliceScore, ...]:
    """The score of every slice, worst first: weak ones, then by score; slices of too few items at the end.

    Args:
        scores: A score for each item, higher is better, shape (items,): 0 and 1 where answers are right or wrong.
        slices: Kind to the slice of every item; None in no slice of this kind.
        baseline: The other system's scores of the same items. None: no other system.
        groups: Group number of each item. None: items stand alone.
        how: Resamples of intervals without a closed form. None: the defaults.

    Raises:
        ArgumentError: A length differs from that of the scores, or there are no items.
    """
    check_lengths(scores, slices, baseline)
    found = _slices(slices)
    columns = [scores, *([] if baseline is None else [baseline])]
    closed = groups is None and all(bool(np.all((column == 0) | (column == 1))) for column in columns)
    numbers = (
        [_closed(each, scores > 0, None if baseline is None else baseline > 0) for each in found]
        if closed
        else _resampled(found, scores, baseline, groups, how or Resampling())
    )
    told = [row.p_value if np.count_nonzero(each.inside) >= LEAST_SUPPORT else None
            for each, row in zip(found, numbers, strict=True)]  # fmt: skip
    rows = [
        SliceScore(
            kind=each.kind, name=each.name, n=int(np.count_nonzero(each.inside)), score=row.score,
            against_rest=row.against_rest, p_value=p_value, p_corrected=p_corrected, baseline=row.baseline,
            gain=row.gain, verdict="",
        )
        for each, row, p_value, p_corrected in zip(found, numbers, told, benjamini_hochberg(told), strict=True)
    ]  # fmt: skip
    return tuple(sorted((replace(row, verdict=_verdict(row)) for row in rows), key=_badness))


def check_lengths(scores: Floats, slices: Slices, baseline: Floats | None) -> None:
    """Refuse columns that do not belong to the same items.

    Args:
        scores: Shape (items,), at least one.
        slices: Kind to the slice of every item.
        baseline: Shape (items,), or None.

    Raises:
        ArgumentError: A length differs from that of the scores, or there are no items.
    """
    lengths = {kind: len(names) for kind, names in slices.items()}
    lengths |= {} if baseline is None else {"the other system": len(baseline)}
    wrong = sorted(name for name, length in lengths.items() if length != len(scores))
    if wrong or len(scores) == 0:
        found = f"found {len(scores)} scores and another length in: {', '.join(wrong) or 'nothing'}"
        raise ArgumentError("slices", found, "one value for every item, at least one")


def _slices(slices: Slices) -> list[_Slice]:
    found = []
    for kind, names in slices.items():
        of_item = np.array(["" if name is None else name for name in names])
        known = np.array([name is not None for name in names], dtype=np.bool_)
        for name in sorted({name for name in names if name is not None}):
            inside = known & (of_item == name)
            found.append(_Slice(kind, name, inside, known & ~inside))
    return found


def _closed(each: _Slice, right: Bools, other: Bools | None) -> _Numbers:
    """Closed forms of independent right and wrong."""
    n, hits = int(np.count_nonzero(each.inside)), int(np.count_nonzero(right & each.inside))
    n_rest, hits_rest = int(np.count_nonzero(each.rest)), int(np.count_nonzero(right & each.rest))
    score = _share(hits, n)
    if n_rest:
        low, high = newcombe_unpaired_interval(hits, n, hits_rest, n_rest)
        gap = Estimate(value=hits / n - hits_rest / n_rest, low=low, high=high, n=n, method="newcombe")
    else:
        gap = unknown(n, "there are no other items")
    p_value = fisher_mid_p(hits, n, hits_rest, n_rest) if n_rest else None
    if other is None:
        return _Numbers(score, gap, p_value, None, None)
    gain = pass_difference(right[each.inside], other[each.inside])[0]
    return _Numbers(score, gap, p_value, _share(int(np.count_nonzero(other & each.inside)), n), gain)


def _share(hits: int, n: int) -> Estimate:
    low, high = wilson_interval(hits, n)
    return Estimate(value=hits / n, low=low, high=high, n=n, method="wilson")


def _resampled(
    found: Sequence[_Slice], scores: Floats, baseline: Floats | None, groups: Places | None, how: Resampling
) -> list[_Numbers]:
    """All slices from one resampling: sums of score, count and the other system's score, in and outside of each."""
    if not found:
        return []
    other = np.zeros(len(scores)) if baseline is None else baseline
    columns = []
    for each in found:
        inside, rest = each.inside.astype(np.float64), each.rest.astype(np.float64)
        columns += [scores * inside, inside, other * inside, scores * rest, rest]
    drawn = resample(units_of(np.stack(columns, axis=1), groups), how.resamples, how.seed)
    rows = []
    for place, each in enumerate(found):
        n, start = int(np.count_nonzero(each.inside)), 5 * place

        def told(statistic: Statistic, n: int = n) -> Estimate:
            return estimate(statistic, drawn, grouped=groups is not None, n=n, passes=False, confidence=how.confidence)

        against = _ratio_gap((start, start + 1), (start + 3, start + 4))
        gap = told(against) if each.rest.any() else unknown(n, "there are no other items")
        has_other = baseline is not None
        rows.append(
            _Numbers(
                told(_ratio_gap((start, start + 1))),
                gap,
                _normal_p(gap, against(drawn.draws)),
                told(_ratio_gap((start + 2, start + 1))) if has_other else None,
                told(_ratio_gap((start, start + 1), (start + 2, start + 1))) if has_other else None,
            )
        )
    return rows


def _ratio_gap(first: tuple[int, int], second: tuple[int, int] | None = None) -> Statistic:
    """A mean, or the difference of two, from the columns of sum and count; not a number where nothing is counted."""

    def mean(sums: Floats, columns: tuple[int, int]) -> Floats:
        total, count = sums[..., columns[0]], sums[..., columns[1]]
        value: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
        return value

    def statistic(sums: Floats) -> Floats:
        return mean(sums, first) if second is None else mean(sums, first) - mean(sums, second)

    return statistic


def _normal_p(gap: Estimate, drawn: Floats) -> float | None:
    """Two-sided p-value by the spread of the resamples: counting them would end at 1 in 2000, too coarse to correct."""
    known = drawn[np.isfinite(drawn)]
    if gap.value is None or gap.reason is not None or len(known) < 2 or float(known.std()) == 0.0:
        return None
    return 2 * (1 - normal_cdf(abs(gap.value) / float(known.std(ddof=1))))


def _verdict(row: SliceScore) -> str:
    if row.n < LEAST_SUPPORT:
        return "too few"
    if row.p_corrected is None or row.p_corrected > LEVEL:
        return "no evidence"
    return "weak" if (row.against_rest.value or 0.0) < 0 else "strong"


def _badness(row: SliceScore) -> tuple[int, float, int, str, str]:
    order = {"weak": 0, "no evidence": 1, "strong": 1, "too few": 2}
    score = 0.0 if row.score.value is None else row.score.value
    return order[row.verdict], score, -row.n, row.kind, row.name
