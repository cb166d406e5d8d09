"""JSON and JSON Lines: a list of objects, a dict of records, a dict of columns, or an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from metier.data.decoding import Decoded, decode_text
from metier.data.records import Rejected
from metier.data.table import Content, ReadOptions, cell_text, listed
from metier.errors import DataError

_SHAPES = "a list of objects, a dict of records, or one object a line (jsonl)"


def read_json(data: bytes, options: ReadOptions) -> Content:
    """Read one JSON value that holds records.

    Args:
        data: The file's bytes.
        options: Encoding, where the recipe names it.

    Raises:
        DataError: It is no JSON, or holds no records.
    """
    decoded = decode_text(data, name=options.name, encoding=options.encoding)
    try:
        value = json.loads(decoded.text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        found = f"is not valid JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        raise DataError(options.name, found, "", "Repair it, or save it again.") from error
    except RecursionError as error:
        raise DataError(options.name, "is nested too deeply", _SHAPES) from error
    return _content(enumerate(_records(value, options.name), start=1), decoded, options)


def read_jsonl(data: bytes, options: ReadOptions) -> Content:
    """Read one JSON object a line; a line that is no object is a broken row.

    Args:
        data: The file's bytes.
        options: Encoding, where the recipe names it.
    """
    decoded = decode_text(data, name=options.name, encoding=options.encoding)
    # Not splitlines: U+2028 and its like may stand inside a JSON string.
    lines = (line for line in decoded.text.split("\n") if line.strip())
    return _content(((number, _line(line)) for number, line in enumerate(lines, start=1)), decoded, options)


class _Unreadable(str):
    """A line that is no JSON, as it was."""


def _line(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return _Unreadable(line)


def _content(items: Iterable[tuple[int, Any]], decoded: Decoded, options: ReadOptions) -> Content:
    columns: dict[str, None] = {}
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    broken: list[Rejected] = []
    for number, item in items:
        if isinstance(item, dict):
            row = {key.strip(): cell_text(value) for key, value in item.items() if key.strip()}
            columns.update(dict.fromkeys(row))
            rows.append(row)
            numbers.append(number)
            continue
        unreadable = isinstance(item, _Unreadable)
        detail = f"row {number}: {'no valid JSON' if unreadable else 'no JSON object'}"
        content = str(item) if unreadable else json.dumps(item, ensure_ascii=False)
        broken.append(Rejected(source=options.name, row=number, reason="broken row", detail=detail, content=content))
    if not rows and not broken:
        raise DataError(options.name, "holds no records", _SHAPES, "Give a file with data.")
    return Content(
        columns=tuple(columns),
        rows=[{name: row.get(name) for name in columns} for row in rows],
        row_numbers=numbers,
        broken=broken,
        encoding=decoded.encoding,
        notices=_encoding_notices(decoded, options.name),
    )


def _records(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value:
        parts = list(value.values())
        if all(isinstance(part, dict) for part in parts):
            return [{"key": key, **part} for key, part in value.items()]
        lists = [part for part in parts if isinstance(part, list)]
        if len(lists) == len(parts) and len({len(part) for part in parts}) == 1 and not isinstance(parts[0][0], dict):
            return [dict(zip(value, cells, strict=True)) for cells in zip(*parts, strict=True)]
        records = [part for part in lists if part and all(isinstance(item, dict) for item in part)]
        if len(records) == 1:
            return list(records[0])
    raise DataError(name, f"holds {_shape(value)}", _SHAPES, "Save the records in one of these forms.")


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "one object that is no table of records" if value else "an empty object"
    return "a single value"


def _no_number(_: str) -> None:
    return None  # NaN and Infinity: a missing value


def _encoding_notices(decoded: Decoded, name: str) -> tuple[str, ...]:
    if decoded.odd_lines:
        lines = listed(decoded.odd_lines)
        return (f"{name}: UTF-8 except in lines {lines}, read as Windows-1252",)
    return (f"{name}: not UTF-8; read as Windows-1252",) if decoded.encoding == "windows-1252" else ()
