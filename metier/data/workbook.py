"""Excel workbooks (.xlsx), read without changing them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from metier.data.table import Content, ReadOptions, as_row, cell_text, name_columns
from metier.errors import DataError


def read_workbook(data: bytes, options: ReadOptions) -> Content:
    """Read one sheet of a workbook: the named one, or the first that has rows.

    Args:
        data: The file's bytes.
        options: The sheet, where the recipe names one.

    Raises:
        DataError: It is damaged, has no such sheet, or no rows.
    """
    with _readable(options.name):
        import openpyxl  # type: ignore[import-untyped]

        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        filled = ((sheet.title, rows) for sheet in _chosen(book, options) if (rows := _rows(sheet)))
        title, numbered = next(filled, ("", []))
    if not numbered:
        raise DataError(options.name, "has no sheet with rows", "", "Give a workbook with data.")
    notices = []
    if len(book.sheetnames) > 1 and options.sheet is None:
        notices.append(f"{options.name}: read sheet `{title}` of {len(book.sheetnames)}; data.sheet names another")
    names, said = name_columns(numbered[0][1], options.name)
    return Content(
        columns=tuple(name for name in names if name is not None),
        rows=[as_row(names, cells) for _, cells in numbered[1:]],
        row_numbers=[number - numbered[0][0] for number, _ in numbered[1:]],
        notices=(*notices, *said),
    )


def _chosen(book: Any, options: ReadOptions) -> Iterator[Any]:
    if options.sheet is not None and options.sheet not in book.sheetnames:
        names = ", ".join(f"`{name}`" for name in book.sheetnames)
        raise DataError("data.sheet", f"is `{options.sheet}`, which {options.name} does not have", f"one of {names}")
    for sheet in book.worksheets:
        if options.sheet in (None, sheet.title):
            yield sheet


def _rows(sheet: Any) -> list[tuple[int, list[str | None]]]:
    """Rows with their number in the sheet, all of equal width; rows without any cell are left out."""
    sheet.reset_dimensions()  # some programs write a wrong size, which would cut the sheet
    rows = [
        (number, [cell_text(value) for value in cells])
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1)
        if any(value is not None for value in cells)
    ]
    width = max((len(cells) for _, cells in rows), default=0)
    return [(number, cells + [None] * (width - len(cells))) for number, cells in rows]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError, OSError, EOFError) as error:
        # openpyxl lets the errors of zip and XML through as they are
        raise DataError(
            name, "is no readable workbook", ".xlsx", "Open it in a spreadsheet and save it again."
        ) from error
