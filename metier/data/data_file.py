"""One file of a split: its rows in pieces, as often as wanted, and enough of them at once to tell what its columns are.

A file of up to 20,000 rows is kept whole. Of a longer one every n-th row is (a file may be sorted by label, so its
first rows say little), and its pieces are read again from disk: memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from metier.data.batches import Batch
from metier.data.card import SourceFile
from metier.data.data_source import Watch
from metier.data.paths import explode, records_of, said_of_records
from metier.data.records import Rejected
from metier.data.stream import RowStream
from metier.data.table import Table

KEPT_ROWS = 20_000
"""Rows of a file that are kept at once: all of a shorter file, a sample of a longer one."""
KEPT_CHARACTERS = 2**25
"""Characters of a file that are kept at once."""

Mended = Callable[[Iterable[Batch]], Iterator[Batch]]
"""What is done to the batches of a file before anything else: answers joined, columns renamed."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a file gets beside its own rows."""

    mend: Mended
    left_over: Callable[[], list[Rejected]] = list
    """Rows of another file that belong to none of its rows; right after the last batch."""
    notices: Callable[[], tuple[str, ...]] = tuple
    """What was done, in sentences; right after the last batch."""
    sources: Callable[[], tuple[SourceFile, ...]] = tuple
    """The files that were read for it; right after the last batch."""


def nothing_beside() -> Beside:
    """A file by itself."""
    return Beside(mend=iter)


class DataFile:
    """One file of a split."""

    def __init__(self, stream: Callable[[Watch | None], RowStream], beside: Callable[[], Beside]) -> None:
        """Go through the file once.

        Args:
            stream: Opens it.
            beside: What it gets; asked for anew whenever the file is gone through.

        Raises:
            DataError: The file cannot be read, holds no table, or only a header.
        """
        self._open, self._beside = stream, beside
        self._records: str | None = None
        self.table, self.whole = self._kept()
        self._source = self.table.source
        self._notices = self.table.notices

    @property
    def answers(self) -> tuple[SourceFile, ...]:
        """The files of answers that go with it."""
        return self._answers

    @property
    def source(self) -> SourceFile:
        """What is known of the file; its number of rows is right after its pieces were gone through."""
        return self._source

    @property
    def notices(self) -> tuple[str, ...]:
        """What should be said of it; whole after its pieces were gone through."""
        return self._notices

    def take_out(self, path: str) -> None:
        """From now on its rows are the records of a list inside each row.

        Args:
            path: Where the list is.

        Raises:
            DataError: No row that is kept has a list there.
        """
        self._records = path
        self.table = explode(self.table, path)
        self._source, self._notices = self.table.source, self.table.notices

    def pieces(self, watch: Watch | None = None) -> Iterator[Table]:
        """All rows, in order, a piece at a time, each with every column.

        Args:
            watch: Is told the bytes read of the file on disk, and how many it has.

        Raises:
            DataError: As when the file was first gone through.
        """
        if self.whole:
            yield self.table
            return
        stream, beside = self._open(watch), self._beside()
        rows = lists = records = 0
        shared = False
        for batch in beside.mend(stream):
            piece = self._piece(batch)
            if self._records is not None:
                lists += len(piece.rows)
                piece = records_of(piece, self._records)
                records, shared = records + len(piece.rows), shared or bool(piece.shared_rows)
            rows += len(piece.rows) + len(piece.broken)
            yield piece
        left_over = beside.left_over()
        if left_over:
            yield replace(self.table, rows=[], row_numbers=[], broken=left_over, repaired={}, shared_rows=frozenset())
        summary = stream.summary()
        said = [*summary.notices, *beside.notices()]
        if self._records is not None:
            said.append(said_of_records(self.table, records, lists, self._records, shared=shared))
        self._source = replace(summary.source, columns=self.table.columns, rows=rows + len(left_over))
        self._notices = tuple(said)

    def _piece(self, batch: Batch) -> Table:
        """A batch as a table with the columns of the file, and those that only it has behind them."""
        columns = self._own_columns
        return replace(
            self.table,
            rows=[_filled(row, columns) for row in batch.rows],
            row_numbers=batch.row_numbers,
            broken=batch.broken,
            repaired=batch.repaired,
            shared_rows=frozenset(),
        )

    def _kept(self) -> tuple[Table, bool]:
        """All rows or a sample of them, and which of the two it is."""
        stream, beside = self._open(None), self._beside()
        sample = _Sample()
        columns: dict[str, None] = {}
        for batch in beside.mend(stream):
            for row in batch.rows:
                columns.update(dict.fromkeys(row))
            sample.add(batch)
        left_over = beside.left_over()
        summary = stream.summary()
        self._answers = beside.sources()
        own = summary.source.columns
        self._own_columns = (*own, *(name for name in columns if name not in set(own)))
        table = Table(
            rows=[_filled(row, self._own_columns) for row in sample.rows],
            row_numbers=sample.numbers,
            columns=self._own_columns,
            broken=[*sample.broken, *left_over],
            source=replace(summary.source, columns=self._own_columns),
            notices=(*summary.notices, *beside.notices()),
            repaired=sample.repaired,
        )
        return table, sample.step == 1


class _Sample:
    """All rows while they are few, then every second, fourth, eighth … of them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str | None]] = []
        self.numbers: list[int] = []
        self.broken: list[Rejected] = []
        self.repaired: dict[int, str] = {}
        self.step = 1
        self._seen = 0
        self._characters = 0

    def add(self, batch: Batch) -> None:
        for row, number in zip(batch.rows, batch.row_numbers, strict=True):
            if self._seen % self.step == 0:
                self.rows.append(row)
                self.numbers.append(number)
                self._characters += _size(row)
            self._seen += 1
        if self.step == 1:
            self.broken += batch.broken
            self.repaired.update(batch.repaired)
            self._characters += sum(len(row.content) for row in batch.broken)
        while len(self.rows) + len(self.broken) > KEPT_ROWS or self._characters > KEPT_CHARACTERS:
            if len(self.rows) < 2 and not self.broken:
                break
            self._halve()

    def _halve(self) -> None:
        """Keep every second row; broken ones come again with the pieces."""
        self.step *= 2
        self.rows, self.numbers = self.rows[::2], self.numbers[::2]
        self.broken, self.repaired = [], {}
        self._characters = sum(map(_size, self.rows))


def _size(row: dict[str, str | None]) -> int:
    return sum(map(len, filter(None, row.values())))


def _filled(row: dict[str, str | None], columns: tuple[str, ...]) -> dict[str, str | None]:
    """The row with a cell for every column, in their order."""
    return row if tuple(row) == columns else {column: row.get(column) for column in columns}
