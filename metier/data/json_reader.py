"""JSON and JSON Lines: a list of objects, a dict of records, a dict of columns, or an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.decoding import LONG_LINE, MOST_LINE, TextBlocks, line_blocks
from metier.data.json_text import Element, JsonText, Unreadable, no_number
from metier.data.records import Rejected
from metier.data.table import ReadOptions, cell_text, listed
from metier.errors import DataError

_SHAPES = "a list of objects, a dict of records, or one object a line (jsonl)"
_MOST_WHOLE = 2**27
"""Characters of the longest JSON that is no list: it is only understood as a whole."""
_DIFFERENT = 0.9
"""Share of the inner names that differ where these are no fields of records."""


def json_rows(
    file: BinaryIO, options: ReadOptions, facts: FileFacts, *, pairs: bool = False
) -> Iterator[ReadRow | Rejected]:
    """The records of a JSON file; a list passes item by item, anything else is read as a whole.

    Args:
        file: The file, at its start.
        options: Encoding, where the recipe names it.
        facts: Filled while reading.
        pairs: Whether one object of plain values is a table with the columns `key` and `value`: labels by id.

    Raises:
        DataError: It is no JSON, ends too early, holds no records, or is too large for its form.
    """
    blocks = TextBlocks(file, name=options.name, encoding=options.encoding)
    text = JsonText(blocks, name=options.name)
    if text.next_character() == "[":
        elements: Iterable[Element] = text.elements()
    else:
        value = _whole(text, options.name)
        elements = _numbered(_pairs(value) if pairs and _is_plain(value) else _records(value, options.name))
    yield from _rows(elements, options, facts)
    _finish(blocks, options, facts)


def jsonl_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """One JSON object a line; a line that is no object is a broken row.

    Args:
        file: The file, at its start.
        options: Encoding, where the recipe names it.
        facts: Filled while reading.

    Raises:
        DataError: It holds no records.
    """
    blocks = TextBlocks(file, name=options.name, encoding=options.encoding)
    yield from _rows(_lines(blocks), options, facts)
    _finish(blocks, options, facts)


def _lines(blocks: Iterable[str]) -> Iterator[Element]:
    decode = json.JSONDecoder(parse_constant=no_number).decode
    number = line = 0
    for block in line_blocks(blocks):
        # Not splitlines: U+2028 and its like may stand inside a JSON string.
        for text in block.removesuffix("\n").split("\n"):
            line += 1
            if not text or text.isspace():
                continue
            number += 1
            try:
                value = decode(text)
            except (ValueError, RecursionError):
                too_long = f"more than {MOST_LINE:,} characters" if text == LONG_LINE else ""
                value = Unreadable("" if too_long else text, too_long)
            yield number, line, value


def _rows(elements: Iterable[Element], options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    columns = facts.columns
    none = True
    for number, line, item in elements:
        none = False
        if isinstance(item, dict):
            row = {key.strip(): cell_text(value) for key, value in item.items() if key.strip()}
            if not row.keys() <= columns.keys():
                columns.update(dict.fromkeys(row))
            yield ReadRow(number, row)
            continue
        place = f"row {number}" if line in (0, number) else f"row {number} (line {line})"
        if isinstance(item, Unreadable):
            said, content = item.why or "no valid JSON", item.content
        else:
            said, content = "no JSON object", json.dumps(item, ensure_ascii=False)
        yield Rejected(source=options.name, row=number, reason="broken row", detail=f"{place}: {said}", content=content)
    if none:
        raise DataError(options.name, "holds no records", _SHAPES, "Give a file with data.")


def _numbered(records: Iterable[Any]) -> Iterator[Element]:
    return ((number, 0, value) for number, value in enumerate(records, start=1))


def _whole(text: JsonText, name: str) -> Any:
    whole = text.rest(_MOST_WHOLE)
    if whole is None:
        found = f"is one JSON value of more than {_MOST_WHOLE:,} characters that is no list"
        raise DataError(name, found, _SHAPES, "Save it as jsonl: one object a line.")
    try:
        return json.loads(whole, parse_constant=no_number)
    except json.JSONDecodeError as error:
        found = f"is not valid JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        raise DataError(name, found, "", "Repair it, or save it again.") from error
    except RecursionError as error:
        raise DataError(name, "is nested too deeply", _SHAPES) from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(name, "holds a number that is too long to be read", "", "Repair it.") from error


def _records(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict) and value:
        parts = list(value.values())
        if all(isinstance(part, dict) for part in parts):
            return _listed_texts(value) or [{"key": key, **part} for key, part in value.items()]
        lists = [part for part in parts if isinstance(part, list)]
        even = len(lists) == len(parts) and len({len(part) for part in parts}) == 1
        if even and not (parts[0] and isinstance(parts[0][0], dict)):
            return [dict(zip(value, cells, strict=True)) for cells in zip(*parts, strict=True)]
        records = [part for part in lists if part and all(isinstance(item, dict) for item in part)]
        if len(records) == 1:
            return list(records[0])
    raise DataError(name, f"holds {_shape(value)}", _SHAPES, "Save the records in one of these forms.")


def _listed_texts(value: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """A row a text, where texts stand in lists under two names each (`{group: {page: [text, …]}}`); else nothing.

    Records have fields in common; where hardly a name comes twice, the names are no fields.
    """
    names = [name for part in value.values() for name in part]
    if len(value) < 2 or len(set(names)) < _DIFFERENT * len(names) or not names:
        return []
    lists = [texts for part in value.values() for texts in part.values()]
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists):
        return []
    return [
        {"key": key, "name": name, "text": text}
        for key, part in value.items()
        for name, texts in part.items()
        for text in texts
    ]


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not any(isinstance(one, dict | list) for one in value.values())


def _pairs(value: dict[str, Any]) -> list[Any]:
    return [{"key": key, "value": one} for key, one in value.items()]


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "one object that is no table of records" if value else "an empty object"
    return "a single value"


def _finish(blocks: TextBlocks, options: ReadOptions, facts: FileFacts) -> None:
    facts.encoding = blocks.encoding
    if blocks.odd_lines:
        lines = listed(blocks.odd_lines)
        facts.notices.append(f"{options.name}: UTF-8 except in lines {lines}, read as Windows-1252")
    elif blocks.encoding == "windows-1252":
        facts.notices.append(f"{options.name}: not UTF-8; read as Windows-1252")
