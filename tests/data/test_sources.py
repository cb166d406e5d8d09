from __future__ import annotations

import datetime
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metier.data.sources import READERS, SUFFIXES, read_table
from metier.errors import DataError
from metier.recipe.sections import DataSection

Write = Callable[..., Path]
ROWS = [{"text": "grüße, alle", "label": "1"}, {"text": "zwei\nZeilen", "label": "2"}]


def parquet(rows: list[dict[str, object]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def workbook(rows: list[list[object]], title: str = "Sheet", empty_first: bool = False) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    if empty_first:
        sheet = book.create_sheet(title)
    sheet.title = title
    for row in rows:
        sheet.append(row)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def typed() -> list[dict[str, object]]:
    return [{"text": row["text"], "label": int(row["label"])} for row in ROWS]


FORMS = {
    "csv": 'text,label\n"grüße, alle",1\n"zwei\nZeilen",2\n',
    "tsv": 'text\tlabel\ngrüße, alle\t1\n"zwei\nZeilen"\t2\n',
    "jsonl": "\n".join(json.dumps(row) for row in typed()),
    "json": json.dumps(typed()),
    "parquet": parquet(typed()),
    "xlsx": workbook([["text", "label"], ["grüße, alle", 1.0], ["zwei\nZeilen", 2]]),
}


@pytest.mark.parametrize("form", FORMS, ids=list(FORMS))
@pytest.mark.parametrize("named", [True, False], ids=["by name", "by content"])
def test_every_format_gives_the_same_rows(write: Write, form: str, named: bool) -> None:
    path = write(f"data.{form}" if named else "data.txt", FORMS[form])
    table = read_table(path)
    assert table.rows == ROWS
    assert table.row_numbers == [1, 2]
    assert (table.source.format, table.source.rows, table.source.columns) == (form, 2, ("text", "label"))
    assert bool(table.notices) is not named


def test_the_recipe_and_the_readers_name_the_same_formats() -> None:
    field = DataSection.model_fields["format"].annotation
    assert set(field.__args__) == {"auto", *READERS}  # type: ignore[union-attr]
    assert set(SUFFIXES.values()) == set(READERS) - {"lines", "text"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": {"text": "x", "label": 1}, "b": {"text": "y", "label": 2}}, id="dict of records"),
        pytest.param({"version": 1, "data": [{"text": "x", "label": 1}, {"text": "y", "label": 2}]}, id="one list"),
        pytest.param({"text": ["x", "y"], "label": [1, 2]}, id="dict of columns"),
    ],
)
def test_json_shapes(write: Write, value: object) -> None:
    table = read_table(write("d.json", json.dumps(value)))
    assert [(row["text"], row["label"]) for row in table.rows] == [("x", "1"), ("y", "2")]


def test_the_key_of_a_dict_of_records_is_kept(write: Write) -> None:
    table = read_table(write("d.json", '{"p7": {"text": "x"}}'))
    assert table.rows == [{"key": "p7", "text": "x"}]


def test_texts_under_two_names_are_rows(write: Write) -> None:
    value = {"actors": {"Ann": ["a", "b"], "Bob": ["c"]}, "painters": {"Cid": ["d"], "Eve": []}}
    table = read_table(write("d.json", json.dumps(value)))
    assert table.columns == ("key", "name", "text")
    assert [tuple(row.values()) for row in table.rows] == [
        ("actors", "Ann", "a"), ("actors", "Ann", "b"), ("actors", "Bob", "c"), ("painters", "Cid", "d"),
    ]  # fmt: skip
    records = read_table(write("r.json", '{"p1": {"tags": ["a"]}, "p2": {"tags": ["b"]}}'))
    assert [row["key"] for row in records.rows] == ["p1", "p2"]


def test_broken_lines_of_jsonl_are_rejected_alone(write: Write) -> None:
    table = read_table(write("d.jsonl", '{"text": "a"}\n{"text": \n[1]\n\n{"text": "b", "more": null}\n'))
    assert [row["text"] for row in table.rows] == ["a", "b"]
    assert table.row_numbers == [1, 4]
    assert [(row.row, row.detail) for row in table.broken] == [
        (2, "row 2: no valid JSON"),
        (3, "row 3: no JSON object"),
    ]


def test_cells_become_text(write: Write) -> None:
    day = datetime.datetime(2026, 5, 1)
    rows = [{"a": 1.0, "b": 1.5, "c": True, "d": None, "e": day, "f": ["1", "é"], "g": float("nan")}]
    table = read_table(write("d.parquet", parquet(rows)))
    assert table.rows == [
        {"a": "1", "b": "1.5", "c": "true", "d": None, "e": "2026-05-01", "f": '["1", "é"]', "g": None}
    ]


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_files_of_both_forms(write: Write, form: str) -> None:
    sink = io.BytesIO()
    table = pa.Table.from_pylist([{"text": f"t{n}", "n": n, "tags": ["a", "b"]} for n in range(2500)])
    with pa.ipc.new_file(sink, table.schema) if form == "file" else pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found = read_table(write("d.arrow", sink.getvalue()))
    assert (len(found.rows), found.row_numbers[-1], found.source.format) == (2500, 2500, "arrow")
    assert found.rows[2001] == {"text": "t2001", "n": "2001", "tags": '["a", "b"]'}
    with pytest.raises(DataError, match="is no readable Parquet or Arrow file"):
        read_table(write("d.arrow", sink.getvalue()[:200]))


def test_values_that_python_cannot_hold_cost_their_row(write: Write) -> None:
    sink = io.BytesIO()
    dates = pa.array([0, 300_000_000_000, 1], pa.timestamp("s"))
    pq.write_table(pa.table({"text": ["a", "b", "c"], "when": dates}), sink)
    table = read_table(write("d.parquet", sink.getvalue()))
    assert [row["text"] for row in table.rows] == ["a", "c"]
    assert [(row.row, row.detail) for row in table.broken] == [(2, "row 2: a value of column 2 cannot be read")]


def test_half_of_a_surrogate_pair_becomes_a_replacement_character(write: Write) -> None:
    table = read_table(write("d.jsonl", '{"text": "a\\ud800b \\ud83d\\ude00"}\n'))
    assert table.rows[0]["text"] == "a\ufffdb 😀"


def test_a_workbook_with_index_column_blank_rows_and_empty_first_sheet(write: Write) -> None:
    rows: list[list[object]] = [[None, "text", "label"], [0, "a", 1], [None, None, None], [1, "b", "-"]]
    table = read_table(write("d.xlsx", workbook(rows, title="Second", empty_first=True)))
    assert table.rows == [{"text": "a", "label": "1"}, {"text": "b", "label": "-"}]
    assert table.row_numbers == [1, 3]
    assert table.notices == (
        "d.xlsx: read sheet `Second` of 2; data.sheet names another",
        "d.xlsx: 1 column without a name ignored",
    )


def zipped(files: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("d.csv", "", "is empty, wanted a header and rows", id="empty"),
        pytest.param("d.csv", "\ufeff \n\n", "is empty, wanted a header and rows", id="blank"),
        pytest.param("d.csv", "text,label\n", "has a header but no rows", id="header only"),
        pytest.param("d.csv", "where is it,order\na,order\nb,order\n", "no column names: its first row", id="headless"),
        pytest.param("d.csv", b"\x00\x01\x02\x03" * 9, "is a binary file, wanted csv", id="binary"),
        pytest.param("d.csv", gzip.compress(b"text,label\na,b\n")[:-9], r"is damaged \(gzip\)", id="gzip"),
        pytest.param("d.csv.gz", gzip.compress(b" "), "is empty, wanted a header", id="empty gzip"),
        pytest.param("d.xls", b"\xd0\xcf\x11\xe0rest", "is an old Excel workbook", id="xls"),
        pytest.param("d.csv", b"%PDF-1.7", "is a PDF", id="pdf"),
        pytest.param("d.zip", zipped({"a.bin": "x"}), "is a zip archive that holds no data file", id="zip of no data"),
        pytest.param("d.docx", zipped({"[Content_Types].xml": "", "a.xml": "<x/>"}), "is a document of", id="docx"),
        pytest.param("d.zip", zipped({"t.csv": "a,b"}), "d.zip/t.csv: has a header but no rows", id="zip"),
        pytest.param("d.xlsx", b"PK\x03\x04 damaged", "is damaged, wanted a workbook", id="damaged workbook"),
        pytest.param("d.xlsx", "text,label\na,b\n", "is no xlsx file, though its name says so", id="not xlsx"),
        pytest.param("d.parquet", b"PAR1 cut off", "is no readable Parquet or Arrow file", id="damaged parquet"),
        pytest.param("d.json", '[{"text": "a"},', "is not valid JSON at line 1, column 16", id="cut json"),
        pytest.param("d.json", '{"a": 1}', "holds one object that is no table of records", id="one object"),
        pytest.param("d.json", "[]", "holds no records", id="empty list"),
        pytest.param("d.json", "[" * 100_000, "is nested too deeply", id="deep json"),
    ],
)
def test_files_that_hold_no_table_are_errors(write: Write, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(name, content))


def test_missing_files_folders_and_sheets(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist, wanted a data file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder, wanted a file"):
        read_table(tmp_path)
    path = write("d.xlsx", workbook([["text"], ["a"]]))
    with pytest.raises(DataError, match=r"data.sheet: is `Other`, which d.xlsx does not have, wanted one of `Sheet`"):
        read_table(path, sheet="Other")
    with pytest.raises(DataError, match="has no sheet with rows"):
        read_table(write("e.xlsx", workbook([])))


def test_a_workbook_called_csv_is_read_and_said(write: Write) -> None:
    table = read_table(write("d.csv", FORMS["xlsx"]))
    assert table.notices == ("d.csv: read as xlsx, by its content",)
