"""Rows under the numbers that screens count by: from 0, in order, without the gaps that rejected rows leave.

While their texts fit into memory they are read from disk once; the screens go over them dozens of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import SPLITS, Doubt, Finding, Row, Rows

IN_MEMORY = 1 << 27
"""Characters of texts and answers that are kept; with more, every pass reads the rows anew."""

LIKELY = 1.5
"""Times as many characters as may be kept from which on it is not tried: so many rows do not leave before the steps."""

Keys = NDArray[np.int64]
_SPLIT = {name: number for number, name in enumerate(SPLITS)}


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """Rows whose key is their position, and what their keys were; n rows."""

    rows: Rows
    raw: Rows
    """The same with their texts before repairs."""
    keys: Keys
    """The key that each had before, shape (n,), ascending."""
    splits: NDArray[np.int8]
    """Where each stands: a place in `SPLITS`, shape (n,)."""

    def __len__(self) -> int:
        """How many."""
        return len(self.keys)

    def positions(self, keys: Sequence[int] | Keys) -> Keys:
        """Where rows with these former keys stand now; keys that no row had are left out.

        Args:
            keys: In any order.
        """
        wanted = np.asarray(sorted(keys), np.int64)
        places = np.searchsorted(self.keys, wanted)
        inside = places < len(self.keys)
        found: Keys = places[inside][self.keys[places[inside]] == wanted[inside]]
        return found

    def named(self, finding: Finding) -> Finding:
        """A finding about these rows with the keys that they had before."""
        if not len(self.keys) or self.keys[-1] == len(self.keys) - 1:
            return finding
        return replace(finding, doubts=tuple(self._named(doubt) for doubt in finding.doubts))

    def _named(self, doubt: Doubt) -> Doubt:
        others = tuple(self.keys[list(doubt.others)].tolist()) if doubt.others else ()
        return replace(doubt, key=int(self.keys[doubt.key]), others=others)


def number_rows(rows: Rows, raw: Rows, *, most: int = IN_MEMORY, characters: int | None = None) -> Numbered:
    """Number rows.

    Args:
        rows: In ascending order of their keys.
        raw: The same rows in the same order, with their texts before repairs.
        most: Characters that may be kept in memory.
        characters: How many there are, as far as it is known: rows that will not fit are then not kept for a start.
            Some of the rows may have left since they were counted.
    """
    keys, splits = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int8)
    kept: list[Row] = []
    names: dict[str, str] = {}
    counted, keeps = 0, characters is None or characters <= LIKELY * most
    for position, row in enumerate(rows):
        keys[position], splits[position] = row.key, _SPLIT[row.split]
        counted += len(row.text) + len(row.answer)
        if keeps and counted <= most:
            kept.append(_lean(row, position, names))
        else:
            keeps = False
            kept.clear()
    if not keeps:
        return Numbered(rows=_Anew(rows), raw=_Anew(raw), keys=keys, splits=splits)
    if raw is rows:
        return Numbered(rows=kept, raw=kept, keys=keys, splits=splits)
    return Numbered(rows=kept, raw=_before_repairs(kept, raw, most), keys=keys, splits=splits)


def _lean(row: Row, key: int, names: dict[str, str]) -> Row:
    """The row with another key; texts that many rows have are one object."""

    def once(text: str) -> str:
        return names.setdefault(text, text)

    return Row(
        key=key, split=once(row.split), text=row.text, answer=once(row.answer) if row.labelled else row.answer,
        labelled=row.labelled, group=None if row.group is None else once(row.group), source=once(row.source),
        row=row.row,
    )  # fmt: skip


def _before_repairs(kept: Sequence[Row], raw: Rows, most: int) -> Rows:
    """The raw rows: only those that differ are kept beside the others."""
    other: dict[int, Row] = {}
    characters = 0
    for row, before in zip(kept, raw, strict=True):
        if before.text != row.text or before.answer != row.answer:
            other[row.key] = replace(row, text=before.text, answer=before.answer)
            characters += len(before.text) + len(before.answer)
            if characters > most:
                return _Anew(raw)
    return _Instead(kept, other) if other else kept


@dataclass(frozen=True)
class _Anew:
    """Rows of another view, numbered in each pass."""

    source: Rows

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Row]:
        for position, row in enumerate(self.source):
            yield row if row.key == position else replace(row, key=position)


@dataclass(frozen=True)
class _Instead:
    """Rows, with others in the place of some."""

    rows: Sequence[Row]
    other: Mapping[int, Row]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        other = self.other
        return (other.get(row.key, row) for row in self.rows)
