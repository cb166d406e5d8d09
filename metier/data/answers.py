"""Answers in a second file: line by line beside the inputs, or by an id that both files have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from metier.data.batches import Batch
from metier.data.data_file import Beside
from metier.data.data_source import one_source
from metier.data.formats import data_suffix
from metier.data.joining import Join, Labels, join_labels, read_labels
from metier.data.records import Rejected
from metier.data.stream import HowToRead, RowStream, stream_rows
from metier.data.table import counted
from metier.errors import DataError
from metier.recipe.sections import DataSection

ANSWER = "answer"
"""Column that lines of answers become."""


def answers_beside(path: Path, source: str, section: DataSection) -> Callable[[], Beside]:
    """What a file of inputs gets from a file of answers; called once for every time the inputs are gone through.

    A file whose name ends like a table (csv, jsonl, parquet, …) is joined by id, any other line by line.

    Args:
        path: The file of answers.
        source: Name of the inputs' file in messages.
        section: `answers_id`, `encoding`.

    Raises:
        DataError: (of what is returned, while going through) The two do not belong together.
    """
    if section.answers_id is None and not data_suffix(path):
        return lambda: _Lines(path, source, section.encoding).beside()
    joined = _Joined(path, source, section)
    return joined.beside


class _Lines:
    """Each line of one file is the answer to the row of the same number in the other."""

    def __init__(self, path: Path, source: str, encoding: str | None) -> None:
        self._path, self._source = path, source
        self._stream = stream_rows(one_source(path), HowToRead(format="lines", encoding=encoding))
        self._name = ANSWER

    def beside(self) -> Beside:
        said = f"{self._source}: answers are the lines of {self._path.name}"
        return Beside(
            mend=self._mended,
            notices=lambda: (f"{said} (`{self._name}`)",),
            sources=lambda: (self._stream.summary().source,),
        )

    def _mended(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        lines, last, rows = self._lines(), 0, 0
        named = False
        batches = iter(batches)
        for batch in batches:
            rows += len(batch)
            if not named:
                while any(self._name in row for row in batch.rows):
                    self._name += "_"
                named = True
            wanted, found = iter(batch.row_numbers), dict[int, str | None]()
            for number in wanted:
                while last < number:
                    last, text = next(lines, (-1, None))
                    if last < 0:
                        self._refuse(rows + sum(len(rest) for rest in batches))
                    if last == number:
                        found[number] = text
            yield Batch(
                rows=[
                    {**row, self._name: found.get(number)}
                    for row, number in zip(batch.rows, batch.row_numbers, strict=True)
                ],
                row_numbers=batch.row_numbers, broken=batch.broken, repaired=batch.repaired,
            )  # fmt: skip
        if self._count() != rows:
            self._refuse(rows)

    def _lines(self) -> Iterator[tuple[int, str | None]]:
        for batch in self._stream:
            for row, number in zip(batch.rows, batch.row_numbers, strict=True):
                yield number, row["text"]

    def _count(self) -> int:
        return sum(len(batch) for batch in self._stream)

    def _refuse(self, rows: int) -> None:
        found = f"has {counted(self._count(), 'line')}, and {self._source} has {counted(rows, 'row')}"
        raise DataError(self._path.name, found, "one answer a row", "Give the two files that belong together.")


class _Joined:
    """The rows of one file joined to those of another by an id."""

    def __init__(self, path: Path, source: str, section: DataSection) -> None:
        self._source, self._on = source, section.answers_id
        self._stream: RowStream = stream_rows(one_source(path), HowToRead(encoding=section.encoding, pairs=True))
        self._labels: Labels | None = None
        self._join: Join | None = None

    def beside(self) -> Beside:
        self._join = None
        return Beside(
            mend=self._mended,
            left_over=self._left_over,
            notices=self._notices,
            sources=lambda: (self._stream.summary().source,),
        )

    def _mended(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        batches = iter(batches)
        first = next(batches, None)
        if first is None:
            return
        columns = tuple(dict.fromkeys(column for row in first.rows for column in row))
        if self._labels is None:
            self._labels = read_labels(self._stream, columns, on=self._on)
        self._join = join_labels(self._labels, columns, source=self._source)
        yield from self._join.rows(_chained(first, batches))
        if not self._join.joined:
            found = f"shares no value of `{self._labels.on}` with {self._source}"
            raise DataError(self._labels.source, found, "", "Give the two files that belong together.")

    def _left_over(self) -> list[Rejected]:
        return self._join.left_over() if self._join is not None else []

    def _notices(self) -> tuple[str, ...]:
        return (*self._stream.summary().notices, *self._join.notices()) if self._join is not None else ()


def _chained(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest
