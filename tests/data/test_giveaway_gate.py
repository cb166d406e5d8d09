"""Columns that give the label away: what is said before training, what is refused, what only goes into the findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.cleaning.rows import Finding
from metier.data.columns import Columns
from metier.data.giveaway_gate import FOUND, giveaway_notices, giveaway_of
from metier.data.prepared import PreparedData
from metier.data.sources import read_table
from metier.errors import DataError
from metier.recipe.sections import DataSection

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
WORDS = ("grinder", "kettle", "parcel", "invoice", "filter", "coffee", "address")


def planted(count: int = 80) -> str:
    """`queue` is the label in other words, `channel` says nothing."""
    body = []
    for i in range(count):
        label = ("refund", "order")[i * 7 % 3 % 2]
        text = f"my {WORDS[i % 7]} and {WORDS[i * 5 % 7]} number {i * 13 % 101}"
        body.append(f"{text},{label},team {label} {i % 4},{('mail', 'phone')[i % 5 % 2]}")
    return "\n".join(["text,label,queue,channel", *body]) + "\n"


def found_in(path: Path, text: tuple[str, ...] = ("text",), **fields: object) -> Finding:
    section = DataSection.model_validate({"train": str(path), **fields})
    columns = Columns(text=text, template=None, label="label", group=None, id=None)
    return giveaway_of([read_table(path)], section, columns)


def test_a_column_beside_the_text_is_found_and_not_said(write: Write) -> None:
    finding = found_in(write("d.csv", planted()))
    assert [(line["column"], line["way"]) for line in finding.tables[FOUND]] == [("queue", "contains")]
    assert finding.looked_at == 80
    assert giveaway_notices(finding) == []
    found_in(write("d.csv", planted()), giveaway="refuse")


def test_a_column_that_is_part_of_the_text_is_said_or_refused(write: Write, prepare: Prepare) -> None:
    path = write("d.csv", planted())
    text, queue = giveaway_notices(found_in(path, ("text", "queue")))
    assert text.startswith("text contains the label")
    assert queue.startswith("column `queue` contains the label in 100.0% of 80 rows, by chance ")
    prepared = prepare(train=path, text=["text", "queue"])
    assert any(notice.startswith("column `queue` contains the label") for notice in prepared.card.notices)
    message = r"data.giveaway: is refuse, and text contains the label in 100.0% of .* \(and 1 more\), wanted"
    with pytest.raises(DataError, match=message):
        prepare(train=path, text=["text", "queue"], giveaway="refuse", folder="refused")
    silent = prepare(train=path, text=["text", "queue"], giveaway="off", folder="silent")
    assert not any("`queue`" in notice for notice in silent.card.notices)


def test_a_text_that_begins_with_its_label_is_said(write: Write) -> None:
    lines = planted().splitlines()
    tagged = [f"[{line.split(',')[1]}] {line}" for line in lines[1:]]
    said = giveaway_notices(found_in(write("d.csv", "\n".join([lines[0], *tagged]) + "\n")))
    assert any(each.startswith("text begins with the label in 100.0% of 80 rows") for each in said)


def test_texts_that_repeat_give_nothing_away(write: Write) -> None:
    body = "".join(f"always the same {i % 10},{'ab'[i % 10 % 2]}\n" for i in range(100))
    finding = found_in(write("d.csv", "text,label\n" + body))
    assert [line["way"] for line in finding.tables[FOUND] if line["column"] == "(text)"] == ["determines"]
    assert not any(said.startswith("text ") for said in giveaway_notices(finding))


def test_rows_that_do_not_count_are_not_looked_at(write: Write) -> None:
    more = "no label,,x,mail\nput aside,-,x,mail\n,refund,x,mail\nanother,complaint,x,mail\n"
    fields: dict[str, Any] = {"ignore_labels": ["-"], "label_names": {"order": "sale"}, "labels": ["refund", "sale"]}
    finding = found_in(write("d.csv", planted() + more), **fields)
    assert finding.looked_at == 80
    # The column holds `order`, which is no label any more.
    assert [line["way"] for line in finding.tables[FOUND]] == ["determines"]


def test_the_column_in_which_the_label_lies_is_not_said_to_give_it_away(write: Write) -> None:
    turns = [[{"content": f"question {i * 7 % 60}"}, {"content": "ab"[i % 2] + "b"}] for i in range(60)]
    path = write("d.jsonl", "".join(json.dumps({"messages": each}) + "\n" for each in turns))
    columns = Columns(text=("messages[0].content",), template=None, label="messages[-1].content", group=None, id=None)
    finding = giveaway_of([read_table(path)], DataSection(train=str(path)), columns)
    assert finding.looked_at == 60
    assert not [line for line in finding.tables[FOUND] if line["column"] == "messages"]
