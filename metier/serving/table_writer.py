"""A table of rows as a file of the format that its name says: csv, tsv, jsonl or parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metier.data.table import NestedText
from metier.errors import ArgumentError
from metier.store.files import write_bytes

Cell = str | float | None
Row = Mapping[str, Cell]


def choose_writer(path: Path) -> str:
    """The name in `WRITERS` that fits the file's name.

    Raises:
        ArgumentError: No format has that ending.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        ending = path.suffix or "no ending"
        raise ArgumentError(str(path), f"has {ending}" if not path.suffix else f"ends in {ending}",
                            ", ".join(dict.fromkeys(SUFFIXES)), "Choose another name.")  # fmt: skip
    return found


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Row], *, delimiter: str = ",") -> None:
    """Write a table whole or not at all.

    Args:
        path: Its ending decides the format.
        columns: Their order.
        rows: Cells by column; a missing cell is empty.
        delimiter: Separator of a `.csv` file; a `.tsv` file has tabs.
    """
    write_bytes(path, WRITERS[choose_writer(path)](columns, rows, delimiter))


def _csv(columns: Sequence[str], rows: Sequence[Row], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if (cell := row.get(column)) is None else cell for column in columns])
    return text.getvalue().encode("utf-8")


def _tsv(columns: Sequence[str], rows: Sequence[Row], _delimiter: str) -> bytes:
    return _csv(columns, rows, "\t")


def _jsonl(columns: Sequence[str], rows: Sequence[Row], _delimiter: str) -> bytes:
    lines = (json.dumps({column: _value(row.get(column)) for column in columns}, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _value(cell: Cell) -> object:
    """What a cell holds; a list or an object comes out as it came in."""
    return json.loads(cell) if isinstance(cell, NestedText) else cell


def _parquet(columns: Sequence[str], rows: Sequence[Row], _delimiter: str) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    arrays = {}
    for column in columns:
        cells = [row.get(column) for row in rows]
        kind = pa.float64() if any(isinstance(cell, float) for cell in cells) else pa.string()
        arrays[column] = pa.array(cells, kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer, compression="zstd")
    return buffer.getvalue()


WRITERS: dict[str, Callable[[Sequence[str], Sequence[Row], str], bytes]] = {
    "csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "parquet": _parquet,
}  # fmt: skip
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""Ending of a file's name to a row of `WRITERS`."""
