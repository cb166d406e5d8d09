r"""Text tables (csv, tsv, semicolons): RFC 4180 read exactly, and one broken row never takes its neighbours along.

Not Python's `csv` module: it cannot say where a quote went wrong, so an unclosed quote swallows rows
until the next one. Here a record that does not parse is given up line by line, and reading goes on
behind it. A valid file gives what `csv.reader` gives; a test holds that.

The text passes in a window that moves and grows (`text_window`): a record is read when all of it is there.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.decoding import LONG_LINE, MOST_LINE, TextBlocks, line_blocks
from metier.data.records import Rejected
from metier.data.table import ReadOptions, as_row, counted, name_columns, rows_at
from metier.data.text_window import Window
from metier.errors import DataError

DELIMITERS = (",", "\t", ";", "|")
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
# Possessive: a closing quote is never given back, so a doubled one cannot be taken for it.
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_OPEN = "a quote that is never closed"
_INNER = "a quote inside a quoted field that is not doubled"
_TOO_LONG = f"a line of more than {MOST_LINE:,} characters"
_SNIFFED_ROWS = 200
_LOOKED_AHEAD = 100
"""Lines behind a faulty quote in which its other half is looked for."""

_Taken = tuple[int, ReadRow | Rejected]
"""Where reading goes on, and what was read."""


@dataclass(frozen=True)
class _Scan:
    """One record: its fields, where the next one starts, and what was wrong with its quotes."""

    fields: list[str]
    end: int
    fault: str = ""
    stray: bool = False
    """A quote inside an unquoted field: legal, but no sign of a clean line."""
    cut: bool = False
    """Whether the text ended inside the quotes: with more text it might be no fault."""


@dataclass
class _Reading:
    """How far a table has been read, and what was met on the way."""

    name: str
    delimiter: str
    names: list[str | None]
    header: list[str]
    count: int = 0
    """Records so far, the current one and broken ones included."""
    line: int = 1
    """Physical line where the current record starts."""
    repaired: dict[str, array[int]] = field(default_factory=dict)
    long: array[int] = field(default_factory=lambda: array("Q"))
    """Rows that may have swallowed others."""
    odd: array[int] = field(default_factory=lambda: array("Q"))
    """Rows with a line that is not UTF-8."""
    odd_lines_seen: int = 0

    def accept(self, fields: list[str], repair: str = "") -> ReadRow:
        """Keep a record."""
        if repair:
            self.repaired.setdefault(repair, array("Q")).append(self.count)
        return ReadRow(self.count, as_row(self.names, fields), repair)

    def reject(self, detail: str, content: str) -> Rejected:
        """Give up a record, and say where it is."""
        if LONG_LINE in content:
            detail, content = _TOO_LONG, ""
        where = f"line {self.line}: {detail}"
        return Rejected(source=self.name, row=self.count, reason="broken row", detail=where, content=content)

    def note_odd_lines(self, lines: array[int], until: int) -> None:
        """Say that the current record holds the lines before `until` that were not noted yet."""
        while self.odd_lines_seen < len(lines) and lines[self.odd_lines_seen] < until:
            if self.count and (not self.odd or self.odd[-1] != self.count):
                self.odd.append(self.count)
            self.odd_lines_seen += 1


def csv_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """The rows of a text table with a header row, one by one.

    Args:
        file: The file, at its start.
        options: Delimiter and encoding, where the recipe names them.
        facts: Filled while reading.

    Raises:
        DataError: It is empty, or its header cannot be read.
    """
    blocks = TextBlocks(file, name=options.name, encoding=options.encoding)
    window = Window(line_blocks(blocks))
    reading = _begin(window, options)
    names, notices = name_columns(reading.header, options.name)
    reading.names = names
    facts.columns.update((name, None) for name in names if name is not None)
    facts.delimiter = reading.delimiter
    reading.note_odd_lines(blocks.suspects, reading.line)
    while window.reaches():
        if window.text[window.position] == "\n":
            window.position += 1
            reading.line += 1
            continue
        reading.count += 1
        taken = _take(window, reading)
        while taken is None:  # the record goes on in text that is not here yet
            window.grow()
            taken = _take(window, reading)
        end, item = taken
        after = reading.line + window.text.count("\n", window.position, end)
        if blocks.suspects:
            reading.note_odd_lines(blocks.suspects, max(after, reading.line + 1))
        window.position, reading.line = end, after
        yield item
    facts.encoding = blocks.encoding
    facts.notices += [*notices, *_encoding_notices(blocks, reading), *_repair_notices(reading)]


def delimiter_name(delimiter: str) -> str:
    """What a person calls it."""
    return _NAMES.get(delimiter, repr(delimiter))


def _begin(window: Window, options: ReadOptions) -> _Reading:
    """Find the delimiter and the header; the window then stands behind it."""
    line = 1
    while window.reaches() and window.text[window.position] == "\n":
        window.position, line = window.position + 1, line + 1
    text, start = window.text, window.position
    if not text[start:].strip() and not window.may_grow:
        raise DataError(options.name, "is empty", "a header and rows", "Give a file with data.")
    delimiter = options.delimiter or _sniff(text, start, options.suffix)
    if len(delimiter) != 1 or delimiter in '"\n':
        raise DataError("data.delimiter", f"is {delimiter!r}", "one character", 'Use ",", ";" or "\\t".')
    header = _scan(text, start, delimiter)
    if LONG_LINE in text[start : header.end]:
        raise DataError(options.name, f"the header has {_TOO_LONG}", "", "Repair the first line.")
    if header.fault:
        raise DataError(options.name, f"the header has {header.fault}", "", "Repair the first line.")
    window.position = header.end
    line += text.count("\n", start, header.end)
    return _Reading(name=options.name, delimiter=delimiter, names=[], header=header.fields, line=line)


def _take(window: Window, reading: _Reading) -> _Taken | None:
    """Accept, repair or reject the record at the window's position; None: more text is needed to tell."""
    text, position, width = window.text, window.position, len(reading.names)
    scan = _scan(text, position, reading.delimiter)
    if scan.cut and window.may_grow:
        return None
    if scan.fault:
        return _take_faulty(window, scan, reading)
    fields, end = scan.fields, scan.end
    if window.holds_long_line and LONG_LINE in text[position:end]:
        return _line_end(text, position), reading.reject(_TOO_LONG, LONG_LINE)
    if fields == reading.header:
        return end, reading.reject("the header again", text[position:end].rstrip("\n"))
    if len(fields) == width:
        if _looks_swallowed(text[position:end], reading.delimiter, width):
            reading.long.append(reading.count)
        return end, reading.accept(fields)
    if len(fields) == 1:
        inner = _scan(fields[0], 0, reading.delimiter)
        if not inner.fault and inner.end >= len(fields[0]) and len(inner.fields) == width:
            return end, reading.accept(inner.fields, "quoted whole")
    content = text[position:end].rstrip("\n")
    if "\n" in content and _holds_clean_line(content, reading.delimiter, width):
        end = _line_end(text, position)
        return end, reading.reject(_OPEN, text[position:end].rstrip("\n"))
    found = f"{len(fields)} field{'s' * (len(fields) > 1)}, wanted {width}"
    if len(fields) == 1 and content.startswith('"'):
        found += " (the row is quoted whole)"
    return end, reading.reject(found, content)


