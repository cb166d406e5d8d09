"""Which labels, or which tones of written answers, go with which group: effect, interval, correction.

Rows that name one group of a dimension are compared with rows that name another one of it, not with rows that name
nobody: whether a text speaks of people at all says much about its label, and would be found instead. Rows that name
several groups of the dimension stand aside. Where two groups or two labels are all there are, the second is the
mirror of the first and is not tested again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.data.bias.mentions import Coded, Gathered
from metier.data.bias.shares import CONFIDENCE, design_effect, fisher, holm, newcombe, odds_ratio

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class AssociationSettings:
    """What is looked at, and what is called an association."""

    fewest_rows: int = 30
    """A group with fewer rows is counted and not compared."""
    fewest_outcomes: int = 10
    """A label or tone that fewer of the compared rows have, or lack, is not compared: it could show nothing."""
    smallest_gap: float = 0.05
    """Difference of the shares below which nothing is flagged, however sure."""
    level: float = 1 - CONFIDENCE
    """Chance of any false flag among everything that was looked at (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What rows may have: one of several labels, or any of several tones."""

    kind: str
    """`label` or `tone`."""
    names: tuple[str, ...]
    flags: Flags | None = None
    """Shape (O, N); None: `codes` says which single one a row has."""
    codes: npt.NDArray[np.int32] | None = None
    """Shape (N,), place in `names`; negative: none."""

    def of(self, place: int) -> Flags:
        """Which rows have the outcome, shape (N,)."""
        if self.flags is not None:
            return np.asarray(self.flags[place], np.bool_)
        assert self.codes is not None
        return np.asarray(self.codes == place)

    def counts(self, groups: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.int64]:
        """Rows by group and outcome, shape (size, O).

        Args:
            groups: Code of each row's group, shape (N,); negative: left out.
            size: How many groups.
        """
        known = groups >= 0
        if self.flags is not None:
            columns = [np.bincount(groups[known & flags], minlength=size) for flags in self.flags]
            return np.stack(columns, axis=1).astype(np.int64)
        assert self.codes is not None
        known &= self.codes >= 0
        cells = groups[known].astype(np.int64) * len(self.names) + self.codes[known]
        return np.bincount(cells, minlength=size * len(self.names)).reshape(size, len(self.names)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One group and one outcome, compared with the other groups of the same dimension."""

    dimension: str
    group: str
    others: tuple[str, ...]
    """The groups that it is compared with."""
    kind: str
    """`label` or `tone`."""
    outcome: str
    count: int
    """Rows of the group with the outcome."""
    rows: int
    other_count: int
    other_rows: int
    low: float
    high: float
    """95 % interval of the difference of the shares (Newcombe), not corrected for looking often. Where rows vary
    together and the difference looked sure, this and the odds' interval are those of as many independent rows."""
    odds_ratio: float
    odds_low: float
    odds_high: float
    p_value: float
    """Fisher's exact test; where rows vary together, of as many independent rows (`shares.design_effect`)."""
    adjusted: float = 1.0
    """The same after Holm over all that was looked at."""
    flagged: bool = False

    @property
    def share(self) -> float:
        """Share of the group's rows with the outcome."""
        return self.count / self.rows

    @property
    def other_share(self) -> float:
        """The same share among the other groups."""
        return self.other_count / self.other_rows

    @property
    def difference(self) -> float:
        """Share here less share there, -1 to 1."""
        return self.share - self.other_share


def outcomes_of(gathered: Gathered, among: Flags) -> list[Outcomes]:
    """Labels, and tones of written answers, as far as the rows have them.

    Args:
        gathered: What one pass found.
        among: Rows that are compared, shape (N,).
    """
    found = []
    if (gathered.labels.codes[among] >= 0).any():
        codes = np.where(among, gathered.labels.codes, -1).astype(np.int32)
        found.append(Outcomes(kind="label", names=gathered.labels.values, codes=codes))
    written = gathered.written & among
    if written.any():
        middle = float(np.median(gathered.answer_lengths[written]))
        tones = {
            f"answer longer than {middle:,.0f} words": gathered.answer_lengths > middle,
            "answer declines": gathered.refusals,
            "answer more kind than harsh": gathered.scores > 0,
            "answer more harsh than kind": gathered.scores < 0,
        }
        found.append(Outcomes(kind="tone", names=tuple(tones), flags=np.stack([*tones.values()]) & written))
    return found


def associate(
    columns: Sequence[Coded],
    outcomes: Sequence[Outcomes],
    settings: AssociationSettings,
    *,
    among: Sequence[Flags],
    clusters: npt.NDArray[np.uint64] | None = None,
) -> list[Association]:
    """Compare every group with the others of its dimension, in every outcome, and correct for all of it together.

    Args:
        columns: Dimensions, and columns of the user's; the group of each row.
        outcomes: Labels, tones.
        settings: What is looked at and flagged.
        among: For each of `outcomes`, which rows can have it at all.
        clusters: Rows of one number vary together; None: every row stands for itself.

    Returns:
        Everything that was looked at, the surest first.
    """
    found: list[Association] = []
    together = _places(clusters)
    for column in columns:
        for outcome, rows in zip(outcomes, among, strict=True):
            groups = np.where(rows, column.codes, -1).astype(np.int32)
            found.extend(_compared(column, outcome, groups, settings, together))
    adjusted = holm(np.array([one.p_value for one in found]))
    corrected = [
        replace(
            one,
            adjusted=float(p_value),
            flagged=bool(p_value <= settings.level and abs(one.difference) >= settings.smallest_gap),
        )
        for one, p_value in zip(found, adjusted, strict=True)
    ]
    return sorted(corrected, key=lambda one: (one.adjusted, one.p_value, -abs(one.difference)))


def _places(clusters: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.int64] | None:
    """Clusters numbered from 0; None where every row stands for itself."""
    if clusters is None:
        return None
    found, places = np.unique(clusters, return_inverse=True)
    return None if len(found) == len(clusters) else places.astype(np.int64)


def _compared(
    column: Coded,
    outcome: Outcomes,
    groups: npt.NDArray[np.int32],
    settings: AssociationSettings,
    clusters: npt.NDArray[np.int64] | None,
) -> Iterator[Association]:
    counts = outcome.counts(groups, len(column.values))
    totals = np.bincount(groups[groups >= 0], minlength=len(column.values)).astype(np.int64)
    eligible = np.flatnonzero(totals >= settings.fewest_rows)
    if len(eligible) < 2:
        return
    counts, totals = counts[eligible], totals[eligible]
    names = [column.values[place] for place in eligible]
    all_counts, all_rows = counts.sum(axis=0), int(totals.sum())
    chosen = np.flatnonzero(
        (all_counts >= settings.fewest_outcomes) & (all_rows - all_counts >= settings.fewest_outcomes)
    )
    if outcome.codes is not None and len(chosen) == 2 and int(all_counts[chosen].sum()) == all_rows:
        chosen = chosen[[int(np.argmin(all_counts[chosen]))]]  # of two labels the rarer one
    members = np.flatnonzero(np.isin(groups, eligible))
    for place in range(1 if len(eligible) == 2 else len(eligible)):
        rows = np.full(len(chosen), totals[place])
        table = (counts[place, chosen], rows, (all_counts - counts[place])[chosen], all_rows - rows)
        p_values = fisher(*table)
        effects = np.ones(len(chosen))
        if clusters is not None:
            here = groups[members] == eligible[place]
            for doubtful in np.flatnonzero(p_values <= settings.level):  # no others can be flagged
                has = outcome.of(int(chosen[doubtful]))[members]
                effects[doubtful] = min(design_effect(has, here, clusters[members]), float(all_rows))
            thinned = fisher(*(one / effects for one in table))
            p_values = np.maximum(p_values, thinned)
        low, high = newcombe(*(one / effects for one in table))
        odds, odds_low, odds_high = odds_ratio(*(one / effects for one in table))
        for number, chosen_outcome in enumerate(chosen):
            count, here_rows, other_count, other_rows = (int(one[number]) for one in table)
            yield Association(
                dimension=column.name,
                group=names[place],
                others=tuple(name for name in names if name != names[place]),
                kind=outcome.kind,
                outcome=outcome.names[chosen_outcome],
                count=count,
                rows=here_rows,
                other_count=other_count,
                other_rows=other_rows,
                low=float(low[number]),
                high=float(high[number]),
                odds_ratio=float(odds[number]),
                odds_low=float(odds_low[number]),
                odds_high=float(odds_high[number]),
                p_value=float(p_values[number]),
            )
