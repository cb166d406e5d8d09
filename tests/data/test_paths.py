from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.paths import as_text, cell_at, explode, reaches, value_at
from metier.data.prepared import PreparedData
from metier.data.sources import read_table
from metier.data.table import cell_text
from metier.errors import DataError

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]

ROW = {
    "table": {"uid": "t1", "table": [["", "2019"], ["Sales", "7"]]},
    "paragraphs": [{"text": "first"}, {"text": "second"}, {"order": 3}],
    "answers": [{"text": "yes"}, {"text": "no"}],
    "tags": ["a", "b", ""],
    "code": '["not", "opened"]',
    "a.b": "a column of that name",
    "a": {"b": "inside"},
    "n": 3.0,
}
CELLS = {name: cell_text(value) for name, value in ROW.items()}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("table.table", " | 2019\nSales | 7", id="a table"),
        pytest.param("paragraphs.text", "first\n\nsecond", id="through a list"),
        pytest.param("answers[0].text", "yes", id="the first"),
        pytest.param("answers[-1].text", "no", id="the last"),
        pytest.param("answers[7].text", "", id="beyond the end"),
        pytest.param("tags", "a\n\nb", id="a list of texts"),
        pytest.param("code", '["not", "opened"]', id="a text that looks like JSON"),
        pytest.param("code[1]", "opened", id="JSON in a text, by a step into it"),
        pytest.param("a.b", "a column of that name", id="the column first"),
        pytest.param("n", "3", id="a number"),
        pytest.param("table.nothing", "", id="leads nowhere"),
        pytest.param("nothing", "", id="no column"),
        pytest.param("n.x", "", id="into a number"),
    ],
)
def test_a_path(path: str, text: str) -> None:
    assert cell_at(CELLS, path) == text


def test_rows_of_plain_python_are_read_alike() -> None:
    assert value_at(ROW, "answers[0].text") == "yes"
    assert cell_at(ROW, "tags") == "a\n\nb"


@given(st.text(), st.text(max_size=12))
def test_any_text_and_any_path_are_harmless(text: str, path: str) -> None:
    value_at({"a": text, "b": cell_text([text])}, path)
    assert cell_at({"a": text}, "a") == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda part: st.lists(part, max_size=3)))
def test_every_nested_value_has_a_text(value: Any) -> None:
    assert isinstance(as_text(value), str)


def records(write: Write, rows: list[dict[str, Any]]) -> Path:
    return write("d.json", json.dumps(rows))


def test_records_inside_rows_are_taken_out(write: Write) -> None:
    rows = [
        {"id": 1, "about": "x", "questions": [{"id": "a", "q": "one"}, {"id": "b", "q": "two"}]},
        {"id": 2, "about": "y", "questions": [{"id": "c", "q": "three"}]},
        {"id": 3, "about": "z", "questions": "none"},
    ]
    table = explode(read_table(records(write, rows)), "questions")
    assert [row["q"] for row in table.rows] == ["one", "two", "three"]
    assert [row["about"] for row in table.rows] == ["x", "x", "y"]
    assert [(row["id"], row["row.id"]) for row in table.rows] == [("a", "1"), ("b", "1"), ("c", "2")]
    assert cell_at(table.rows[1], "questions.q") == "two"
    assert table.row_numbers == [1, 1, 2]
    assert table.shared_rows == {1}
    assert [(row.row, row.reason) for row in table.broken] == [(3, "no records")]
    assert table.source.rows == 4
    assert table.notices[-1] == ("d.json: 3 records in 3 rows (`questions`); those of one row stay in one split")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("question", r"data.records: there is no column `question` in d.json, .* Did you mean `questions`\?"),
        ("id", "data.records: `id` is no list in any row of d.json, wanted a list"),
        ("questions.qq", "data.records: `questions.qq` leads nowhere in d.json, wanted one of `questions.q`"),
    ],
)
def test_records_that_are_not_there(write: Write, path: str, message: str) -> None:
    table = read_table(records(write, [{"id": 1, "questions": [{"q": "one"}]}]))
    with pytest.raises(DataError, match=message):
        explode(table, path)


def test_paths_serve_labels_too(write: Write, prepare: Prepare) -> None:
    rows = [
        {
            "m": {"text": f"my parcel number {i}", "tags": ["x", "ab"[i % 2]]},
            "meta": {"customer": i // 4, "id": f"T{i}"},
        }
        for i in range(80)
    ]
    prepared = prepare(
        train=records(write, rows), text="m.text", label="m.tags[1]", group="meta.customer", id="meta.id"
    )
    assert prepared.labels == ("a", "b")
    record = next(prepared.train.records())
    assert record.text.startswith("my parcel number")
    assert record.group is not None
    assert record.user_id == f"T{record.row - 1}"


def test_a_template_may_hold_paths(write: Write, prepare: Prepare) -> None:
    rows = [{"m": {"text": f"parcel {i}", "n": [i]}, "label": "ab"[i % 2]} for i in range(40)]
    prepared = prepare(train=records(write, rows), text="{m.n[0]}: {m.text} {{x}}", label="label")
    record = next(prepared.train.records())
    assert record.text == f"{record.row - 1}: parcel {record.row - 1} {{x}}"
    row = {"m": {"text": "new", "n": [5]}}
    assert prepared.rules.text_of(row) == "5: new {x}"


def test_a_path_that_leads_nowhere(write: Write, prepare: Prepare) -> None:
    path = records(write, [{"m": {"text": f"parcel {i}"}, "label": "ab"[i % 2]} for i in range(40)])
    with pytest.raises(DataError, match=r"data.text: `m.txt` leads nowhere in d.json, wanted one of `m.text`"):
        prepare(train=path, text="m.txt", label="label")


def test_records_of_one_row_stay_together(write: Write, prepare: Prepare) -> None:
    rows = [
        {"table": [["x", str(i)]], "questions": [{"question": f"what is {i} {j}", "answer": str(j)} for j in range(3)]}
        for i in range(30)
    ]
    path = records(write, rows)
    prepared = prepare(task="generation", train=path, records="questions", text=["table", "question"], answer="answer")
    places = [
        {record.row for record in split.records()} for split in (prepared.train, prepared.validation, prepared.test)
    ]
    assert not places[0] & places[1] | places[0] & places[2] | places[1] & places[2]
    assert sum(len(split) for split in (prepared.train, prepared.validation, prepared.test)) == 90
    assert prepared.rules.records == "questions"
    assert prepared.train.take([0])[0].text.startswith("x | ")
    assert reaches(read_table(path), "questions.answer")


def test_an_empty_list_of_records_is_a_rejected_row(write: Write) -> None:
    rows = [{"questions": [{"question": "a", "answer": "b"}]}, {"questions": []}]
    table = explode(read_table(records(write, rows)), "questions")
    assert (len(table.rows), table.source.rows) == (1, 2)
    assert [(row.row, row.reason, row.detail) for row in table.broken] == [
        (2, "no records", "its list of records is empty")
    ]
