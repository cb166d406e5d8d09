"""Excel workbooks (.xlsx), read without changing them, row by row."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.records import Rejected
from metier.data.table import ReadOptions, as_row, cell_text, column_list, name_columns
from metier.data.unpacking import refuse_bomb
from metier.errors import DataError

MOST_EMPTY = 100_000
"""Rows without a cell in a row, after which a sheet is taken to have ended: formatted far down, or damaged."""
_CONTENTS = "xl/workbook.xml"
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s")

_Numbered = tuple[int, list[str | None]]
"""Number of a row in its sheet, and its cells, the empty ones at its end left out."""


@dataclass(frozen=True)
class _Start:
    """How a sheet begins."""

    sheet: Any
    place: int
    """Number of the row with the names of columns."""
    header: tuple[str | None, ...]
    filled: bool
    """Whether there are rows below."""


def workbook_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """The rows of the sheet that the recipe names, of the only one with rows, or of all where they have one form.

    Rows of a later sheet are numbered on from those of the sheets before it.

    Args:
        file: The file; reading jumps in it.
        options: The sheet, where the recipe names one.
        facts: Filled while reading.

    Raises:
        DataError: It is damaged, has no such sheet, no rows, or sheets with different columns.
    """
    with _readable(options.name):
        import openpyxl  # type: ignore[import-untyped]

        with zipfile.ZipFile(file) as archive:
            sizes = [(info.compress_size, info.file_size) for info in archive.infolist()]
            refuse_bomb(options.name, sum(size for size, _ in sizes), sum(size for _, size in sizes))
            contents = archive.read(_CONTENTS) if _CONTENTS in archive.namelist() else b""
        with warnings.catch_warnings():  # about styles and forms, which are not read
            warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        if len(book.sheetnames) < len(_SHEET.findall(contents)):
            raise ValueError("a sheet is not there, which openpyxl passes over")
        starts = _chosen(book, options)
    names, _ = name_columns(starts[0].header, options.name)
    facts.columns.update((name, None) for name in names if name is not None)
    before, beyond, places = 0, 0, []
    for start in starts:
        number = before
        for place, cells in _rows(start.sheet, options.name, facts):
            if place <= start.place:
                continue
            number = before + place - start.place
            beyond = max(beyond, len(cells) - len(names))
            yield ReadRow(number, as_row(names, _fitted(cells, len(names))))
        places.append(f"`{start.sheet.title}` (rows {before + 1:,} to {number:,})")
        before = number
    if len(starts) > 1:
        facts.notices.append(f"{options.name}: read {len(starts)} sheets as one table: {', '.join(places)}")
    elif len(book.sheetnames) > 1 and options.sheet is None:
        title = starts[0].sheet.title
        facts.notices.append(
            f"{options.name}: read sheet `{title}` of {len(book.sheetnames)}; data.sheet names another"
        )
    # Cells beside the named columns are columns without a name, found only now.
    facts.notices += name_columns([*starts[0].header, *[None] * beyond], options.name)[1]


def _chosen(book: Any, options: ReadOptions) -> list[_Start]:
    if options.sheet is not None and options.sheet not in book.sheetnames:
        names = ", ".join(f"`{name}`" for name in book.sheetnames)
        raise DataError("data.sheet", f"is `{options.sheet}`, which {options.name} does not have", f"one of {names}")
    wanted = [sheet for sheet in book.worksheets if options.sheet in (None, sheet.title)]
    starts = [start for sheet in wanted if (start := _start(sheet, options.name)) is not None]
    if not starts:
        raise DataError(options.name, "has no sheet with rows", "", "Give a workbook with data.")
    filled = [start for start in starts if start.filled] or starts[:1]
    if len({start.header for start in filled}) > 1:
        sheets = "; ".join(f"`{start.sheet.title}`: {column_list(filter(None, start.header))}" for start in filled)
        found = f"has {len(filled)} sheets with different columns ({sheets})"
        raise DataError(options.name, found, "one sheet", "Which one holds the data? Name it as data.sheet.")
    return filled


def _start(sheet: Any, name: str) -> _Start | None:
    rows = _rows(sheet, name, FileFacts())
    place, header = next(rows, (0, []))
    return _Start(sheet, place, tuple(header), next(rows, None) is not None) if header else None


def _rows(sheet: Any, name: str, facts: FileFacts) -> Iterator[_Numbered]:
    """Rows with their number in the sheet; those without any cell are left out."""
    sheet.reset_dimensions()  # some programs write a wrong size, which would cut the sheet
    last = 0
    for number, values in enumerate(_values(sheet, name), start=1):
        width = next((end for end in range(len(values), 0, -1) if values[end - 1] is not None), 0)
        if width:
            last = number
            yield number, [cell_text(value) for value in values[:width]]
        elif number - last >= MOST_EMPTY:
            said = f"stopped in sheet `{sheet.title}` at row {number:,}, after {MOST_EMPTY:,} rows without a cell"
            facts.notices.append(f"{name}: {said}")
            return


def _values(sheet: Any, name: str) -> Iterator[Sequence[object]]:
    with _readable(name):
        yield from sheet.iter_rows(values_only=True)


def _fitted(cells: list[str | None], width: int) -> list[str | None]:
    return cells[:width] + [None] * (width - len(cells))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile, zlib.error, SyntaxError, LookupError, ValueError, ArithmeticError, TypeError,
        AttributeError, RuntimeError, AssertionError, OSError, EOFError,
    ) as error:  # fmt: skip
        # openpyxl lets the errors of zip and XML through as they are, and trips over parts that are not there
        raise DataError(
            name, "is no readable workbook", ".xlsx", "Open it in a spreadsheet and save it again."
        ) from error
