"""A file as rows of text: what every reader gives, whatever the format was.

Cells are strings or None, so that a label `1` is the same label in a workbook, a table and JSON.
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from metier.data.card import SourceFile
from metier.data.records import Rejected
from metier.errors import DataError

RawRow = Mapping[str, str | None]
MOST_COLUMNS = 20
"""Column names that a message lists before it says how many more there are."""


class NestedText(str):
    """A cell that holds a list or an object, as JSON; a text that merely looks like JSON is a plain `str`."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the recipe wants a file read; None means: found by itself."""

    name: str
    """Name of the file in messages and records."""
    suffix: str = ""
    """Ending of the file's name, lower case."""
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """One file, read: rows that could be read, and those that could not."""

    rows: list[dict[str, str | None]]
    row_numbers: list[int]
    """Number of each row in the file, 1-based, header not counted."""
    columns: tuple[str, ...]
    broken: list[Rejected]
    source: SourceFile
    notices: tuple[str, ...] = ()
    repaired: Mapping[int, str] = field(default_factory=dict)
    """Row number to what was repaired in it."""
    shared_rows: frozenset[int] = frozenset()
    """Numbers of rows that hold several records: they share what else is in the row, so they belong together."""


def cell_text(value: object) -> str | None:
    """A cell of a typed format as text: whole floats without `.0`, dates in ISO form, nested values as JSON."""
    if value is None or isinstance(value, str):
        return value if value is None else _without_lone_surrogates(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict | list):
        return NestedText(_without_lone_surrogates(json.dumps(value, ensure_ascii=False, default=str)))
    return str(value)


def raw_row(row: RawRow) -> str:
    """A row as one line of JSON, for `rejected.jsonl`."""
    return json.dumps(row, ensure_ascii=False)


def name_columns(cells: Sequence[str | None], name: str) -> tuple[list[str | None], list[str]]:
    """Column names of a header row, None for columns to ignore, and what should be said about them.

    Args:
        cells: The header's cells.
        name: The file, for messages.

    Returns:
        One name or None for each cell, and notices.

    Raises:
        DataError: No column has a name.
    """
    names: list[str | None] = []
    notices: list[str] = []
    unnamed = 0
    for cell in cells:
        wanted = (cell or "").strip().lstrip("\ufeff")
        if not wanted or wanted.startswith("Unnamed: "):  # what pandas calls an index column
            unnamed += 1
            names.append(None)
            continue
        unique, count = wanted, 1
        while unique in names:
            count += 1
            unique = f"{wanted}_{count}"
        if unique != wanted:
            notices.append(f"{name}: two columns are called `{wanted}`; the later one is read as `{unique}`")
        names.append(unique)
    if not any(names):
        raise DataError(name, "has no column names in its first row", "a header", "Add a first row with column names.")
    if unnamed:
        notices.append(f"{name}: {unnamed} column{'s' * (unnamed > 1)} without a name ignored")
    return names, notices


def as_row(names: Iterable[str | None], cells: Iterable[str | None]) -> dict[str, str | None]:
    """A row by column name; ignored columns left out."""
    return {name: cell for name, cell in zip(names, cells, strict=True) if name is not None}


def missing_column(where: str, name: str, columns: Sequence[str], file: str = "") -> DataError:
    """The error for a column that is not there: the nearest name, and those there are.

    Args:
        where: The recipe's field, or the place that needs the column.
        name: The column wanted.
        columns: The columns there are.
        file: The file, where there is one.
    """
    lowered = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    fix = f"Did you mean `{lowered[near[0]]}`?" if near else ""
    there = column_list(columns) or "none"
    return DataError(where, f"there is no column `{name}`{f' in {file}' if file else ''}", f"one of {there}", fix)


def column_list(columns: Iterable[str]) -> str:
    """Column names for a message, at most twenty; long ones cut, as a file without a header has text there."""
    names = [f"`{name if len(name) <= 60 else name[:40] + '…'}`" for name in columns]
    more = f" and {len(names) - MOST_COLUMNS:,} more" if len(names) > MOST_COLUMNS else ""
    return f"{', '.join(names[:MOST_COLUMNS])}{more}"


def counted(count: int, noun: str) -> str:
    """A number and its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def rows_at(numbers: Sequence[int]) -> str:
    """Where rows are, for a message: `row 7`, `rows 7, 9 and 12 more`."""
    return f"row{'s' * (len(numbers) != 1)} {listed(numbers)}"


def listed(numbers: Sequence[int], limit: int = 10) -> str:
    """Row numbers for a message: the first few, then how many more."""
    shown = ", ".join(str(number) for number in numbers[:limit])
    return f"{shown} and {len(numbers) - limit} more" if len(numbers) > limit else shown


def _without_lone_surrogates(text: str) -> str:
    # JSON may hold half of a surrogate pair, which no UTF-8 file can.
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
