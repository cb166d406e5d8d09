"""Files for models that write: what is asked of which row, with a system that answers without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from metier.data.input_rules import WRITTEN, InputRules
from metier.data.records import Input
from metier.device import Hardware, choose_hardware
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, System
from metier.recipe.sections import HardwareSection
from metier.serving.predict import predict_file
from metier.serving.specialist import Specialist


class Echo:
    """Answers with what it was asked, in capitals."""

    name = "tuned"

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input."""
        for each in inputs:
            yield Answer(id=each.id, label=None, text=" | ".join(turn.content for turn in each.turns).upper())


@pytest.fixture(scope="module")
def hardware() -> Hardware:
    return choose_hardware(HardwareSection(device="cpu", threads=1))


def ask(tmp_path: Path, hardware: Hardware, content: str, name: str, *, column: str | None = None, **rules: Any) -> Any:
    """The rows that come out for a file that is asked by these rules, and the prediction."""
    specialist = Specialist(
        folder=tmp_path, system=cast(System, Echo()), labels=(), hardware=hardware, task="generation",
        rules=InputRules(**{"text_columns": ("q",), "repairs": WRITTEN, "task": "generation", **rules}),
    )  # fmt: skip
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = predict_file(specialist, tmp_path / name, tmp_path / "out.jsonl", text_column=column)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, done


def test_an_empty_answer_column_is_a_place_to_write(tmp_path: Path, hardware: Hardware) -> None:
    rows, done = ask(tmp_path, hardware, "q,reply\nwhy?,\nhow?,old\n", "in.csv", fields={"answer": "reply"})
    assert [row["answer"] for row in rows] == ["WHY?", "HOW?"]
    assert (done.rows, done.answered) == (2, 2)


def test_a_model_of_aligned_lines_reads_lines(tmp_path: Path, hardware: Hardware) -> None:
    rows, _ = ask(tmp_path, hardware, "list, all files\n\nshow it\n", "in.nl", text_columns=("text",), lines=True)
    assert [row["answer"] for row in rows] == ["LIST, ALL FILES", None, "SHOW IT"]
    assert rows[1]["reason"] == "empty text"


def test_every_row_keeps_its_place_where_rows_hold_lists(tmp_path: Path, hardware: Hardware) -> None:
    given = [
        {"page": "a", "qs": [{"q": "one"}, {"q": "two"}]}, {"page": "b", "qs": []}, {"page": "c", "qs": [{"q": "x"}]},
    ]  # fmt: skip
    rows, done = ask(tmp_path, hardware, json.dumps(given), "in.json", text_columns=("page", "q"), records="qs")
    assert [(row["page"], row["answer"]) for row in rows] == [
        ("a", "A\n\nONE"), ("a", "A\n\nTWO"), ("b", None), ("c", "C\n\nX"),
    ]  # fmt: skip
    assert rows[2]["reason"] == "no records: its list of records is empty"
    assert done.unanswered == {"no records": 1}


def test_records_may_stand_in_rows_of_their_own(tmp_path: Path, hardware: Hardware) -> None:
    rows, _ = ask(tmp_path, hardware, "page,q\na,one\n", "in.csv", text_columns=("page", "q"), records="qs")
    assert [row["answer"] for row in rows] == ["A\n\nONE"]


def test_nested_cells_come_out_as_they_came_in(tmp_path: Path, hardware: Hardware) -> None:
    talk = [{"role": "user", "content": "hello"}]
    shape: dict[str, Any] = {"text_columns": (), "shape": "messages", "fields": {"messages": "m"}}
    rows, _ = ask(tmp_path, hardware, json.dumps({"m": talk, "note": "[1]"}) + "\n", "in.jsonl", **shape)
    assert rows == [{"m": talk, "note": "[1]", "answer": "HELLO", "probability": None, "reason": None}]


def test_another_text_column_keeps_the_system_prompt(tmp_path: Path, hardware: Hardware) -> None:
    fields = {"answer": "a", "system": "persona"}
    rows, _ = ask(tmp_path, hardware, "other,persona\nhi,be kind\n", "in.csv", column="other", fields=fields)
    assert [row["answer"] for row in rows] == ["BE KIND | HI"]
