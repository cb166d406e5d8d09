"""Parquet and Arrow files, batch by batch."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.records import Rejected
from metier.data.table import ReadOptions, as_row, cell_text, name_columns
from metier.errors import DataError

_BATCH = 1000
ARROW = b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""How files of Arrow begin."""


def parquet_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """The rows of a Parquet file; one with a cell that Python cannot hold (a date of the year 200,000) is broken.

    Args:
        file: The file; reading jumps in it.
        options: The file's name, for messages.
        facts: Filled while reading.

    Raises:
        DataError: It is damaged.
    """
    return _rows(_parquet_batches, file, options, facts)


def arrow_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """The rows of an Arrow file, or of an Arrow stream as the package `datasets` writes it.

    Args:
        file: The file; reading jumps in it.
        options: The file's name, for messages.
        facts: Filled while reading.

    Raises:
        DataError: It is damaged.
    """
    return _rows(_arrow_batches, file, options, facts)


def _rows(
    batches: Callable[[Any, list[str]], Iterator[Any]], file: BinaryIO, options: ReadOptions, facts: FileFacts
) -> Iterator[ReadRow | Rejected]:
    header: list[str] = []
    names: list[str | None] = []
    number = 0
    for batch in _readable(batches(_plain(file), header), options.name):
        if not names:
            names, notices = name_columns(header, options.name)
            facts.columns.update((name, None) for name in names if name is not None)
            facts.notices += notices
        columns, faults = _cells(batch)
        for place in range(batch.num_rows):
            number += 1
            if place not in faults:
                yield ReadRow(number, as_row(names, [column[place] for column in columns]))
                continue
            detail = f"row {number}: a value of column {faults[place] + 1} cannot be read"
            yield Rejected(source=options.name, row=number, reason="broken row", detail=detail)


def _plain(file: BinaryIO) -> Any:
    return io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file


def _parquet_batches(file: Any, header: list[str]) -> Iterator[Any]:
    """Record batches, `header` filled before the first; one without rows, so that there always is a first."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    # Not `pre_buffer`: it would fetch row groups ahead, whatever their size.
    source = pq.ParquetFile(file, pre_buffer=False)
    header += source.schema_arrow.names
    yield source.schema_arrow.empty_table().combine_chunks()
    yield from source.iter_batches(batch_size=_BATCH)


def _arrow_batches(file: Any, header: list[str]) -> Iterator[Any]:
    """The same of an Arrow file."""
    import pyarrow as pa

    is_file = file.read(len(ARROW)) == ARROW
    file.seek(0)
    source = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
    header += source.schema.names
    yield source.schema.empty_table().combine_chunks()
    batches = (source.get_batch(number) for number in range(source.num_record_batches)) if is_file else source
    for batch in batches:
        batch.validate(full=True)  # offsets that point out of the file would be followed
        for start in range(0, batch.num_rows, _BATCH):
            yield batch.slice(start, _BATCH)


def _readable(batches: Iterator[Any], name: str) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from batches
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(name, "is no readable Parquet or Arrow file", "", "Save it again.") from error


def _cells(batch: Any) -> tuple[list[list[str | None]], dict[int, int]]:
    """Columns of cells as text, and the places of the rows with a value that cannot be read -> its column."""
    columns: list[list[str | None]] = []
    faults: dict[int, int] = {}
    for index, column in enumerate(batch.columns):
        try:
            columns.append([cell_text(value) for value in column.to_pylist()])
        except (ValueError, OverflowError):  # bytes that are no UTF-8, a date beyond Python's
            cells: list[str | None] = []
            for place in range(len(column)):
                try:
                    cells.append(cell_text(column[place].as_py()))
                except (ValueError, OverflowError):
                    cells.append(None)
                    faults.setdefault(place, index)
            columns.append(cells)
    return columns, faults
