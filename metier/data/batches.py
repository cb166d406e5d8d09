"""What a reader gives while it reads a file: rows one by one, broken ones in their place, and what it learnt of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from metier.data.records import Rejected
from metier.data.table import ReadOptions


class ReadRow(NamedTuple):
    """A row that could be read."""

    number: int
    """Its number in the file, 1-based, header not counted, broken rows counted."""
    cells: dict[str, str | None]
    """Cells by column; a column that is not there has no cell in this row."""
    repair: str = ""
    """What was repaired in it; empty: nothing."""


@dataclass(kw_only=True)
class FileFacts:
    """What is learnt of a file while it is read; whole when the last row has been read."""

    columns: dict[str, None] = field(default_factory=dict)
    """Names in the order in which they were met."""
    encoding: str | None = None
    delimiter: str | None = None
    notices: list[str] = field(default_factory=list)


RowReader = Callable[[BinaryIO, ReadOptions, FileFacts], Iterator[ReadRow | Rejected]]
"""Reads a file from its start, in bounded memory where its format allows that."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a file that follow on each other."""

    rows: list[dict[str, str | None]]
    """Cells by column; a column that is not there has no cell in this row."""
    row_numbers: list[int]
    """Number of each row in the file, 1-based, header not counted."""
    broken: list[Rejected]
    """Rows between them that could not be read."""
    repaired: dict[int, str]
    """Row number to what was repaired in it."""

    def __len__(self) -> int:
        """Rows, broken ones included."""
        return len(self.rows) + len(self.broken)


def in_batches(items: Iterator[ReadRow | Rejected], *, rows: int, characters: int) -> Iterator[Batch]:
    """Rows in batches; a batch is never empty.

    Args:
        items: What a reader gives.
        rows: At most so many rows a batch.
        characters: A batch ends with the row that brings it to so many characters.
    """
    batch, size = _empty(), 0
    for item in items:
        if isinstance(item, ReadRow):
            batch.rows.append(item.cells)
            batch.row_numbers.append(item.number)
            if item.repair:
                batch.repaired[item.number] = item.repair
            size += sum(map(len, filter(None, item.cells.values())))
        else:
            batch.broken.append(item)
            size += len(item.content)
        if len(batch) >= rows or size >= characters:
            yield batch
            batch, size = _empty(), 0
    if len(batch):
        yield batch


def _empty() -> Batch:
    return Batch(rows=[], row_numbers=[], broken=[], repaired={})
