"""Columns that give the label away: a score made with them says nothing about texts that come without.

Five ways are looked at, each with the share of rows for which it works and the share by chance: a cell equals the
label, contains it, begins or ends with it, determines it (rows of equal cells have equal labels), or sorts it (rows
that are neighbours by the cell, such as running numbers, have equal labels). A column is named once, with its
plainest way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import Finding
from metier.data.cleaning.words import Hashes, mixed, plain_words, text_hash

STEP = "giveaway"
VERSION = 1
TEXT = "(text)"
FIRST_WORD, LAST_WORD = "(first word of the text)", "(last word of the text)"
SHIFT = 0.382
"""By chance: the label of the row that stands so far behind, as a share of all rows, circularly."""

Flags = NDArray[np.bool_]
Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledCells:
    """One labelled row: what a system is asked, the label, and every cell of the row as it was read."""

    text: str
    label: str
    cells: Mapping[str, str | None]


class LabelledTable(Protocol):
    """Labelled rows in the order of their files; gone through once."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[LabelledCells]:
        """Every row, once."""


@dataclass(frozen=True, kw_only=True)
class GiveawaySettings:
    """When a column is named."""

    share: float = 0.95
    """Share of rows for which a way works from which on the column is named, 0 to 1."""
    above_chance: float = 0.9
    """Share of what chance leaves open that it must close as well, 0 to 1."""
    fewest_rows: int = 20
    """Rows with a cell that a column needs to be looked at."""
    most_rows: int = 20_000
    """Rows looked at; of more, so many are drawn, always the same ones."""


@dataclass(frozen=True, kw_only=True)
class Giveaway:
    """One column and how it gives the label away."""

    column: str
    way: str
    """`equals`, `determines`, `begins with`, `ends with`, `contains`, `sorts` or `is empty by`."""
    rows: int
    """Rows compared: for most ways those with a cell."""
    share: float
    """Share of them for which it works."""
    chance: float
    """Share for which it would work by chance."""

    @property
    def above_chance(self) -> float:
        """Which part of what chance leaves open it closes; 1: all."""
        return (self.share - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def screen_giveaway(
    table: LabelledTable, settings: GiveawaySettings | None = None, *, label: str = "", used: Sequence[str] = ()
) -> Finding:
    """Name the columns that give the label away, and the ways in which the text itself does.

    Args:
        table: Labelled rows, of train alone where splits are drawn.
        settings: Default: `GiveawaySettings()`.
        label: The label's own column, which is not looked at.
        used: Columns that are part of the text.
    """
    start = time.perf_counter()
    settings = settings or GiveawaySettings()
    columns, labels = _read(table, settings.most_rows, label)
    found = [
        best
        for name, column in columns.items()
        if (best := _plainest(list(_ways(name, column, labels, settings.fewest_rows)), settings)) is not None
    ]
    found.sort(key=lambda giveaway: (giveaway.column not in (TEXT, FIRST_WORD, LAST_WORD, *used), giveaway.column))
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(labels),
        counts={"columns": len(columns) - 3 * bool(columns), **Counter(giveaway.way for giveaway in found)},
        tables={"columns that give the answer away": [_line(giveaway, used) for giveaway in found]},
        notes=tuple(_notes(found, used, len(labels), len(table))),
        seconds=time.perf_counter() - start,
    )


