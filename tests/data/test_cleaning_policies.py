"""What the recipe says about doubted rows, from the files to the splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.input_rules import InputRules
from metier.data.prepared import PreparedData
from metier.errors import DataError

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
Rows = Callable[..., str]
KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
LONG = "The grinder that I bought from you last week does not work. It makes a noise, and then it stops. What can I do?"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def steps(folder: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))["steps"]
    return {each["step"]: each for each in found}


def test_secrets_are_masked_everywhere_and_in_texts_to_come(
    write: Write, prepare: Prepare, rows: Rows, tmp_path: Path
) -> None:
    pytest.importorskip("detect_secrets")
    train = write("train.csv", rows(40) + f"my token {KEY} fails,order\n")
    test = write("test.csv", rows(12, start=60) + f"is {KEY} my token,order\n")
    prepared = prepare(train=train, test=test, secrets="mask", leaks="allow")
    texts = [
        record.text for split in (prepared.train, prepared.validation, prepared.test) for record in split.records()
    ]
    assert sum("<SECRET>" in text for text in texts) == 2 and not any(KEY in text for text in texts)
    assert prepared.card.changed["secrets"] == 2
    assert steps(tmp_path / "prepared")["secrets"]["done"] == {"masked": 2}
    rules = InputRules.read(tmp_path / "prepared" / "input.json")
    assert rules.text_of({"text": f"and {KEY}"}) == "and <SECRET>"


@pytest.mark.parametrize(
    ("policy", "pieces"),
    [
        ("cut", [LONG[:59]]),
        ("split", [LONG[:59], LONG[60:]]),
    ],
)
def test_long_texts_of_train_are_cut_or_split(
    write: Write, prepare: Prepare, rows: Rows, tmp_path: Path, policy: str, pieces: list[str]
) -> None:
    train, test = (
        write("train.csv", rows(40) + f'"{LONG}",order\n'),
        write("test.csv", f'text,label\n"{LONG} Yes",order\n'),
    )
    validation = write("validation.csv", rows(10, start=80))
    lengths = {"longest": 60, "policy": policy}
    prepared = prepare(train=train, test=test, validation=validation, lengths=lengths, leaks="allow")
    assert [record.text for record in prepared.train.records() if record.row == 41] == pieces
    assert [record.text for record in prepared.test.records()] == [f"{LONG} Yes"]
    assert "too_long" in next(prepared.test.records()).flags
    changed = lines(tmp_path / "prepared" / "changed.jsonl")
    assert [(row["row"], row["repairs"]) for row in changed] == [(41, [f"text {policy}"])]


def test_long_texts_leave_with_their_reason(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    train = write("train.csv", rows(40) + f'"{LONG}",order\n')
    test = write("test.csv", rows(10, start=80))
    prepared = prepare(train=train, test=test, lengths={"longest": 60, "policy": "drop"}, validation_size=0.01)
    (row,) = (row for row in lines(tmp_path / "prepared" / "rejected.jsonl") if row["reason"] == "too long")
    assert (row["row"], row["step"], row["version"]) == (41, "lengths", 1)
    assert row["detail"] == f"it has {len(LONG)} characters, more than 60"
    assert "1 row left train: 1 too long (data.lengths.policy: drop)" in prepared.card.notices


def test_repairs_can_be_switched_off(write: Write, prepare: Prepare, rows: Rows) -> None:
    train = write("train.csv", rows(40) + "the cafÃ© is <b>shut</b>  today,order\n")
    usual = prepare(train=train, folder="usual")
    raw = prepare(train=train, folder="raw", repairs=[])
    assert usual.card.changed == {"mojibake": 1, "leftover markup": 1, "white space": 1}
    assert raw.card.changed == {}
    texts = {record.text for split in (raw.train, raw.validation, raw.test) for record in split.records()}
    assert "the cafÃ© is <b>shut</b>  today" in texts


def test_rows_that_give_an_evaluation_file_away_leave(
    write: Write, prepare: Prepare, rows: Rows, tmp_path: Path
) -> None:
    items = write("bench.jsonl", json.dumps({"text": LONG}) + "\n" + json.dumps({"text": "something else"}) + "\n")
    train = write("train.csv", rows(40) + f'"{LONG} Please help",order\n')
    fields: dict[str, Any] = {"train": train, "test": write("test.csv", rows(10, start=80)), "validation_size": 0.01}
    prepared = prepare(**fields, evaluation_files=[str(items)])
    (row,) = (row for row in lines(tmp_path / "prepared" / "rejected.jsonl") if "evaluation" in row["reason"])
    assert (row["row"], row["step"]) == (41, "contamination")
    assert steps(tmp_path / "prepared")["contamination"]["done"] == {"dropped": 1}
    assert any("gives away evaluation" in notice for notice in prepared.card.notices)
    with pytest.raises(DataError, match=r"data.leaks: is refuse, and the data has 1 row giving items of data.eval"):
        prepare(**fields, evaluation_files=[str(items)], leaks="refuse", folder="refused")


def test_near_duplicates_leave_where_the_recipe_says_so(write: Write, prepare: Prepare, rows: Rows) -> None:
    copies = "".join(f'"{LONG} {word}",order\n' for word in ("Please", "Thanks", "Regards"))
    fields: dict[str, Any] = {
        "train": write("train.csv", rows(40) + copies), "test": write("test.csv", rows(10, start=80)),
        "validation": write("validation.csv", rows(10, start=120)), "leaks": "allow",
    }  # fmt: skip
    kept = prepare(**fields, folder="kept")
    assert kept.card.splits["train"].flags["near_duplicate"] == 2 and len(kept.train) == 43
    dropped = prepare(**fields, folder="dropped", near_duplicates="drop")
    assert dropped.card.rejected["near duplicate"] == 2 and len(dropped.train) == 41
