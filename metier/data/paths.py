"""Paths into nested cells: `table.table`, `paragraphs.text`, `answers[0].text`; and lists of records inside a row.

A column of that very name comes first. A step by name goes through every item of a list.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metier.data.records import Rejected
from metier.data.table import NestedText, RawRow, Table, cell_text, column_list, counted, missing_column, raw_row
from metier.errors import DataError

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_SAMPLE = 200
NO_RECORDS = "no records"
"""The reason of a row without a list of records."""


def cell_at(row: Mapping[str, object], path: str) -> str:
    """What lies at `path` as text; empty where nothing does."""
    return as_text(value_at(row, path))


def value_at(row: Mapping[str, object], path: str) -> Any:
    """What lies at `path`: text as it stands, nested values opened; None where it leads nowhere.

    Args:
        row: Cells by column name.
        path: A column, or a column and steps into what its cell holds.
    """
    if path in row:
        return _opened(row[path])
    for end in reversed([match.start() for match in re.finditer(r"[.\[]", path)]):
        if path[:end] in row:
            steps = [int(index) if index else name for name, index in _STEP.findall(path[end:])]
            return _walk(row[path[:end]], steps)
    return None


def as_text(value: object) -> str:
    """A nested value as text: texts of a list with a blank line between, a table as rows with ` | ` between cells."""
    if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        return "\n".join(" | ".join(as_text(cell) for cell in row) for row in value)
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return "\n\n".join(text for item in value if (text := as_text(item)).strip())
    return cell_text(value) or ""


def reaches(table: Table, path: str) -> bool:
    """Whether `path` leads to something in some of the first rows, or is a column."""
    return path in table.columns or any(value_at(row, path) is not None for row in table.rows[:_SAMPLE])


def check_path(table: Table, path: str, where: str) -> None:
    """Refuse a column or path that is not there.

    Args:
        table: A file.
        path: The column or path.
        where: The recipe's field.

    Raises:
        DataError: It leads nowhere in that file.
    """
    if reaches(table, path):
        return
    head = re.split(r"[.\[]", path, maxsplit=1)[0]
    if head == path or head not in table.columns:
        raise missing_column(where, path, table.columns, table.source.name)
    inside = _names_inside(table, head)
    wanted = f"one of {column_list(f'{head}.{name}' for name in inside)}" if inside else "a column"
    raise DataError(where, f"`{path}` leads nowhere in {table.source.name}", wanted)


def explode(table: Table, path: str) -> Table:
    """The records of a list inside each row, one a row; the row's other columns stay.

    A field that both have is the record's own; the row's is then called `row.NAME`. Records of one row
    share its other columns, so they stay together when splits are drawn.

    Args:
        table: A file.
        path: Where the list is.

    Raises:
        DataError: No row has a list there.
    """
    check_path(table, path, "data.records")
    inside = records_of(table, path)
    if not inside.rows:
        fix = "Name the list whose items are the records."
        raise DataError("data.records", f"`{path}` is no list in any row of {table.source.name}", "a list", fix)
    columns: dict[str, None] = dict.fromkeys(table.columns)
    for row in inside.rows:
        columns.update(dict.fromkeys(row))
    notice = said_of_records(inside, len(inside.rows), len(table.rows), path, shared=bool(inside.shared_rows))
    return replace(
        inside,
        rows=[{name: row.get(name) for name in columns} for row in inside.rows],
        columns=tuple(columns),
        source=replace(table.source, rows=len(inside.rows) + len(inside.broken), columns=tuple(columns)),
        notices=(*table.notices, notice),
    )


def records_of(table: Table, path: str) -> Table:
    """Some rows of a file as their records, of which there may be none; a row has the table's columns and its own.

    Args:
        table: Some rows.
        path: Where the list is.
    """
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    without: list[Rejected] = []
    for row, number in zip(table.rows, table.row_numbers, strict=True):
        items = value_at(row, path)
        if not isinstance(items, list) or not items:
            said = "holds no list at data.records" if not isinstance(items, list) else "its list of records is empty"
            without.append(
                Rejected(source=table.source.name, row=number, reason=NO_RECORDS, detail=said, content=raw_row(row))
            )
            continue
        for item in items:
            joined = _joined(row, path, item)
            rows.append({**dict.fromkeys(table.columns), **joined})
            numbers.append(number)
    shared = frozenset(number for number, count in Counter(numbers).items() if count > 1)
    broken = [*table.broken, *without]
    return replace(table, rows=rows, row_numbers=numbers, broken=broken, shared_rows=shared)


def said_of_records(table: Table, records: int, rows: int, path: str, *, shared: bool) -> str:
    """The notice about lists of records.

    Args:
        table: The file.
        records: How many there are.
        rows: Of the file.
        path: Where the lists are.
        shared: Whether a row holds several.
    """
    together = "; those of one row stay in one split" if shared else ""
    return f"{table.source.name}: {counted(records, 'record')} in {counted(rows, 'row')} (`{path}`){together}"


def _joined(row: RawRow, path: str, item: object) -> dict[str, str | None]:
    own = {name.strip(): cell_text(value) for name, value in item.items()} if isinstance(item, dict) else {}
    clashing = {f"row.{name}": row[name] for name in own if name in row and name != path}
    return {**row, **clashing, path: cell_text(item), **own}


def _opened(cell: object) -> Any:
    return json.loads(cell) if isinstance(cell, NestedText) else cell


def _walk(value: Any, steps: Sequence[str | int]) -> Any:
    if not steps:
        return value
    if isinstance(value, str):  # nested data may lie as JSON in a text table
        value = parsed(value)
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        inside = isinstance(value, list) and -len(value) <= step < len(value)
        return _walk(value[step], rest) if inside else None
    if isinstance(value, list):
        found = [_walk(item, steps) for item in value]
        return [item for item in found if item is not None] or None
    return _walk(value.get(step), rest) if isinstance(value, dict) else None


def parsed(cell: str | None) -> Any:
    """The list or object that a cell holds as JSON; None where it holds none."""
    if cell is None or not cell.lstrip().startswith(("[", "{")):
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def _names_inside(table: Table, head: str) -> list[str]:
    names: dict[str, None] = {}
    for row in table.rows[:20]:
        value = parsed(row.get(head))
        for item in value if isinstance(value, list) else [value]:
            names.update(dict.fromkeys(item if isinstance(item, dict) else ()))
    return list(names)