@dataclass(kw_only=True)
class _Column:
    """What is kept of one column: a few bytes for each row."""

    value: Hashes
    """Hash of the cell's plain form; 0: empty."""
    number: NDArray[np.float64]
    equals: Flags
    contains: Flags
    begins: Flags
    ends: Flags
    by_chance: Flags
    """The same four ways (contains covers all) with another row's label."""
    rank: list[str] = field(default_factory=list)
    """The cells as they are, for sorting, cut to 64 characters."""

    @classmethod
    def empty(cls, rows: int) -> _Column:
        flags = [np.zeros(rows, bool) for _ in range(5)]
        return cls(
            value=np.zeros(rows, np.uint64),
            number=np.full(rows, np.nan),
            equals=flags[0],
            contains=flags[1],
            begins=flags[2],
            ends=flags[3],
            by_chance=flags[4],
            rank=[""] * rows,
        )

    def put(self, row: int, cell: str, label: str, other: str) -> None:
        """Note one cell; `label` and `other` as words between single spaces."""
        if not cell.strip():
            return
        plain = f" {' '.join(plain_words(cell))} "
        self.value[row] = text_hash(plain)
        self.rank[row] = cell.strip()[:64]
        try:
            self.number[row] = float(cell)
        except ValueError:
            self.number[row] = np.nan
        self.equals[row] = plain == label
        self.contains[row] = label in plain
        self.begins[row] = plain.startswith(label)
        self.ends[row] = plain.endswith(label)
        self.by_chance[row] = other in plain


def _read(table: LabelledTable, most: int, label: str) -> tuple[dict[str, _Column], Labels]:
    """The columns of a sample of the rows, and their labels as numbers."""
    chosen = _sample(len(table), most)
    rows = [row for position, row in enumerate(table) if chosen[position]]
    names = sorted({row.label for row in rows})
    number = {name: at for at, name in enumerate(names)}
    plain = {name: f" {' '.join(plain_words(name))} " for name in names}
    columns: dict[str, _Column] = {}
    shift = round(SHIFT * len(rows))
    for at, row in enumerate(rows):
        own, other = plain[row.label], plain[rows[(at + shift) % len(rows)].label]
        for name, cell in _cells(row, label):
            if name not in columns:
                columns[name] = _Column.empty(len(rows))
            columns[name].put(at, cell, own, other)
    return columns, np.array([number[row.label] for row in rows], np.int32)


def _cells(row: LabelledCells, label: str) -> Iterator[tuple[str, str]]:
    words = plain_words(row.text)
    yield TEXT, row.text
    yield FIRST_WORD, words[0]
    yield LAST_WORD, words[-1]
    for name, cell in row.cells.items():
        if name != label and cell:
            yield name, cell


def _sample(rows: int, most: int) -> Flags:
    """Which rows are looked at: all, or `most` of them, spread by a fixed hash of their place."""
    order = np.argsort(mixed(np.arange(1, rows + 1, dtype=np.uint64)), kind="stable")
    chosen = np.zeros(rows, bool)
    chosen[order[:most]] = True
    return chosen


def _ways(name: str, column: _Column, labels: Labels, fewest: int) -> Iterator[Giveaway]:
    """Every way that can be measured on this column, the plainest first."""
    filled = np.flatnonzero(column.value)
    if len(filled) >= fewest:
        chance = float(column.by_chance[filled].mean())
        yield from _by_words(name, column, filled, chance)
        repeated = _determines(column.value[filled], labels[filled])
        if repeated is not None:
            share, rows = repeated
            yield Giveaway(column=name, way="determines", rows=rows, share=share, chance=_most_frequent(labels[filled]))
        elif name not in (FIRST_WORD, LAST_WORD):
            yield _sorts(name, column, filled, labels)
    empty = len(labels) - len(filled)
    if min(empty, len(filled)) >= fewest:
        found = _determines((column.value == 0).astype(np.uint64), labels)
        if found is not None:
            yield Giveaway(
                column=name, way="is empty by", rows=len(labels), share=found[0], chance=_most_frequent(labels)
            )


def _by_words(name: str, column: _Column, filled: NDArray[np.int64], chance: float) -> Iterator[Giveaway]:
    kinds = {
        "equals": column.equals,
        "begins with": column.begins,
        "ends with": column.ends,
        "contains": column.contains,
    }
    for way, flags in kinds.items():
        yield Giveaway(column=name, way=way, rows=len(filled), share=float(flags[filled].mean()), chance=chance)


