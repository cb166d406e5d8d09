"""Lists in files of answers: every form that a spreadsheet gives them is read as the task reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metier.data.label_lists import set_text
from metier.data.records import Labelling, Marked, Message, as_input
from metier.data.text_spans import Span, pieces_text
from metier.errors import DataError
from metier.evaluation.answering.listing import NO_LIST, as_task_reads
from metier.evaluation.elsewhere.recorded import AnswerColumns, RecordedSystem, load_recorded
from metier.evaluation.labels.multi_label import INVENTED
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Event, Notice

LABELS = ("bill", "late", "rude")
TEXT = "Ada met Bob, and Bob left Ada."


def _turns(text: str, answer: str) -> tuple[Message, ...]:
    return Message(role="user", content=text), Message(role="assistant", content=answer)


def _labelled(count: int) -> list[Labelling]:
    return [
        Labelling(id=f"r{n}", text=f"text {n}", messages=_turns(f"text {n}", set_text(["late"])), source="a.csv", row=n)
        for n in range(1, count + 1)
    ]


def _marked(count: int) -> list[Marked]:
    gold = pieces_text(TEXT, [Span(0, 3, "person")])
    return [Marked(id=f"r{n}", text=TEXT, messages=_turns(TEXT, gold), source="a.csv", row=n)
            for n in range(1, count + 1)]  # fmt: skip


def _read(
    path: Path, lines: list[str], records: list[Any], task: str, seen: list[Event] | None = None, **columns: Any
) -> tuple[RecordedSystem, list[Answer]]:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    labels = LABELS if task == "multilabel" else ("person", "place")
    observers = [] if seen is None else [seen.append]
    recorded = load_recorded(
        path, records, name="rules", labels=labels, columns=AnswerColumns(**columns), task=task, observers=observers
    )
    asked = [as_input(record) for record in records]
    return recorded, list(as_task_reads(recorded, task, labels).answer(asked, AnswerOptions()))


CELLS = [
    ("late; Rude", ("late", "rude"), None),
    ("late", ("late",), None),
    ('"[""bill"", ""late""]"', ("bill", "late"), None),
    ("\"['bill', 'rude']\"", ("bill", "rude"), None),
    ("[]", (), None),
    ("late; foo", ("late",), INVENTED),
    ("I cannot tell", None, NO_LIST),
    ("", None, "abstained"),
]  # fmt: skip


def test_a_cell_holds_labels_with_a_separator_or_as_a_list(tmp_path: Path) -> None:
    records = _labelled(len(CELLS))
    lines = ["id,answer", *(f"r{n},{cell}" for n, (cell, _, _) in enumerate(CELLS, start=1))]
    system, answers = _read(tmp_path / "a.csv", lines, records, "multilabel")
    said = [(answer.label, answer.reason) for answer in answers]
    assert said == [(None if labels is None else set_text(labels), reason) for _, labels, reason in CELLS]
    assert system.settings["lists"] == "a cell, separator ;" and system.settings["answer_column"] == "answer"


@pytest.mark.parametrize(
    ("cells", "separator", "given"),
    [(["late|rude", "bill"], "|", None), (["late, rude", "bill"], ",", None), (["late/rude", "bill"], "/", "/")],
)
def test_the_separator_is_the_one_between_labels(
    tmp_path: Path, cells: list[str], separator: str, given: str | None
) -> None:
    lines = ["id\tlabels", *(f"r{n}\t{cell}" for n, cell in enumerate(cells, start=1))]
    system, answers = _read(tmp_path / "a.tsv", lines, _labelled(2), "multilabel", separator=given)
    assert [answer.label for answer in answers] == [set_text(["late", "rude"]), set_text(["bill"])]
    assert system.settings["lists"] == f"a cell, separator {separator}"


def test_a_label_with_a_separator_in_it_is_one_label(tmp_path: Path) -> None:
    lines = ["id\tanswer", "r1\tlate, or lost", "r2\tlate, or lost; bill"]
    path, records = tmp_path / "a.tsv", _labelled(2)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    labels = ("late, or lost", "bill")
    system = load_recorded(path, records, name="rules", labels=labels, task="multilabel")
    read = as_task_reads(system, "multilabel", labels).answer([as_input(r) for r in records], AnswerOptions())
    assert [answer.label for answer in read] == [set_text(["late, or lost"]), set_text(labels)]


def test_a_column_for_each_label(tmp_path: Path) -> None:
    lines = ["id,Late,rude,bill,note", "r1,1,0,0,x", "r2,yes,no,YES,x", "r3,,,,x", "r4,1,maybe,0,x"]
    system, answers = _read(tmp_path / "a.csv", lines, _labelled(4), "multilabel")
    said = [(answer.label, answer.reason) for answer in answers]
    assert said == [
        (set_text(["late"]), None), (set_text(["late", "bill"]), None), (set_text([]), None), (None, NO_LIST),
    ]  # fmt: skip
    assert system.settings["lists"] == "a column for each label"
    # Rules that know two of three labels: the recipe names their columns.
    named = ["id,late,rude", "r1,1,1"]
    _, answers = _read(tmp_path / "b.csv", named, _labelled(1), "multilabel", answer=["late", "rude"])
    assert answers[0].label == set_text(["late", "rude"])


def test_lists_of_json_lines_are_lists(tmp_path: Path) -> None:
    rows = [{"id": "r1", "answer": ["late"]}, {"id": "r2", "answer": []}, {"id": "r3", "answer": {"late": 1}}]
    _, answers = _read(tmp_path / "a.jsonl", [json.dumps(row) for row in rows], _labelled(3), "multilabel")
    assert [(a.label, a.reason) for a in answers] == [('["late"]', None), ("[]", None), (None, NO_LIST)]


def test_what_an_endpoint_said_is_read_as_it_was_when_it_was_asked(tmp_path: Path) -> None:
    """A model's own words are not cut at commas: no list was in them, and none is made of them."""
    said = ["They fit: late, rude", 'Sure: ["late", "rude"]', '<think>[or not]</think>\n["bill"]']
    rows: list[dict[str, Any]] = [{"format": "metier.recorded-answers", "version": 1, "identity": "x", "about": {}}]
    rows += [{"key": f"k{n}", "id": f"r{n}", "answer": each, "stop": "end of turn", "served_by": "m", "seconds": 1.5}
             for n, each in enumerate(said, start=1)]  # fmt: skip
    system, answers = _read(tmp_path / "a.jsonl", [json.dumps(row) for row in rows], _labelled(3), "multilabel")
    assert [(a.label, a.reason) for a in answers] == [
        (None, NO_LIST), (set_text(["late", "rude"]), None), (set_text(["bill"]), None),
    ]  # fmt: skip
    assert system.settings["lists"] == "a cell" and answers[0].seconds == 1.5


