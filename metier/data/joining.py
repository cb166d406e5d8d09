"""Labels or answers in a second file, joined to the inputs by an id that both have.

Nothing is guessed and nothing vanishes: an input whose id is missing, unknown or not unique is a rejected row with
that reason, and so is a label that no input asks for. Ids are compared as text, white space around them left out.

The labels are held in memory, some 200 bytes a row beside their texts (equal texts once); the inputs pass by.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.data.batches import Batch
from metier.data.records import Rejected
from metier.data.stream import RowStream
from metier.data.table import column_list, counted, missing_column, raw_row
from metier.errors import DataError

ID_NAMES = ("id", "uid", "uuid", "guid", "key", "row_id", "doc_id", "document_id", "example_id", "sample_id",
            "record_id", "pmid", "qid", "name", "file", "filename")  # fmt: skip
"""What ids are usually called, in lower case; tried in this order where two files share several columns."""
NO_ID = "no id"
NO_LABEL = "no label"
DOUBLE_ID = "double id"
NO_INPUT = "no input"
"""The reasons of rejected rows."""


@dataclass(kw_only=True)
class Labels:
    """The rows of the second file, by id."""

    source: str
    """Name of the file in messages."""
    on: str
    """The column that both files have."""
    columns: tuple[str, ...]
    """The other columns of the second file."""
    numbers: array[int] = field(default_factory=lambda: array("Q"))
    """Number in its file of each row that was kept, the first of an id."""
    rejected: list[Rejected] = field(default_factory=list)
    """Rows that could not be read, or have no id."""
    repeated: int = 0
    """Rows that say the same as an earlier one of their id."""
    _places: dict[str, int] = field(default_factory=dict)
    _cells: list[tuple[str | None, ...]] = field(default_factory=list)
    _torn: dict[str, int] = field(default_factory=dict)
    """Ids whose rows differ -> the number of the second."""
    _texts: dict[str, str] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Take in rows of the second file."""
        self.rejected += batch.broken
        for row, number in zip(batch.rows, batch.row_numbers, strict=True):
            key = _key(row.get(self.on))
            if not key:
                detail = f"row {number}: column `{self.on}` is empty"
                self.rejected.append(_rejected(self.source, number, NO_ID, detail, row))
                continue
            cells = tuple(self._once(row.get(column)) for column in self.columns)
            place = self._places.setdefault(key, len(self._cells))
            if place == len(self._cells):
                self._cells.append(cells)
                self.numbers.append(number)
            elif cells == self._cells[place]:
                self.repeated += 1
            else:
                self._torn.setdefault(key, number)

    def find(self, key: str) -> tuple[int, tuple[str | None, ...]] | None:
        """The place and the cells of an id; None: it is not there."""
        place = self._places.get(key)
        return None if place is None else (place, self._cells[place])

    def torn(self, key: str) -> tuple[int, int] | None:
        """The numbers of two rows of an id that differ; None: there are none."""
        second = self._torn.get(key)
        return None if second is None else (self.numbers[self._places[key]], second)

    def _once(self, cell: str | None) -> str | None:
        """The cell, the same object for equal labels, which are few."""
        return cell if cell is None or len(cell) > 100 else self._texts.setdefault(cell, cell)


