"""A spreadsheet of doubtful rows, as .xlsx or .csv: how a cell is written so that no program takes it for more.

A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection"),
and loses it when the sheet is read again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.record.decisions import DECISIONS
from metier.data.sources import read_table
from metier.data.table import RawRow
from metier.errors import ArgumentError, DataError
from metier.store.files import write_bytes

COLUMNS = (
    "id", "file", "row", "split", "text", "answer", "suspected", "why", "sure", "see also", "suggestion",
    "decision", "new value", "note",
)  # fmt: skip
"""`decision`, `new value` and `note` are a person's; the others say what is doubted."""
NEEDED = ("id", "decision", "new value")
"""Columns that a sheet to read must have; a person may delete others."""
SHEET = "review"
FORMATS = (".xlsx", ".csv")
LONGEST_CELL = 32_767
"""Characters that a cell of a workbook holds (Excel specifications and limits)."""
MOST_LINES = 1_000_000
"""Lines of one sheet; a workbook ends at 1,048,576."""
_WIDTHS = {"text": 80, "answer": 24, "why": 48, "suggestion": 24, "new value": 32, "note": 24, "file": 20}
_STARTS_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_TO_GUARD = re.compile(rf"'*\s*[{_STARTS_FORMULA}]")
_GUARDED = re.compile(rf"'+\s*[{_STARTS_FORMULA}]")
# What XML 1.0 cannot hold, and what a lone half of a surrogate pair would make of the file.
_NOT_IN_A_CELL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
HOW = (
    ("What to do", "Fill in the column `decision`, line by line; a line left empty changes nothing."),
    ("keep", "The row stays as it is, and is doubted no more."),
    ("drop", "The row leaves the data. Not for rows of the test set."),
    ("relabel", "Write the right answer into `new value`. Empty: the suggestion is taken."),
    ("edit", "Write the whole new text into `new value`. Not for rows of the test set."),
    ("Do not change", "The columns up to `suggestion`. Sort and filter whole lines only."),
    ("An apostrophe", "in front of = + - @ keeps the cell from being taken for a formula; it is removed again."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A line of a sheet that a person gave back."""

    number: int
    """As the spreadsheet counts: the header is 1."""
    cells: Mapping[str, str]
    """By column, apostrophes taken away; a column that is not there is missing."""

    def cell(self, column: str) -> str:
        """What stands in a column; empty where it is not there."""
        return self.cells.get(column, "")


def guarded(text: str) -> str:
    """`text` as a cell that no spreadsheet program takes for a formula; `unguarded` gives it back."""
    return f"'{text}" if _TO_GUARD.match(text) else text


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell


def cut(text: str) -> tuple[str, bool]:
    """`text` as far as a cell holds it, and whether something is missing."""
    text = _NOT_IN_A_CELL.sub("\ufffd", text)
    if len(text) < LONGEST_CELL:  # one is for an apostrophe
        return text, False
    mark = f" [cut: {len(text):,} characters in all]"
    return text[: LONGEST_CELL - 1 - len(mark)] + mark, True


def same_cell(shown: str, read: str) -> bool:
    """Whether a cell still says what was written: white space and the way numbers are written may differ."""
    if shown.split() == read.split():
        return True
    try:
        return float(shown) == float(read)
    except ValueError:
        return False


def write_sheet(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Write the sheet in the format that the file's name says.

    Args:
        rows: Cells by column, without apostrophes; a column that is missing stays empty.
        path: A name that ends in one of `FORMATS`.

    Raises:
        ArgumentError: The name ends otherwise.
    """
    lines = [[guarded(cut(row.get(column, ""))[0]) for column in COLUMNS] for row in rows]
    write_bytes(path, _workbook(lines) if check_format(path) == ".xlsx" else _csv(lines))


def check_format(path: Path) -> str:
    """How the sheet's name ends.

    Args:
        path: The file.

    Raises:
        ArgumentError: It is none of `FORMATS`.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ArgumentError(str(path), "is no spreadsheet's name", "a name that ends in .xlsx or .csv")
    return suffix


def read_sheet(path: Path) -> list[SheetRow]:
    """Read a sheet that a person gave back; lines without any cell are left out.

    Args:
        path: The file.

    Raises:
        DataError: It cannot be read, or a column is missing.
    """
    table = read_table(path, sheet=SHEET if check_format(path) == ".xlsx" else None)
    if table.broken:
        numbers = ", ".join(str(row.row + 1) for row in table.broken[:10])
        raise DataError(path.name, f"has broken lines: row {numbers}", "one line a doubt", "Save the sheet again.")
    names = {column.strip().lower(): column for column in table.columns}
    lacking = [column for column in NEEDED if column not in names]
    if lacking:
        found = f"has no column `{lacking[0]}`"
        raise DataError(path.name, found, f"the columns {', '.join(NEEDED)}", "Give the sheet that was exported.")
    rows = [
        SheetRow(number=number + 1, cells=_cells(row, names))
        for row, number in zip(table.rows, table.row_numbers, strict=True)
    ]
    return [row for row in rows if any(row.cells.values())]


def _cells(row: RawRow, names: Mapping[str, str]) -> dict[str, str]:
    return {column: unguarded(row[names[column]] or "") for column in COLUMNS if column in names}


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines)
    return text.getvalue().encode("utf-8-sig")  # with the mark that tells a spreadsheet that it is UTF-8


def _workbook(lines: Sequence[Sequence[str]]) -> bytes:
    import openpyxl  # type: ignore[import-untyped]
    from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]
    from openpyxl.styles import Alignment, Font  # type: ignore[import-untyped]
    from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]
    from openpyxl.worksheet.datavalidation import DataValidation  # type: ignore[import-untyped]

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(SHEET)
    sheet.freeze_panes = "A2"
    for place, column in enumerate(COLUMNS, start=1):
        sheet.column_dimensions[get_column_letter(place)].width = _WIDTHS.get(column, 14)
    choice = get_column_letter(COLUMNS.index("decision") + 1)
    allowed = DataValidation(type="list", formula1=f'"{",".join(DECISIONS)}"', allow_blank=True)
    allowed.error = f"One of {', '.join(DECISIONS)}, or empty."
    allowed.add(f"{choice}2:{choice}{len(lines) + 1}")
    sheet.data_validations.append(allowed)
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(COLUMNS))}{len(lines) + 1}"

    def styled(value: str, *, bold: bool = False) -> object:
        cell = WriteOnlyCell(sheet, value=value)
        cell.number_format = "@"  # text: a label `001` stays what it is
        cell.alignment = Alignment(wrap_text=True, vertical="top")
        cell.font = Font(bold=bold)
        return cell

    sheet.append([styled(column, bold=True) for column in COLUMNS])
    for line in lines:
        sheet.append([styled(value) for value in line])
    guide = book.create_sheet("how to")
    guide.column_dimensions["B"].width = 100
    for pair in HOW:
        guide.append(list(pair))
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()