@pytest.mark.parametrize(
    ("cell", "spans"),
    [
        ([["Ada", "person"], ["Bob", "person"]], [(0, 3), (8, 11)]),
        ([{"start": 0, "end": 3, "label": "person"}], [(0, 3)]),
        ([[17, 20, "person"]], [(17, 20)]),
        ([{"text": "Bob", "label": "Person"}], [(8, 11)]),
        ([], []),
        ("[(0, 3, 'person')]", [(0, 3)]),
    ],
)
def test_pieces_in_a_cell(tmp_path: Path, cell: Any, spans: list[tuple[int, int]]) -> None:
    _, (answer,) = _read(tmp_path / "a.jsonl", [json.dumps({"id": "r1", "spans": cell})], _marked(1), "extraction")
    assert json.loads(str(answer.text)) == [[start, end, "person"] for start, end in spans] and answer.reason is None


def test_a_row_for_each_piece(tmp_path: Path) -> None:
    lines = ["id,start,end,label", "r1,17,20,person", "r1,0,3,person", "r2,,,", "r3,0,three,person"]
    seen = list[Event]()
    system, answers = _read(tmp_path / "a.csv", lines, _marked(4), "extraction", seen)
    assert [answer.text for answer in answers] == ['[[0, 3, "person"], [17, 20, "person"]]', "[]", "", None]
    assert [answer.reason for answer in answers] == [None, None, NO_LIST, "no answer"]
    assert system.settings["lists"] == "a row for each piece" and system.settings["double"] == 0
    (notice,) = [event for event in seen if isinstance(event, Notice)]
    assert "1 record without an answer, counted as wrong (a row with the id alone says that" in notice.message
    # In words, where the recipe names the columns; a piece that the text lacks is wrong, not unread.
    words = ["id,piece,kind", "r1,Bob,person", "r1,Bob,person", "r2,Eve,person"]
    _, answers = _read(tmp_path / "b.csv", words, _marked(2), "extraction", answer=["piece", "kind"])
    assert answers[0].text == '[[8, 11, "person"], [17, 20, "person"]]'
    assert answers[1].reason is None and json.loads(str(answers[1].text))[0][0] == len(TEXT)


@pytest.mark.parametrize(
    ("lines", "task", "columns", "message"),
    [
        (["id,note", "r1,x"], "multilabel", {}, r"wanted a column `answer`, or a column of 1 and 0 for each label"),
        (["id,note", "r1,x"], "extraction", {}, r"wanted a column `answer`, or columns start, end and label"),
        (["id,late", "r1,1"], "multilabel", {"answer": ["late", "rude"]}, "answer: there is no column `rude` in a.csv"),
        (["start,end,label", "0,3,person"], "extraction", {}, "has a row for each piece, and no ids, wanted a column"),
        (["id,a", "r1,x"], "extraction", {"answer": ["a"]}, r"names 1 column for a row .* \[piece, label\] or \[start"),
        (["id,a,b", "r1,x,y"], "classification", {"answer": ["a", "b"]}, "answer: names 2 columns, wanted one column"),
    ],
)
def test_columns_that_are_not_there_are_told(
    tmp_path: Path, lines: list[str], task: str, columns: dict[str, Any], message: str
) -> None:
    records: list[Any] = _marked(1) if task == "extraction" else _labelled(1)
    with pytest.raises(DataError, match=message):
        _read(tmp_path / "a.csv", lines, records, task, **columns)
