"""`data.ablation`: train as it was read lies beside the splits, and gives nothing of test or validation away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.prepare import load_prepared
from metier.data.prepared import PreparedData
from metier.data.splits import choices, conversations

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
Rows = Callable[..., str]

DIRT = "twice,order\ntwice,order\ntorn,order\ntorn,refund\n  spaced \t out ,order\n"


@pytest.fixture
def official(write: Write, rows: Rows) -> dict[str, Path]:
    """Train with dirt in rows 41 to 45, and files of their own for validation and test."""
    return {
        "train": write("train.csv", rows(40) + DIRT),
        "validation": write("dev.csv", rows(6, start=100)),
        "test": write("test.csv", rows(8, start=200)),
    }


def test_what_cleaning_removes_is_in_it(prepare: Prepare, official: dict[str, Path], tmp_path: Path) -> None:
    prepared = prepare(**official, ablation=True)
    assert prepared.raw is not None
    raw, cleaned = list(prepared.raw.records()), list(prepared.train.records())
    assert sorted({record.row for record in raw} - {record.row for record in cleaned}) == [42, 43, 44]
    assert [record.row for record in raw] == list(range(1, 46))
    assert len({record.id for record in raw}) == 45
    assert not any(record.flags for record in raw)
    assert any("data.ablation: 45 rows of train kept beside" in n and "(3 more than cleaned)" in n
               for n in prepared.card.notices)  # fmt: skip
    assert load_prepared(tmp_path / "prepared") == prepared


def test_texts_stand_as_they_stood(prepare: Prepare, official: dict[str, Path]) -> None:
    prepared = prepare(**official, ablation=True)
    assert prepared.raw is not None
    by_row = {record.row: record.text for record in prepared.raw.records()}
    cleaned = {record.row: record.text for record in prepared.train.records()}
    assert by_row[45] == "spaced \t out" and cleaned[45] == "spaced out"


def test_without_it_nothing_lies_beside(prepare: Prepare, official: dict[str, Path], tmp_path: Path) -> None:
    assert prepare(**official).raw is None
    assert not (tmp_path / "prepared" / "raw.parquet").exists()


def test_leaks_are_in_neither(write: Write, prepare: Prepare, rows: Rows) -> None:
    """Row 41 is a test row; rows 42 and 43 contradict each other, and validation has their text."""
    train = write("train.csv", rows(40) + "Shared with TEST,order\nin dev,order\nin dev,refund\n")
    dev = write("dev.csv", "text,label\nin  dev,order\nown,refund\n")
    test = write("test.csv", "text,label\nshared with test,refund\nanother,order\n")
    prepared = prepare(train=train, validation=dev, test=test, ablation=True)
    assert prepared.raw is not None
    assert [record.row for record in prepared.raw.records()] == list(range(1, 41))


def test_no_text_of_a_drawn_split_is_in_it(write: Write, prepare: Prepare, rows: Rows) -> None:
    """Every text three times: one copy of each is kept, and some of those are drawn for validation or test."""
    table = rows(90)
    copies = "".join(line + "\n" for line in table.splitlines()[1:])
    prepared = prepare(train=write("d.csv", table + copies + copies), ablation=True)
    assert prepared.raw is not None
    away = {record.text for split in (prepared.validation, prepared.test) for record in split.records()}
    raw = Counter(record.text for record in prepared.raw.records())
    assert away and not away & raw.keys()
    assert set(raw.values()) == {3} and raw.keys() == {record.text for record in prepared.train.records()}


def test_no_group_of_a_drawn_split_is_in_it(write: Write, prepare: Prepare) -> None:
    """Contradictions leave before validation is drawn; their groups may be drawn all the same."""
    lines = ["text,label,who"]
    for number in range(80):
        lines.append(f"message {number} of somebody,{('order', 'refund')[number % 2]},w{number % 20}")
    for number in range(20):
        lines += [f"torn {number},order,w{number}", f"torn {number},refund,w{number}"]
    prepared = prepare(train=write("d.csv", "\n".join(lines) + "\n"), group="who", ablation=True)
    assert prepared.raw is not None
    away = {record.group for split in (prepared.validation, prepared.test) for record in split.records()}
    raw = list(prepared.raw.records())
    assert not away & {record.group for record in raw}
    assert any(record.text.startswith("torn") for record in raw)


def test_limits_of_size_hold_for_both(prepare: Prepare, official: dict[str, Path]) -> None:
    prepared = prepare(**official, ablation=True, max_examples=20)
    assert prepared.raw is not None
    assert len(prepared.raw) == len(prepared.train) == 20
    shared = {r.row for r in prepared.raw.records()} & {r.row for r in prepared.train.records()}
    assert len(shared) >= 17  # drawn by the same hashes: only removed rows can take a place


def test_labels_are_those_of_the_file_under_the_recipes_names(write: Write, prepare: Prepare, rows: Rows) -> None:
    table = rows(60, labels=("0", "1"))
    prepared = prepare(train=write("d.csv", table), ablation=True, label_names={"0": "no", "1": "yes"})
    assert prepared.raw is not None
    assert {record.label for record in choices(prepared.raw.records())} == {"no", "yes"}


def test_merged_labels_stand_apart_again(write: Write, prepare: Prepare, rows: Rows) -> None:
    test = write("test.csv", rows(8, start=200))
    dev = write("dev.csv", rows(8, start=100))
    train = write("train.csv", rows(40) + "odd one,rare\nodd two,seldom\n")
    prepared = prepare(train=train, validation=dev, test=test, ablation=True, rare_labels="merge", rare_below=5)
    assert prepared.raw is not None
    assert {record.label for record in choices(prepared.raw.records())} == {"order", "refund", "rare", "seldom"}
    assert prepared.labels == ("order", "other", "refund")


def test_conversations_keep_the_repairs_of_their_texts(write: Write, prepare: Prepare) -> None:
    rows = [{"prompt": f"How many  are {n} and {n}?", "completion": f"They are {2 * n}."} for n in range(40)]
    rows += rows[:3]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    dev = "".join(json.dumps({"prompt": f"dev {n}", "completion": f"d{n}"}) + "\n" for n in range(5))
    test = "".join(json.dumps({"prompt": f"test {n}", "completion": f"t{n}"}) + "\n" for n in range(5))
    files = {"train": write("d.jsonl", text), "validation": write("v.jsonl", dev), "test": write("t.jsonl", test)}
    prepared = prepare(**files, task="generation", ablation=True)
    assert prepared.raw is not None
    assert len(prepared.raw) == 43 and len(prepared.train) == 40
    assert {r.messages for r in conversations(prepared.raw.records())} == {
        r.messages for r in conversations(prepared.train.records())
    }
    assert any("with the repairs of their texts" in notice for notice in prepared.card.notices)
