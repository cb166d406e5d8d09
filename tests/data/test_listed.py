"""Rows with several labels, or with marked pieces, become records; what cannot be used is rejected with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.data.label_lists import separator_of
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.records import Labelling, Marked, Record
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.files import read_json_lines

Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """`prepare(rows, task, **fields)`: a JSON-lines file prepared."""

    def call(rows: Sequence[dict[str, Any]], task: str = "multilabel", **fields: Any) -> PreparedData:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        section = DataSection(train=str(path), duplicates="keep", contradictions="keep", leaks="allow", **fields)
        return prepare_data(section, seed=1, folder=tmp_path / "data", task=task)

    return call


def _every(data: PreparedData) -> dict[str, Record]:
    return {r.text: r for split in (data.train, data.validation, data.test) for r in split.records()}


def _reasons(tmp_path: Path) -> dict[str, str]:
    return {row["reason"]: row["detail"] for row in read_json_lines(tmp_path / "data" / "rejected.jsonl")}


def _texts(labels: Sequence[Any], name: str = "labels") -> list[dict[str, Any]]:
    return [{"text": f"some words number {n}", name: labels[n % len(labels)]} for n in range(24)]


CELLS = {
    "lists": ([["b", "a"], ["a"], []], {}),
    "json": (['["b", "a"]', '["a"]', "[]"], {}),
    "python": (["['b', 'a']", "['a']", "[]"], {}),
    "semicolons": (["b; a", "a", "[]"], {}),
    "given": (["b<>a", "a", "[]"], {"label": "labels", "label_separator": "<>"}),
}


@pytest.mark.parametrize("name", CELLS)
def test_labels_are_read_however_a_cell_holds_them(prepare: Prepare, name: str) -> None:
    cells, fields = CELLS[name]
    data = prepare(_texts(cells), **fields)
    found = _every(data)
    assert data.card.labels == ("a", "b") and len(found) == 24
    assert all(isinstance(record, Labelling) for record in found.values())
    assert found["some words number 0"].gold == '["a", "b"]' and found["some words number 0"].labels == ("a", "b")
    assert found["some words number 2"].gold == "[]" and found["some words number 2"].stratum == ""
    said = " ".join(data.card.notices)
    assert ("data.label found by itself: `labels`" in said) == (not fields)
    assert ("data.label_separator found by itself: `;`" in said) == (name == "semicolons")


def test_a_column_of_yes_and_no_for_each_label(prepare: Prepare) -> None:
    rows = [{"text": f"some words number {n}", "angry": n % 2, "late": int(n % 3 == 0)} for n in range(24)]
    found = _every(prepare(rows, label=["angry", "late"]))
    assert found["some words number 3"].gold == '["angry", "late"]' and found["some words number 2"].gold == "[]"
    with pytest.raises(DataError, match="the column `text` holds a cell that is neither yes nor no"):
        prepare([*rows], label=["angry", "text"], text="late")


def test_names_filters_and_empty_cells(prepare: Prepare, tmp_path: Path) -> None:
    rows = _texts(["1|2", "3", "", "junk|1"])
    data = prepare(
        rows, label="labels", label_separator="|", label_names={"1": "one", "2": "two"}, labels=["one", "two"],
        ignore_labels=["junk"],
    )  # fmt: skip
    found = _every(data)
    assert {record.gold for record in found.values()} == {'["one", "two"]', "[]"}
    assert found["some words number 1"].gold == "[]"  # its label is not kept; the text is
    assert data.card.rejected == {"empty label": 6, "ignored label": 6}
    assert "a text without labels says []" in _reasons(tmp_path)["empty label"]


def test_pieces_are_taught_in_words_and_kept_by_offsets(prepare: Prepare) -> None:
    rows = [
        {"text": f"Ada  met Bob {n}", "spans": [{"start": 0, "end": 3, "label": "P"}, [9, 12, "P"]]} for n in range(24)
    ]
    data = prepare(rows, "extraction", repairs=["white space"], label_names={"P": "PERSON"})
    record = _every(data)["Ada met Bob 7"]
    assert isinstance(record, Marked) and data.card.labels == ("PERSON",)
    assert record.gold == '[["Ada", "PERSON"], ["Bob", "PERSON"]]'
    assert [(span.start, span.end) for span in record.spans] == [(0, 3), (8, 11)]  # a space went between them
    assert "data.answer found by itself: `spans`" in data.card.notices


def test_spans_that_cannot_be_used_are_rejected_each_for_its_reason(prepare: Prepare, tmp_path: Path) -> None:
    good = [{"text": f"Ada met Bob {n}", "spans": [[0, 3, "P"]]} for n in range(24)]
    bad = [
        {"text": "Ada is here", "spans": [[0, 99, "P"]]},
        {"text": "Ada is there", "spans": [{"start": 0, "end": 3, "label": "P", "text": "Bob"}]},
        {"text": "Ada is gone", "spans": "none"},
        {"text": "Ada  is gone", "spans": [[3, 5, "P"]]},
    ]
    data = prepare([*good, *bad], "extraction", answer="spans")
    wanted = ("span out of range", "span is another text", "unreadable spans", "empty span")
    assert data.card.rejected == dict.fromkeys(sorted(wanted), 1)
    assert _reasons(tmp_path)["span out of range"] == "a span ends at 99, its text has 11 characters"


def test_a_file_without_such_a_column_is_refused(prepare: Prepare) -> None:
    rows = [{"text": f"words {n}", "topic": f"topic {n}"} for n in range(24)]
    with pytest.raises(DataError, match=r"data\.label.* no column of rows.jsonl holds lists of labels.*`topic`"):
        prepare(rows)
    with pytest.raises(DataError, match=r"data\.answer.* no column of rows.jsonl holds lists of pieces of the text"):
        prepare(rows, "extraction")


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a;b", "a", "b", "b;a"] * 5, ";"),
        (["a, b", "a", "b"] * 5, ","),
        (["a", "b"] * 9, None),
        ([f"well, number {n}, hello {n}" for n in range(20)], None),
        (["", " "], None),
    ],
)
def test_a_separator_is_what_divides_words_that_come_again(cells: list[str], separator: str | None) -> None:
    assert separator_of(cells) == separator