@dataclass(kw_only=True)
class Join:
    """Inputs with their labels, batch by batch; `left_over` and `notices` are right after the last batch."""

    labels: Labels
    source: str
    """Name of the inputs' file in messages."""
    columns: dict[str, str]
    """Column of the labels -> its name beside the inputs' own."""
    _used: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the input that took each label; 0: none did."""
    joined: int = 0

    def rows(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The inputs with the labels' columns; those that have no label of their own are broken rows.

        Args:
            batches: The inputs.
        """
        self._used = array("Q", bytes(8 * len(self.labels.numbers)))
        for batch in batches:
            joined = Batch(rows=[], row_numbers=[], broken=list(batch.broken), repaired=batch.repaired)
            for row, number in zip(batch.rows, batch.row_numbers, strict=True):
                found = self._cells(row, number)
                if isinstance(found, Rejected):
                    joined.broken.append(found)
                    continue
                joined.rows.append({**row, **dict(zip(self.columns.values(), found, strict=True))})
                joined.row_numbers.append(number)
            self.joined += len(joined.rows)
            yield joined

    def left_over(self) -> list[Rejected]:
        """Rows of the second file that no input asked for, or that could not be used, by number."""
        unused = [
            Rejected(source=self.labels.source, row=number, reason=NO_INPUT,
                     detail=f"row {number}: no row of {self.source} has its id")
            for number, used in zip(self.labels.numbers, self._used, strict=True) if not used
        ]  # fmt: skip
        return sorted([*self.labels.rejected, *unused], key=lambda row: row.row)

    def notices(self) -> tuple[str, ...]:
        """What was joined, in sentences."""
        labels = self.labels
        names = column_list(self.columns.values())
        said = [f"{self.source}: {counted(self.joined, 'row')} joined with {labels.source} by `{labels.on}` ({names})"]
        if labels.repeated:
            said.append(f"{labels.source}: {counted(labels.repeated, 'row')} repeating an earlier one of the same id")
        return tuple(said)

    def _cells(self, row: dict[str, str | None], number: int) -> tuple[str | None, ...] | Rejected:
        labels = self.labels
        key = _key(row.get(labels.on))
        if not key:
            return _rejected(self.source, number, NO_ID, f"row {number}: column `{labels.on}` is empty", row)
        found = labels.find(key)
        if found is None:
            detail = f"row {number}: no row of {labels.source} has its id"
            return _rejected(self.source, number, NO_LABEL, detail, row)
        place, cells = found
        torn = labels.torn(key)
        if torn is not None:
            self._used[place] = self._used[place] or number
            detail = f"row {number}: rows {torn[0]} and {torn[1]} of {labels.source} have its id and differ"
            return _rejected(self.source, number, DOUBLE_ID, detail, row)
        if self._used[place]:
            detail = f"row {number}: row {self._used[place]} has the same id"
            return _rejected(self.source, number, DOUBLE_ID, detail, row)
        self._used[place] = number
        return cells


def read_labels(stream: RowStream, inputs: Sequence[str], *, on: str | None = None) -> Labels:
    """Read the second file.

    Args:
        stream: The second file.
        inputs: The columns of the inputs.
        on: The column that both have. None: the only one, or the first of `ID_NAMES`, that both have.

    Raises:
        DataError: The files do not share that column, or it cannot be told, or the file cannot be read.
    """
    labels: Labels | None = None
    for batch in stream:
        # Formats without a header (jsonl) show their columns row by row: those of the first batch count.
        if labels is None:
            columns = tuple(dict.fromkeys(column for row in batch.rows for column in row))
            if not columns and batch.broken:
                continue
            key = _shared(columns, inputs, on, stream.source.name)
            rest = tuple(column for column in columns if column != key)
            if not rest:
                raise DataError(stream.source.name, f"has no column beside `{key}`", "one of labels or answers")
            labels = Labels(source=stream.source.name, on=key, columns=rest)
        labels.add(batch)
    if labels is None:
        raise DataError(stream.source.name, "has no row that can be read", "ids and labels")
    return labels


def join_labels(labels: Labels, inputs: Sequence[str], *, source: str) -> Join:
    """A join of inputs with labels; a column of the labels that the inputs also have gets `_2` behind its name.

    Args:
        labels: The second file.
        inputs: The columns of the inputs.
        source: The inputs' file, for messages.
    """
    names: dict[str, str] = {}
    for column in labels.columns:
        name, count = column, 1
        while name in inputs or name in names.values():
            count += 1
            name = f"{column}_{count}"
        names[column] = name
    return Join(labels=labels, source=source, columns=names)


def _shared(columns: Sequence[str], inputs: Sequence[str], on: str | None, file: str) -> str:
    if on is not None:
        for there, where in ((columns, file), (inputs, "the inputs")):
            if on not in there:
                raise missing_column("data.answers_id", on, there, where)
        return on
    both = [column for column in columns if column in inputs]
    if not both:
        found = f"shares no column with the inputs ({column_list(columns)} and {column_list(inputs)})"
        raise DataError(file, found, "a column of ids with the same name", "Rename one, or give answers line by line.")
    usual = sorted(
        (column for column in both if column.lower() in ID_NAMES), key=lambda one: ID_NAMES.index(one.lower())
    )
    if len(both) > 1 and not usual:
        raise DataError(file, f"shares {column_list(both)} with the inputs", "one", "Name it as data.answers_id.")
    return usual[0] if usual else both[0]


def _key(cell: str | None) -> str:
    return (cell or "").strip()


def _rejected(source: str, number: int, reason: str, detail: str, row: dict[str, Any]) -> Rejected:
    return Rejected(source=source, row=number, reason=reason, detail=detail, content=raw_row(row))
