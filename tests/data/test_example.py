"""The built-in example: every planted flaw that this room looks for is found, and nothing else is rejected."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.locate import locate_files
from metier.data.prepared import PreparedData
from metier.recipe.sections import DataSection

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "example_data"
FIELDS = {"train": "builtin:inbox/train.csv", "test": "builtin:inbox/test.csv", "id": "ticket_id"}


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    folder = locate_files(DataSection(train=FIELDS["train"])).train[0].parent
    found: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def tickets(prepare: Callable[..., PreparedData], tmp_path: Path) -> dict[str, set[str]]:
    """Ticket ids of rejected rows, by reason."""
    prepare(**FIELDS)
    found: dict[str, set[str]] = {}
    for line in (tmp_path / "prepared" / "rejected.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        content = row["content"]
        ticket = json.loads(content)["ticket_id"] if content.startswith("{") else content[:8]
        found.setdefault(row["reason"], set()).add(ticket)
    return found


def test_the_planted_flaws_are_found(tickets: dict[str, set[str]], truth: dict[str, Any]) -> None:
    assert tickets == {
        "broken row": {row["ticket_id"] for row in truth["broken_rows"]},
        "empty text": set(truth["empty_rows"]),
        "duplicate": {pair["second"] for pair in truth["exact_duplicates"]},
        "contradiction": {ticket for pair in truth["contradictions"] for ticket in pair["tickets"]},
    }


def test_broken_rows_are_named_by_line(
    prepare: Callable[..., PreparedData], tmp_path: Path, truth: dict[str, Any]
) -> None:
    prepare(**FIELDS)
    details = [
        row["detail"]
        for row in map(json.loads, (tmp_path / "prepared" / "rejected.jsonl").read_text(encoding="utf-8").splitlines())
        if row["reason"] == "broken row"
    ]
    assert [int(detail.split(":")[0].removeprefix("line ")) for detail in details] == [
        row["line"] for row in truth["broken_rows"]
    ]


def test_a_second_name_for_a_label_is_mapped(prepare: Callable[..., PreparedData], truth: dict[str, Any]) -> None:
    second = truth["second_name"]
    prepared = prepare(**FIELDS, label_names={second["label"]: second["true_intent"]})
    assert list(prepared.labels) == truth["intents"]


@pytest.fixture(scope="module")
def replies() -> dict[str, list[dict[str, Any]]]:
    """Lines of both files, each with its answer read."""
    folder = locate_files(DataSection(train=FIELDS["train"])).train[0].parent
    found: dict[str, list[dict[str, Any]]] = {}
    for part in ("train", "test"):
        lines = (folder / f"replies_{part}.jsonl").read_text(encoding="utf-8").splitlines()
        found[part] = [{**line, "answer": json.loads(line["answer"])} for line in map(json.loads, lines)]
    return found


def test_the_answers_are_what_their_script_makes() -> None:
    folder = locate_files(DataSection(train=FIELDS["train"])).train[0].parent
    for name, text in runpy.run_path(str(TOOLS / "build_replies.py"))["build"]().items():
        assert (folder / name).read_bytes() == text.encode("utf-8"), name


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_answer_has_the_three_fields(
    part: str, replies: dict[str, list[dict[str, Any]]], truth: dict[str, Any]
) -> None:
    for line in replies[part]:
        answer = line["answer"]
        assert list(answer) == ["intent", "urgency", "reply"]
        assert answer["intent"] in truth["intents"]
        assert answer["urgency"] in ("low", "normal", "high")
        assert answer["reply"].endswith("Larkmoor Roasters")
    assert {line["answer"]["intent"] for line in replies[part]} == set(truth["intents"])
    assert {line["answer"]["urgency"] for line in replies[part]} == {"low", "normal", "high"}


def test_train_and_test_answers_share_nothing(replies: dict[str, list[dict[str, Any]]]) -> None:
    for key in ("ticket_id", "customer", "body"):
        assert not {line[key] for line in replies["train"]} & {line[key] for line in replies["test"]}
    ours, theirs = ({line["answer"]["reply"] for line in replies[part]} for part in ("train", "test"))
    assert not ours & theirs
    assert {line["reply_by"] for line in replies["test"]} == {"hand"}


def test_made_replies_hold_to_the_tone(replies: dict[str, list[dict[str, Any]]]) -> None:
    for line in replies["train"]:
        if line["reply_by"] == "sentences":
            opening, text, closing = line["answer"]["reply"].split("\n\n")
            assert (opening, closing) == ("Hello,", "Warm regards,\nLarkmoor Roasters")
            assert 2 <= len(re.findall(r"[.?](?= |$)", text)) <= 4, line["ticket_id"]
            assert not re.search(r"!|\bI\b|n't\b|[{}|]|  ", text), line["ticket_id"]


@pytest.mark.parametrize(
    ("intent", "text", "urgency"),
    [
        ("product_question", "Which filters fit?", "low"),
        ("product_question", "Which filters fit? I need them today.", "normal"),
        ("order_status", "Where is it?", "normal"),
        ("order_status", "Where is it? I'm STILL waiting.", "high"),
        ("order_status", "My stillness is gone.", "normal"),
        ("double_charge", "Taken twice.", "high"),
        ("double_charge", "Taken twice, please look today.", "high"),
    ],
    ids=["low", "raised", "normal", "raised by a waiting word", "part of a word", "high", "no higher than high"],
)
def test_urgency_follows_its_rule(intent: str, text: str, urgency: str) -> None:
    assert runpy.run_path(str(TOOLS / "build_replies.py"))["urgency_of"](intent, text) == urgency
