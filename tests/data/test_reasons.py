"""Every removed or changed row carries step, version of its rules and hash: the table of reasons is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.data.cleaning import leakage, lengths, rare_labels
from metier.data.cleaning.rows import Doubt, Finding
from metier.data.prepared import PreparedData
from metier.data.privacy import tally
from metier.data.reasons import (
    CHANGES,
    LEAKAGE,
    LENGTHS,
    PERSONAL_DATA,
    RARE_LABELS,
    READING,
    RECORDS,
    REJECTIONS,
    REPAIRS,
    SPLITS,
    UNKNOWN,
    Rule,
    changes,
    row_sha256,
    rules_of,
    stamped,
)
from metier.data.record.restore import restore_rows
from metier.data.records import Rejected
from metier.data.table import raw_row

SAID = re.compile(
    r"""(?:RowFault\(|reason=|return )\s*f?"([a-z][^"]*)"(?=,)|^[A-Z_]+ = "((?:no|double) [a-z]+)"$""", re.MULTILINE
)
ROW = Rejected(source="a.csv", row=3, reason="empty text", content='{"text": ""}')


def test_every_reason_in_the_code_has_a_step(repository: Path) -> None:
    room = repository / "metier" / "data"
    found: dict[str, str] = {}
    for path in [*room.glob("*.py"), *(room / "record").glob("*.py")]:
        if path.name == "reasons.py":
            continue
        for first, second in SAID.findall(path.read_text(encoding="utf-8")):
            for reason in {"test", "validation"} if "{name}" in first else {""}:
                found[(first or second).replace("{name}", reason)] = path.name
    assert {"empty text", "no records", "no input", "duplicate", "also in test", "broken row"} <= found.keys()
    known = REJECTIONS.keys()
    missing = {reason: file for reason, file in found.items() if reason not in known and "{" not in reason}
    assert not missing, f"metier/data/reasons.py does not have {missing}"


def test_a_row_gets_its_step_and_its_hash() -> None:
    assert stamped(ROW) == replace(ROW, step="records", version=1, sha256=row_sha256('{"text": ""}'))
    assert stamped(stamped(ROW)) == stamped(ROW)


def test_what_a_row_has_stays() -> None:
    given = replace(ROW, reason="near duplicate", step="near_duplicates", version=4, sha256="ab")
    assert stamped(given) == given


def test_nothing_read_has_no_hash() -> None:
    assert stamped(replace(ROW, reason="broken row", content="")).sha256 == ""
    assert stamped(replace(ROW, reason="never heard of")).step == UNKNOWN.step


def test_a_steps_reasons_are_those_of_its_doubts() -> None:
    doubts = (Doubt(key=0, step="odd_texts", reason="odd length", detail=""),)
    rules = rules_of([Finding(step="odd_texts", version=3, looked_at=1, doubts=doubts)])
    assert rules == {"odd length": Rule(step="odd_texts", version=3)}
    row = stamped(replace(ROW, reason="odd length"), rules)
    assert (row.step, row.version) == ("odd_texts", 3)


def test_changes_are_told_step_by_step() -> None:
    lines = list(changes("a.csv", 3, ("quoted whole", "white space", "Unicode form"), sha256="ab", detail="d"))
    assert [(line.step, line.version, line.repairs) for line in lines] == [
        ("reading", 1, ("quoted whole",)), ("repairs", 1, ("white space", "Unicode form")),
    ]  # fmt: skip
    assert {(line.source, line.row, line.sha256, line.detail) for line in lines} == {("a.csv", 3, "ab", "d")}
    assert list(changes("a.csv", 3, (), sha256="ab")) == []


def test_versions_are_those_of_the_steps_that_the_table_speaks_for() -> None:
    steps = ((PERSONAL_DATA, tally), (LEAKAGE, leakage), (RARE_LABELS, rare_labels), (LENGTHS, lengths))
    for rule, module in steps:
        assert rule == Rule(step=module.STEP, version=module.VERSION)
    assert all(rule.version >= 1 for rule in (*REJECTIONS.values(), *CHANGES.values(), REPAIRS))
    assert {READING.step, RECORDS.step, SPLITS.step} == {"reading", "records", "splits"}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def messy(write: Callable[..., Path], prepare: Callable[..., PreparedData], rows: Callable[..., str]) -> Path:
    """The data folder of a messy file: broken, empty, doubled, torn and repaired rows."""
    extra = ",order\nsomething,\ntwo  spaces,order\nmy refund number 0 is late,refund\na,b,c,d\n"
    again = ((2, "grinder"), (4, "kettle"), (6, "address"))
    extra += "".join(f"my {word} number {n} is late,order\n" for n, word in again)
    extra += "my parcel number 1 is late,refund\n" + '"whole row, with one comma","order"\n'
    prepared = prepare(train=write("messy.csv", rows(60) + extra))
    return prepared.train.path.parent


def test_every_removed_and_every_changed_row_is_logged_whole(messy: Path) -> None:
    rejected, changed = _lines(messy / "rejected.jsonl"), _lines(messy / "changed.jsonl")
    assert {row["reason"] for row in rejected} >= {"empty text", "empty label", "contradiction", "duplicate"}
    assert changed
    for line in [*rejected, *changed]:
        assert line["step"], line["reason"]
        assert line["version"] >= 1
        assert re.fullmatch("[0-9a-f]{64}", line["sha256"])
    assert {row["reason"]: row["step"] for row in rejected}["duplicate"] == "splits"


def test_the_hash_is_that_of_the_row_as_it_stands_in_its_file(messy: Path, tmp_path: Path) -> None:
    """DQ-6: what is given back has the hash that was logged when it was removed or changed."""
    restored = restore_rows(messy, tmp_path / "rows.jsonl")
    assert restored.missing == ()
    logged = {(line["row"], line["sha256"]) for name in ("rejected", "changed")
              for line in _lines(messy / f"{name}.jsonl")}  # fmt: skip
    given = set()
    for line in _lines(tmp_path / "rows.jsonl"):
        content = line["content"]
        given.add((line["row"], row_sha256(content[""] if "" in content else raw_row(content))))
    assert given == logged


def test_a_merged_label_and_a_cut_text_are_logged(write: Callable[..., Path], prepare: Callable[..., PreparedData],
                                                  rows: Callable[..., str]) -> None:  # fmt: skip
    extra = "one of its kind,strange\n" + " ".join(f"word{n}" for n in range(80)) + ",order\n"
    prepared = prepare(
        train=write("messy.csv", rows(60) + extra), rare_labels="merge",
        lengths={"unit": "words", "longest": 30, "policy": "cut"},
    )  # fmt: skip
    lines = {line["row"]: line for line in _lines(prepared.train.path.parent / "changed.jsonl")}
    assert (lines[61]["step"], lines[61]["repairs"]) == ("rare_labels", ["rare label merged"])
    assert lines[61]["detail"] == "`strange` became `other`"
    if 62 in lines:  # it stands in train: only such are cut
        assert (lines[62]["step"], lines[62]["repairs"]) == ("lengths", ["text cut"])
    assert all(line["version"] == 1 and line["sha256"] for line in lines.values())
