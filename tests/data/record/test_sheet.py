"""A sheet says what was written, to every program that reads it."""

from __future__ import annotations

import csv
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.record.sheet import (
    COLUMNS,
    FORMATS,
    LONGEST_CELL,
    check_format,
    cut,
    guarded,
    read_sheet,
    same_cell,
    unguarded,
    write_sheet,
)
from metier.errors import ArgumentError, DataError

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "''-2", "＝1+1", "=cmd|' /C calc'!A0"]
HARMLESS = ["plain", "'quoted'", "a=b", "", "1-2", "O'Neill", "' spaced", "مرحبا", "🛒 +1"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_what_begins_like_a_formula_is_guarded_and_given_back(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not_is_left_alone(text: str) -> None:
    assert guarded(text) == text
    assert unguarded(text) == text


@given(st.text())
def test_guarding_loses_nothing(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_a_sheet_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"review{suffix}"
    texts = [*DANGEROUS, *HARMLESS[:3], 'two\nlines, "quoted"; and more', "001", "1e5", "a,b;c\td"]
    write_sheet(({"id": f"{number:04d}", "text": text} for number, text in enumerate(texts)), path)
    rows = read_sheet(path)
    assert [row.cell("id") for row in rows] == [f"{number:04d}" for number in range(len(texts))]
    assert [row.number for row in rows] == list(range(2, len(texts) + 2))
    for row, text in zip(rows, texts, strict=True):
        assert same_cell(text, row.cell("text")), text
    assert {row.cell("decision") for row in rows} == {""}


def test_no_cell_of_a_workbook_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "review.xlsx"
    write_sheet(({"id": "a", "text": text, "why": text, "suggestion": text} for text in DANGEROUS), path)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["review", "how to"]
    assert {cell.data_type for row in book["review"].iter_rows() for cell in row if cell.value is not None} == {"s"}
    (allowed,) = book["review"].data_validations.dataValidation
    assert allowed.formula1 == '"keep,drop,relabel,edit"'
    assert str(allowed.sqref) == f"L2:L{len(DANGEROUS) + 1}"
    assert COLUMNS[11] == "decision"


def test_a_csv_opens_as_unicode_and_quotes_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    write_sheet([{"id": "a", "text": 'ä "x"\ny'}], path)
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True))
    assert row["text"] == 'ä "x"\ny'


def test_a_text_longer_than_a_cell_is_cut_and_says_so(tmp_path: Path) -> None:
    shown, is_cut = cut("x" * 40_000)
    assert is_cut
    assert len(shown) == LONGEST_CELL - 1
    assert shown.endswith(" [cut: 40,000 characters in all]")
    assert cut("y" * (LONGEST_CELL - 1)) == ("y" * (LONGEST_CELL - 1), False)
    write_sheet([{"id": "a", "text": "=" * 50_000}], tmp_path / "r.xlsx")
    assert len(openpyxl.load_workbook(tmp_path / "r.xlsx")["review"]["E2"].value) <= LONGEST_CELL


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec=None), max_size=40), max_size=12), suffix=st.sampled_from(FORMATS))
def test_no_text_looks_changed_only_because_it_was_in_a_sheet(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("sheet") / f"r{suffix}"
    write_sheet(({"id": f"{number}a", "text": text} for number, text in enumerate([*texts, "end"])), path)
    rows = {row.cell("id"): row.cell("text") for row in read_sheet(path)}
    for number, text in enumerate(texts):
        assert same_cell(cut(text)[0], rows[f"{number}a"]), text


def test_what_a_person_does_to_a_sheet_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("ID ;Decision;New Value\na1;keep;\n;;\na2;relabel;größer\n".encode("cp1252"))
    rows = read_sheet(path)
    assert [(row.number, row.cell("id"), row.cell("decision"), row.cell("new value")) for row in rows] == [
        (2, "a1", "keep", ""), (4, "a2", "relabel", "größer"),
    ]  # fmt: skip


def test_a_sheet_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,decision\na,keep\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"r\.csv: has no column `new value`, wanted the columns id, decision, new va"):
        read_sheet(path)


def test_another_ending_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"review\.ods: is no spreadsheet's name, wanted a name that ends in \.xlsx"
    ):
        check_format(Path("review.ods"))


@pytest.mark.parametrize(
    ("shown", "read", "same"),
    [("001", "1", True), ("1.0", "1", True), ("a  b", "a b", True), ("a\r\nb", "a\nb", True), ("yes", "no", False),
     ("nan", "nan", True), ("1", "2", False), ("", "", True), ("", "x", False)],
)  # fmt: skip
def test_cells_that_say_the_same(shown: str, read: str, same: bool) -> None:
    assert same_cell(shown, read) == same


def test_broken_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,decision,new value\na,keep,\nb,keep,x,y,z\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"r\.csv: has broken lines: row 3, wanted one line a doubt\. Save the sheet"):
        read_sheet(path)
