"""Recorded answers: matched by id or row; missing and double ones told and counted as wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.records import Choice, Conversation, as_input
from metier.errors import DataError
from metier.evaluation.elsewhere.recorded import AnswerColumns, RecordedSystem, load_recorded
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.labels.label_metrics import MISSING, TWICE
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Event, Notice
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
Records = Callable[..., list[Choice]]


def _said(system: RecordedSystem, records: list[Choice]) -> list[Answer]:
    return list(system.answer([as_input(record) for record in records], AnswerOptions()))


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_answers_are_found_by_id_in_any_order(tmp_path: Path, make_records: Records) -> None:
    records = make_records(6)
    lines = [f"{record.id},{record.label}" for record in reversed(records)]
    system = load_recorded(_write(tmp_path / "a.csv", ["id,prediction", *lines]), records, name="rules", labels=LABELS)
    assert [answer.label for answer in _said(system, records)] == [record.label for record in records]
    assert (system.settings["matched_by"], system.settings["answer_column"]) == ("id", "prediction")
    assert len(system.settings["sha256"]) == 64


def test_missing_double_foreign_and_strange_answers_are_told_and_wrong(tmp_path: Path, make_records: Records) -> None:
    records, seen = make_records(5), list[Event]()
    lines = [
        f"{records[0].id},{records[0].label}", f"{records[1].id},refund", f"{records[1].id},refund",
        f"{records[2].id},nonsense", f"{records[3].id},", "stranger,refund",
    ]  # fmt: skip
    path = _write(tmp_path / "a.csv", ["id,answer", *lines])
    system = load_recorded(path, records, name="rules", labels=LABELS, observers=[seen.append])
    reasons = [answer.reason for answer in _said(system, records)]
    assert reasons == [None, TWICE, "invalid answer: no label", "abstained", MISSING]
    counts = {name: system.settings[name] for name in ("rows", "missing", "double", "of_no_record")}
    assert counts == {"rows": 6, "missing": 1, "double": 1, "of_no_record": 1}
    (notice,) = [event for event in seen if isinstance(event, Notice)]
    assert notice.message == (
        "a.csv: 1 record without an answer, counted as wrong; 1 record answered more than once, counted as wrong; "
        "1 answer to no record of this set, left out."
    )
    asked = RecordSet(name="test", records=records, labels=LABELS)
    found = evaluate_system(system, asked, section=EvaluationSection(resamples=200), seed=1)
    assert found.metrics["accuracy"].value == pytest.approx(0.2)
    assert found.confusion[records[1].label]["(none)"] >= 1


def test_rows_of_the_data_file_are_matched_without_ids(tmp_path: Path, make_records: Records) -> None:
    """A test set that was split from a file: the answers file has a row for each row of that file."""
    records = make_records(9)
    lines = [f"x,{record.label}" for record in records]
    path = _write(tmp_path / "a.csv", ["note,answer", *lines])
    system = load_recorded(path, records[4:7], name="rules", labels=LABELS)
    assert [answer.label for answer in _said(system, records[4:7])] == [record.label for record in records[4:7]]
    assert system.settings["matched_by"] == "row of the data file" and system.settings["of_no_record"] == 6


def test_as_many_rows_as_records_are_matched_in_order(tmp_path: Path, make_records: Records) -> None:
    records = make_records(9)[6:]
    path = _write(tmp_path / "a.csv", ["note,answer", *[f"x,{record.label}" for record in records]])
    system = load_recorded(path, records, name="rules", labels=LABELS)
    assert [answer.label for answer in _said(system, records)] == [record.label for record in records]
    assert system.settings["matched_by"] == "order of the records"


def test_ids_of_the_user_are_ids_too(tmp_path: Path) -> None:
    records = [Choice(id=f"h{n}", text="t", label="refund", source="a.csv", row=n, user_id=f"T-{n}") for n in (1, 2)]
    path = _write(tmp_path / "a.jsonl", [json.dumps({"ticket": "T-2", "answer": "refund"})])
    columns = AnswerColumns(id="ticket")
    system = load_recorded(path, records, name="rules", labels=LABELS, columns=columns)
    assert [answer.reason for answer in _said(system, records)] == [MISSING, None]
    assert system.settings["matched_by"] == "data.id"


def test_json_lines_may_say_more(tmp_path: Path, make_records: Records) -> None:
    records = make_records(1)
    row = {
        "id": records[0].id, "answer": "refund", "seconds": 0.5, "price": 0.002,
        "label_logprobs": {"refund": -0.1, "track": -2.5, "cancel": -4.0},
    }  # fmt: skip
    system = load_recorded(_write(tmp_path / "a.jsonl", [json.dumps(row)]), records, name="m", labels=LABELS)
    (answer,) = _said(system, records)
    assert (answer.seconds, answer.price) == (0.5, 0.002)
    assert answer.label_logprobs == {"refund": -0.1, "track": -2.5, "cancel": -4.0}


def test_written_answers_are_texts(tmp_path: Path, make_dialogues: Callable[..., list[Conversation]]) -> None:
    records = make_dialogues(["yes indeed", "no"])
    path = _write(tmp_path / "a.jsonl", [json.dumps({"id": "d0", "response": "Yes indeed"})])
    answers = list(load_recorded(path, records, name="m").answer([as_input(r) for r in records], AnswerOptions()))
    assert [(answer.text, answer.label, answer.stop) for answer in answers] == [
        ("Yes indeed", None, "end of turn"), (None, None, "none"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (["id,answer", "nobody,refund"], None, "none of its ids is the id of a record, wanted ids of these 3 records"),
        (["note,answer", "x,refund"], None, "has 1 row and no ids, and there are 3 records, wanted a column `id`"),
        (["id,note", "r0,refund"], None, "has no column of answers among `id`, `note`"),
        (["id,answr", "r0,x"], AnswerColumns(answer="answer"), "answer: there is no column `answer` in a.csv"),
    ],
)
def test_what_cannot_be_matched_is_refused(
    tmp_path: Path, make_records: Records, lines: list[str], columns: AnswerColumns | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_recorded(_write(tmp_path / "a.csv", lines), make_records(3), name="m", labels=LABELS, columns=columns)