def _take_faulty(window: Window, scan: _Scan, reading: _Reading) -> _Taken | None:
    text, position, width = window.text, window.position, len(reading.names)
    first = _line_end(text, position)
    line = text[position:first].rstrip("\n")
    literal = line.split(reading.delimiter)
    # Tab-separated files are often written without any quoting: there a quote is a character.
    if reading.delimiter == "\t" and len(literal) == width:
        return first, reading.accept(literal, "quotes taken as text")
    end = _broken_extent(text, first, reading.delimiter, width)
    if end < 0:
        if window.may_grow:
            return None
        end = first
    return end, reading.reject(scan.fault, text[position:end].rstrip("\n"))


def _broken_extent(text: str, position: int, delimiter: str, width: int) -> int:
    """Where reading goes on after a line with a faulty quote that ended at `position`; -1: the text ends before that.

    Lines up to one with the other half of the quote belong to the broken record; a clean line, or one
    that starts a quoted field of its own, shows that the fault was in the first line alone.
    """
    after_first = position
    for _ in range(_LOOKED_AHEAD):
        if position >= len(text):
            return -1
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
                return _Scan(fields, position, fault=_OPEN, cut=True)
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


def _encoding_notices(blocks: TextBlocks, reading: _Reading) -> list[str]:
    if blocks.encoding == "windows-1252":
        return [f"{reading.name}: not UTF-8; read as Windows-1252"]
    return [f"{reading.name}: UTF-8 except in {rows_at(reading.odd)}, read as Windows-1252"] if reading.odd else []


def _repair_notices(reading: _Reading) -> list[str]:
    notices = []
    if reading.long:
        said = f"lines in {rows_at(reading.long)} look like rows of their own: is a quote left open?"
        notices.append(f"{reading.name}: {said}")
    said_of = {"quoted whole": "quoted whole, split again", "quotes taken as text": "with quotes taken as text"}
    for repair, rows in sorted(reading.repaired.items()):
        notices.append(f"{reading.name}: {counted(len(rows), 'row')} {said_of[repair]} ({rows_at(rows)})")
    return notices
