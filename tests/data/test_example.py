"""The built-in example: every planted flaw that this room looks for is found, and nothing else is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.locate import locate_files
from metier.data.prepared import PreparedData
from metier.recipe.sections import DataSection

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
