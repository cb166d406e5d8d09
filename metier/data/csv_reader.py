r"""Text tables (csv, tsv, semicolons): RFC 4180 read exactly, and one broken row never takes its neighbours along.

Not Python's `csv` module: it cannot say where a quote went wrong, so an unclosed quote swallows rows
until the next one. Here a record that does not parse is given up line by line, and reading goes on
behind it. A valid file gives what `csv.reader` gives; a test holds that.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from metier.data.decoding import Decoded, decode_text
from metier.data.records import Rejected
from metier.data.table import Content, ReadOptions, as_row, counted, name_columns, rows_at
from metier.errors import DataError

DELIMITERS = (",", "\t", ";", "|")
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
# Possessive: a closing quote is never given back, so a doubled one cannot be taken for it.
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_OPEN = "a quote that is never closed"
_INNER = "a quote inside a quoted field that is not doubled"
_SNIFFED_ROWS = 200


@dataclass(frozen=True)
class _Scan:
    """One record: its fields, where the next one starts, and what was wrong with its quotes."""

    fields: list[str]
    end: int
    fault: str = ""
    stray: bool = False
    """A quote inside an unquoted field: legal, but no sign of a clean line."""


@dataclass
class _Reading:
    """What has been read so far."""

    name: str
    names: list[str | None]
    header: list[str]
    rows: list[dict[str, str | None]] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """Physical line where each record starts, broken ones included."""
    broken: list[Rejected] = field(default_factory=list)
    repaired: dict[int, str] = field(default_factory=dict)
    long: list[int] = field(default_factory=list)
    """Rows that may have swallowed others."""

    def accept(self, fields: list[str], repair: str = "") -> None:
        """Keep a record; its line was noted before."""
        number = len(self.lines)
        self.rows.append(as_row(self.names, fields))
        self.row_numbers.append(number)
        if repair:
            self.repaired[number] = repair

    def reject(self, detail: str, content: str) -> None:
        """Give up a record, and say where it is."""
        where = f"line {self.lines[-1]}: {detail}"
        row = Rejected(source=self.name, row=len(self.lines), reason="broken row", detail=where, content=content)
        self.broken.append(row)


def read_csv(data: bytes, options: ReadOptions) -> Content:
    """Read a text table with a header row.

    Args:
        data: The file's bytes.
        options: Delimiter and encoding, where the recipe names them.

    Raises:
        DataError: It is empty, or its header cannot be read.
    """
    decoded = decode_text(data, name=options.name, encoding=options.encoding)
    text = decoded.text
    start = len(text) - len(text.lstrip("\n"))
    if not text.strip():
        raise DataError(options.name, "is empty", "a header and rows", "Give a file with data.")
    delimiter = options.delimiter or _sniff(text, start, options.suffix)
    if len(delimiter) != 1 or delimiter in '"\n':
        raise DataError("data.delimiter", f"is {delimiter!r}", "one character", 'Use ",", ";" or "\\t".')
    header = _scan(text, start, delimiter)
    if header.fault:
        raise DataError(options.name, f"the header has {header.fault}", "", "Repair the first line.")
    names, notices = name_columns(header.fields, options.name)
    reading = _read_rows(text, header.end, delimiter, _Reading(options.name, names, header.fields))
    return Content(
        columns=tuple(name for name in names if name is not None),
        rows=reading.rows,
        row_numbers=reading.row_numbers,
        broken=reading.broken,
        repaired=reading.repaired,
        encoding=decoded.encoding,
        delimiter=delimiter,
        notices=(*notices, *_encoding_notices(decoded, reading), *_repair_notices(reading)),
    )


def delimiter_name(delimiter: str) -> str:
    """What a person calls it."""
    return _NAMES.get(delimiter, repr(delimiter))


def _read_rows(text: str, position: int, delimiter: str, reading: _Reading) -> _Reading:
    width = len(reading.names)
    line = text.count("\n", 0, position) + 1
    while position < len(text):
        if text[position] == "\n":
            position, line = position + 1, line + 1
            continue
        reading.lines.append(line)
        scan = _scan(text, position, delimiter)
        end = _take(text, position, delimiter, scan, width, reading)
        line += text.count("\n", position, end)
        position = end
    return reading


def _take(text: str, position: int, delimiter: str, scan: _Scan, width: int, reading: _Reading) -> int:
    """Accept, repair or reject the record at `position`; gives where to go on."""
    if scan.fault:
        return _take_faulty(text, position, delimiter, scan, width, reading)
    fields, end = scan.fields, scan.end
    if fields == reading.header:
        reading.reject("the header again", text[position:end].rstrip("\n"))
        return end
    if len(fields) == width:
        reading.accept(fields)
        if _looks_swallowed(text[position:end], delimiter, width):
            reading.long.append(len(reading.lines))
        return end
    if len(fields) == 1:
        inner = _scan(fields[0], 0, delimiter)
        if not inner.fault and inner.end >= len(fields[0]) and len(inner.fields) == width:
            reading.accept(inner.fields, "quoted whole")
            return end
    content = text[position:end].rstrip("\n")
    if "\n" in content and _holds_clean_line(content, delimiter, width):
        end = _line_end(text, position)
        reading.reject(_OPEN, text[position:end].rstrip("\n"))
        return end
    found = f"{len(fields)} field{'s' * (len(fields) > 1)}, wanted {width}"
    if len(fields) == 1 and content.startswith('"'):
        found += " (the row is quoted whole)"
    reading.reject(found, content)
    return end


def _take_faulty(text: str, position: int, delimiter: str, scan: _Scan, width: int, reading: _Reading) -> int:
    end = _line_end(text, position)
    line = text[position:end].rstrip("\n")
    literal = line.split(delimiter)
    # Tab-separated files are often written without any quoting: there a quote is a character.
    if delimiter == "\t" and len(literal) == width:
        reading.accept(literal, "quotes taken as text")
        return end
    end = _broken_extent(text, end, delimiter, width)
    reading.reject(scan.fault, text[position:end].rstrip("\n"))
    return end


def _broken_extent(text: str, position: int, delimiter: str, width: int) -> int:
    """Where reading goes on after a line with a faulty quote that ended at `position`.

    Lines up to one with the other half of the quote belong to the broken record; a clean line, or one
    that starts a quoted field of its own, shows that the fault was in the first line alone.
    """
    after_first = position
    for _ in range(100):
        if position >= len(text):
            break
        end = _line_end(text, position)
        scan = _scan(text[position:end], 0, delimiter)
        if scan.fault or (len(scan.fields) == width and not scan.stray):
            break
        if scan.stray:
            return end
        position = end
    return after_first


def _holds_clean_line(content: str, delimiter: str, width: int) -> bool:
    return any(_is_clean(line, delimiter, width) for line in content.split("\n")[1:])


def _looks_swallowed(content: str, delimiter: str, width: int) -> bool:
    """Whether all lines inside a long record would be rows of their own: said, not acted on, for it is valid."""
    inner = content.split("\n", 100)[1:-2]
    return len(inner) >= 3 and all(_is_clean(line, delimiter, width) for line in inner)


def _is_clean(line: str, delimiter: str, width: int) -> bool:
    scan = _scan(line, 0, delimiter)
    return not scan.fault and not scan.stray and len(scan.fields) == width and all(map(str.strip, scan.fields))


def _scan(text: str, position: int, delimiter: str) -> _Scan:
    """Read the record that starts at `position`."""
    line_end = text.find("\n", position)
    line_end = len(text) if line_end < 0 else line_end
    line = text[position:line_end]
    if '"' not in line:
        return _Scan(line.split(delimiter), line_end + 1)
    fields: list[str] = []
    stray = False
    while True:
        if text.startswith('"', position):
            match = _QUOTED.match(text, position)
            if match is None:
                return _Scan(fields, position, fault=_OPEN)
            fields.append(match[1].replace('""', '"'))
            position = match.end()
            if position < len(text) and text[position] not in (delimiter, "\n"):
                return _Scan(fields, position, fault=_OPEN if "\n" in match[1] else _INNER)
        else:
            end = _field_end(text, position, delimiter)
            fields.append(text[position:end])
            stray = stray or '"' in fields[-1]
            position = end
        if position >= len(text) or text[position] == "\n":
            return _Scan(fields, position + 1, stray=stray)
        position += 1


def _field_end(text: str, position: int, delimiter: str) -> int:
    line_end = text.find("\n", position)
    line_end = len(text) if line_end < 0 else line_end
    found = text.find(delimiter, position, line_end)
    return line_end if found < 0 else found


def _line_end(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def _sniff(text: str, start: int, suffix: str) -> str:
    """The delimiter under which most rows are as wide as the header; the wider header wins a tie."""
    best, best_score = "\t" if suffix == ".tsv" else ",", (0.0, 0)
    for delimiter in DELIMITERS:
        header = _scan(text, start, delimiter)
        width = len(header.fields)
        if header.fault or width < 2:
            continue
        position, seen, fitting = header.end, 0, 0
        while position < len(text) and seen < _SNIFFED_ROWS:
            scan = _scan(text, position, delimiter)
            position = _line_end(text, position) if scan.fault else scan.end
            seen += 1
            fitting += not scan.fault and len(scan.fields) == width
        score = (round(fitting / seen, 1) if seen else 0.5, width)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _encoding_notices(decoded: Decoded, reading: _Reading) -> list[str]:
    if decoded.encoding == "windows-1252":
        return [f"{reading.name}: not UTF-8; read as Windows-1252"]
    if not decoded.odd_lines:
        return []
    rows = sorted({bisect_right(reading.lines, line) for line in decoded.odd_lines} - {0})
    return [f"{reading.name}: UTF-8 except in {rows_at(rows)}, read as Windows-1252"]


def _repair_notices(reading: _Reading) -> list[str]:
    notices = []
    if reading.long:
        said = f"lines in {rows_at(reading.long)} look like rows of their own: is a quote left open?"
        notices.append(f"{reading.name}: {said}")
    said_of = {"quoted whole": "quoted whole, split again", "quotes taken as text": "with quotes taken as text"}
    for repair in sorted(set(reading.repaired.values())):
        rows = [row for row, what in reading.repaired.items() if what == repair]
        notices.append(f"{reading.name}: {counted(len(rows), 'row')} {said_of[repair]} ({rows_at(rows)})")
    return notices
