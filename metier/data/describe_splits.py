"""How rows might have to be divided: groups that other files share, ids that come again, dates.

What is plain goes into the draft of a recipe; what only a person can decide goes there as a comment with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.columns import LABEL_NAMES, ColumnStats, is_id_name, plain_name
from metier.data.dates import Clock, said_date
from metier.data.paths import cell_at
from metier.data.sources import read_table
from metier.data.table import Table, counted
from metier.errors import DataError

MOST_SHARED = 0.2
"""Share of train in groups that a test or validation file has too, from which on the draft does not set the group."""
FEWEST_IDS = 20
"""Different ids of a column that may say which rows belong together."""
FEWEST_DATES = 10
"""Different dates of a column by which rows could be split."""
READABLE = 0.95
"""Share of its filled cells that must be dates."""


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A line of the recipe that is only suggested."""

    field: str
    """Of the data section."""
    column: str
    why: str


@dataclass(frozen=True, kw_only=True)
class SplitHints:
    """What the columns say about splits."""

    group: str | None
    """The column to set as the group, if any."""
    asides: tuple[Aside, ...]


def split_hints(
    stats: Mapping[str, ColumnStats],
    tables: Sequence[Table],
    others: Mapping[str, Path],
    *,
    group: str | None,
    dates: Sequence[str],
    taken: set[str | None],
) -> SplitHints:
    """What to set, and what to suggest.

    Args:
        stats: What the columns of train look like.
        tables: The files of train.
        others: The files of validation and test, by split.
        group: The column that looks like a group.
        dates: Columns that look like dates.
        taken: Columns that have another meaning.
    """
    asides = []
    shared = _shared(group, tables, [path for path in others.values() if path.is_file()]) if group is not None else None
    if group is not None and shared is not None:
        asides.append(Aside(field="group", column=group, why=shared))
    if group is None and (repeated := _repeated(stats, taken)) is not None:
        ids, rows = stats[repeated].distinct, stats[repeated].filled
        why = f"{ids:,} ids in {counted(rows, 'row')}: set it if rows of one belong together"
        asides.append(Aside(field="group", column=repeated, why=why))
    if not {"validation", "test"} <= others.keys():
        asides.extend(_times(dates, tables)[:1])
    return SplitHints(group=group if shared is None else None, asides=tuple(asides))


def _shared(group: str, tables: Sequence[Table], others: Sequence[Path]) -> str | None:
    """Why a group should not simply be set: its groups are in other files too."""
    there = {cell_at(row, group).strip() for path in others for row in read_table(path).rows} - {""}
    cells = [cell_at(row, group).strip() for table in tables for row in table.rows]
    both = sum(cell in there for cell in cells)
    if not cells or both <= MOST_SHARED * len(cells):
        return None
    names = " and ".join(path.name for path in others)
    return f"{counted(both, 'row')} of train share a group with {names}, and would leave train (data.leaks)"


def _repeated(stats: Mapping[str, ColumnStats], taken: set[str | None]) -> str | None:
    """A column of ids that come again and again."""
    for name, column in stats.items():
        stem = plain_name(name).rpartition("_")[0]
        means_a_label = stem in ("label", *LABEL_NAMES)
        if name in taken or not is_id_name(name) or means_a_label or column.nested:
            continue
        if FEWEST_IDS <= column.distinct < 0.9 * column.filled:
            return name
    return None


def _times(dates: Sequence[str], tables: Sequence[Table]) -> list[Aside]:
    """Columns by which rows could be split, with their first and last date."""
    found = []
    for name in dates:
        try:
            clock = Clock.of(name, {"train": tables})
        except DataError as error:
            found.append(Aside(field="time", column=name, why=error.found))
            continue
        cells = [(row, table.source.name) for table in tables for row in table.rows if cell_at(row, name).strip()]
        read = [when for row, source in cells if (when := clock.when(row, source)) is not None]
        if len(read) >= READABLE * len(cells) and len(set(read)) >= FEWEST_DATES:
            why = f"{said_date(min(read))} to {said_date(max(read))}: set it to train on the oldest, test on the newest"
            found.append(Aside(field="time", column=name, why=why))
    return found