def _determines(values: Hashes, labels: Labels) -> tuple[float, int] | None:
    """How often the other rows of an equal cell have, most of them, a row's own label.

    Each row is left out of its own vote, so cells that occur once, such as ids, determine nothing; a tie counts
    as wrong.

    Returns:
        The share, and the rows whose cell occurs again; None where these are fewer than half.
    """
    _, value = np.unique(values, return_inverse=True)
    pair, at, counts = np.unique(value * (int(labels.max()) + 1) + labels, return_inverse=True, return_counts=True)
    of_value = pair // (int(labels.max()) + 1)
    best = np.zeros(int(value.max()) + 1, np.int64)
    np.maximum.at(best, of_value, counts)
    is_best = counts == best[of_value]
    ties = np.bincount(of_value, weights=is_best).astype(np.int64)
    second = np.zeros_like(best)
    np.maximum.at(second, of_value, np.where(is_best, 0, counts))
    second = np.where(ties > 1, best, second)
    right = is_best[at] & (counts[at] - 1 > second[value])
    again = np.bincount(value)[value] > 1
    if 2 * int(again.sum()) < len(values):
        return None
    return float(right[again].mean()), int(again.sum())


def _most_frequent(labels: Labels) -> float:
    return float(np.bincount(labels).max() / len(labels))


def _sorts(name: str, column: _Column, filled: NDArray[np.int64], labels: Labels) -> Giveaway:
    """How often rows that are neighbours by their cell have one label."""
    numbers = column.number[filled]
    if np.isfinite(numbers).all():
        order = filled[np.argsort(numbers, kind="stable")]
    else:
        order = filled[sorted(range(len(filled)), key=lambda at: column.rank[filled[at]])]
    ordered = labels[order]
    shares = np.bincount(ordered) / len(ordered)
    same = float((ordered[1:] == ordered[:-1]).mean())
    return Giveaway(column=name, way="sorts", rows=len(filled), share=same, chance=float((shares**2).sum()))


def _plainest(ways: Sequence[Giveaway], settings: GiveawaySettings) -> Giveaway | None:
    """The first way that works for enough rows, and not by chance."""
    return next(
        (way for way in ways if way.share >= settings.share and way.above_chance >= settings.above_chance), None
    )


def _line(giveaway: Giveaway, used: Sequence[str]) -> dict[str, object]:
    return {
        "column": giveaway.column,
        "way": giveaway.way,
        "rows": giveaway.rows,
        "share": round(giveaway.share, 4),
        "by chance": round(giveaway.chance, 4),
        "part of the text": giveaway.column in used or giveaway.column.startswith("("),
    }


_SAYS = {
    "equals": "equals the label",
    "begins with": "begins with the label",
    "ends with": "ends with the label",
    "contains": "contains the label",
    "determines": "determines the label (rows with equal cells have equal labels)",
    "sorts": "sorts the rows by label (neighbours have equal labels)",
    "is empty by": "is empty or filled by label",
}


def _notes(found: Sequence[Giveaway], used: Sequence[str], looked_at: int, rows: int) -> Iterator[str]:
    for giveaway in found:
        name = giveaway.column.strip("()") if giveaway.column.startswith("(") else f"column `{giveaway.column}`"
        numbers = f"in {giveaway.share:.1%} of {giveaway.rows:,} rows, by chance {giveaway.chance:.1%}"
        if giveaway.column.startswith("("):
            advice = "whoever asks later may not know it: check that it belongs to the text"
        elif giveaway.column in used:
            advice = "it is part of the text; leave it out of data.text unless it is known whenever a system is asked"
        else:
            advice = "it is not part of the text; keep it out of data.text"
        yield f"{name} {_SAYS[giveaway.way]} {numbers}; {advice}"
    if looked_at < rows:
        yield f"{looked_at:,} of {rows:,} rows were looked at"
