"""One file in, one `Table` out, whatever the format: found by content, not by the file's name."""

from __future__ import annotations

from pathlib import Path

from metier.data.data_source import one_source
from metier.data.formats import SUFFIXES, data_stem, data_suffix
from metier.data.stream import READERS, HowToRead, stream_rows
from metier.data.table import Table

__all__ = ["READERS", "SUFFIXES", "data_stem", "data_suffix", "read_table"]


def read_table(
    path: Path,
    *,
    format: str = "auto",
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    name: str | None = None,
    records: str | None = None,
) -> Table:
    """Read one file into memory; broken rows are kept apart with their row number.

    Args:
        path: The file; one in a zip archive as `archive.zip/name.csv`.
        format: A name in `READERS`, `xml`, or `auto`: by content.
        delimiter: Column separator of a text table. None: found by itself.
        encoding: Text encoding. None: found by itself.
        sheet: Sheet of a workbook. None: the only one with rows, or all that have the same columns.
        name: What messages and records call the file. None: its own name.
        records: Path of the repeated element of an XML file.

    Raises:
        DataError: It is missing, empty, holds no table, or only a header.
    """
    how = HowToRead(format=format, delimiter=delimiter, encoding=encoding, sheet=sheet, records=records)
    stream = stream_rows(one_source(path, name=name), how)
    batches = list(stream)
    summary = stream.summary()
    columns = summary.source.columns
    return Table(
        rows=[_whole(row, columns) for batch in batches for row in batch.rows],
        row_numbers=[number for batch in batches for number in batch.row_numbers],
        columns=columns,
        broken=[row for batch in batches for row in batch.broken],
        source=summary.source,
        notices=summary.notices,
        repaired={number: repair for batch in batches for number, repair in batch.repaired.items()},
    )


def _whole(row: dict[str, str | None], columns: tuple[str, ...]) -> dict[str, str | None]:
    """The row with a cell for every column, in their order."""
    return row if tuple(row) == columns else {column: row.get(column) for column in columns}
