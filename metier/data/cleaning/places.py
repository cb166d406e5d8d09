"""Where every row stands, in a few bytes each, so that a doubt can name rows without their text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import SPLITS, Row
from metier.data.cleaning.words import Hashes, Positions, text_hash
from metier.data.table import listed

Numbers = NDArray[np.int32]
Splits = NDArray[np.int8]

TRAIN, VALIDATION, TEST, UNSPLIT = (SPLITS.index(name) for name in ("train", "validation", "test", "unsplit"))


@dataclass(kw_only=True)
class Places:
    """Key, split, group and file of every row, by its position among the rows: 33 bytes each.

    Filled row by row, then only read.
    """

    keys: Positions
    splits: Splits
    """Numbers of names in `SPLITS`."""
    groups: Hashes
    """Hash of the group; 0 where there is none."""
    numbers: Positions
    """Row in its file."""
    sources: Numbers
    """Number of the file in `names`."""
    names: list[str] = field(default_factory=list)
    _number: dict[str, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, count: int) -> Places:
        """Room for so many rows."""
        return cls(
            keys=np.zeros(count, np.int64),
            splits=np.zeros(count, np.int8),
            groups=np.zeros(count, np.uint64),
            numbers=np.zeros(count, np.int64),
            sources=np.zeros(count, np.int32),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def put(self, start: int, rows: Sequence[Row]) -> None:
        """Note `rows`, the first of them at position `start`."""
        some = slice(start, start + len(rows))
        self.keys[some] = [row.key for row in rows]
        self.splits[some] = [SPLITS.index(row.split) for row in rows]
        self.groups[some] = [0 if row.group is None else text_hash(row.group) for row in rows]
        self.numbers[some] = [row.row for row in rows]
        self.sources[some] = [self._number_of(row.source) for row in rows]

    def _number_of(self, source: str) -> int:
        number = self._number.setdefault(source, len(self.names))
        if number == len(self.names):
            self.names.append(source)
        return number

    def key(self, position: int) -> int:
        """The key of one row."""
        return int(self.keys[position])

    def keys_of(self, positions: Iterable[int]) -> tuple[int, ...]:
        """The keys of rows."""
        return tuple(int(self.keys[position]) for position in positions)

    def name(self, position: int) -> str:
        """One row for a sentence: `row 7 of train.csv`."""
        return f"row {int(self.numbers[position])} of {self.names[int(self.sources[position])]}"

    def names_of(self, positions: Sequence[int], limit: int = 5) -> str:
        """Rows for a sentence: `rows 7, 9 and 12 more of train.csv and row 3 of test.csv`."""
        by_source: dict[int, list[int]] = {}
        for position in positions:
            by_source.setdefault(int(self.sources[position]), []).append(int(self.numbers[position]))
        parts = [
            f"row{'s' * (len(numbers) > 1)} {listed(numbers, limit)} of {self.names[source]}"
            for source, numbers in by_source.items()
        ]
        return " and ".join(parts)

    def split(self, position: int) -> str:
        """The name of a row's split."""
        return SPLITS[int(self.splits[position])]
