from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from metier.data import workbook
from metier.data.sources import read_table
from metier.errors import DataError

Write = Callable[..., Path]
Sheets = dict[str, list[list[object]]]


def book(sheets: Sheets) -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    sink = io.BytesIO()
    made.save(sink)
    return sink.getvalue()


def changed(data: bytes, part: str, change: Callable[[str], str]) -> bytes:
    """The workbook with one of its XML files changed."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content.decode()) if name == part else content)
    return sink.getvalue()


HEADER: list[object] = ["text", "label"]
SHEET = "xl/worksheets/sheet1.xml"


def test_sheets_with_the_same_columns_are_one_table_numbered_on(write: Write) -> None:
    sheets: Sheets = {"May": [HEADER, ["a", 1], [None], ["b", 2]], "Notes": [], "June": [HEADER, ["c", 1], ["d", 2]]}
    table = read_table(write("d.xlsx", book(sheets)))
    assert [row["text"] for row in table.rows] == ["a", "b", "c", "d"]
    assert table.row_numbers == [1, 3, 4, 5]
    assert table.notices == ("d.xlsx: read 2 sheets as one table: `May` (rows 1 to 3), `June` (rows 4 to 5)",)


def test_sheets_with_different_columns_are_a_question(write: Write) -> None:
    path = write("d.xlsx", book({"Data": [HEADER, ["a", 1]], "Codes": [["code", "name"], [1, "x"]], "Empty": [HEADER]}))
    message = (
        "d.xlsx: has 2 sheets with different columns (`Data`: `text`, `label`; `Codes`: `code`, `name`), wanted one "
        "sheet. Which one holds the data? Name it as data.sheet."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        read_table(path)
    assert read_table(path, sheet="Codes").rows == [{"code": "1", "name": "x"}]


def test_a_thousand_empty_columns_cost_nothing_and_a_filled_one_without_a_name_is_said(write: Write) -> None:
    empty: list[object] = [None] * 1000
    table = read_table(write("d.xlsx", book({"S": [[*HEADER, *empty], ["a", 1, *empty], ["b", 2, None, "stray"]]})))
    assert table.columns == ("text", "label")
    assert table.rows[1] == {"text": "b", "label": "2"}
    assert table.notices == ("d.xlsx: 2 columns without a name ignored",)


def test_reading_stops_in_a_sheet_that_is_empty_for_ever(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_EMPTY", 1000)
    data = book({"S": [HEADER, ["a", 1], ["b", 2]]})
    # One stray cell a hundred billion rows down, as damage makes it; the library would give all rows between.
    far = '<row r="99999999999"><c r="A99999999999" t="inlineStr"><is><t>far</t></is></c></row></sheetData>'
    path = write("d.xlsx", changed(data, SHEET, lambda xml: xml.replace("</sheetData>", far)))
    table = read_table(path)
    assert [row["text"] for row in table.rows] == ["a", "b"]
    assert table.notices == ("d.xlsx: stopped in sheet `S` at row 1,003, after 1,000 rows without a cell",)


def test_rows_that_are_only_formatted_are_left_out(write: Write) -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}" s="1"/><c r="B{n}" s="1"/></row>' for n in range(4, 3000))
    data = changed(
        book({"S": [HEADER, ["a", 1], ["b", 2]]}), SHEET, lambda xml: xml.replace("</sheetData>", rows + "</sheetData>")
    )
    table = read_table(write("d.xlsx", data))
    assert (len(table.rows), table.notices) == (2, ())


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        pytest.param("xl/workbook.xml", "<sheets>", "<sheets", id="no XML"),
        pytest.param(SHEET, 'r="B2"', 'r="??"', id="a cell nowhere"),
        pytest.param(SHEET, 't="n"><v>1</v>', 't="s"><v>9999</v>', id="a text that is not there"),
        pytest.param("xl/_rels/workbook.xml.rels", "worksheets/sheet1.xml", "worksheets/none.xml", id="no sheet"),
        pytest.param("[Content_Types].xml", "spreadsheetml", "nothingml", id="no workbook"),
    ],
)
def test_damaged_parts_are_an_error(write: Write, part: str, old: str, new: str) -> None:
    data = changed(book({"S": [HEADER, ["a", 1]]}), part, lambda xml: xml.replace(old, new))
    with pytest.raises(DataError, match=r"d\.xlsx: is no readable workbook, wanted \.xlsx"):
        read_table(write("d.xlsx", data))
