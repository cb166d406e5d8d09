"""Decisions are written and read, whole, and nothing else is taken for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metier.data.record.decisions import Decision, Decisions, load_decisions, without_texts, write_decisions
from metier.data.record.findings import content_hash
from metier.errors import DataError


def decision(kind: str, text: str, answer: str, value: str | None = None, **more: Any) -> Decision:
    fields = {"source": "a.csv", "row": 4, "id": "id-0", "split": "train", **more}
    return Decision(content=content_hash(text, answer), decision=kind, value=value, **fields)


def of(tmp_path: Path, *lines: Decision) -> Decisions:
    write_decisions(tmp_path / "decisions.jsonl", lines)
    return load_decisions(tmp_path / "decisions.jsonl")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    lines = [decision("relabel", "t", "a", "b", by="ann", at="2026-11-22T09:00:00+00:00", note="ok"),
             decision("drop", "u", "a", id="id-1", reasons=("s, version 1: r",))]  # fmt: skip
    found = of(tmp_path, *lines)
    assert found.lines == tuple(lines)
    assert len(found.sha256) == 64
    first, second, _ = (tmp_path / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {"format": "metier.decisions", "version": 1}
    assert json.loads(second)["by"] == "ann"


def test_a_strict_run_keeps_no_text_of_them(tmp_path: Path) -> None:
    lines = without_texts([decision("edit", "t", "a", "Zebra", note="Quartz", by="ann")])
    write_decisions(tmp_path / "d.jsonl", lines)
    assert not {"Zebra", "Quartz"} & set((tmp_path / "d.jsonl").read_text(encoding="utf-8").split('"'))
    assert load_decisions(tmp_path / "d.jsonl").lines[0].by == "ann"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"data\.decisions: .*decisions\.jsonl does not exist, wanted a file that `metier data review apply`"),
        ("", r"decisions\.jsonl holds no decisions, wanted"),
        ('{"id": "x"}\n', r"decisions\.jsonl holds no decisions, wanted"),
        ('{"format": "metier.decisions", "version": 9}\n', r"has version 9 of metier\.decisions, wanted 1\. Use the"),
        (
            '{"format": "metier.decisions", "version": 1}\n{"torn',
            r"decisions\.jsonl, line 2: is damaged: no JSON object",
        ),
        ('{"format": "metier.decisions", "version": 1}\n{"id": "x"}', r"decisions\.jsonl, line 2|is missing"),
        (b"\xff\xfe", r"cannot be read, wanted"),
    ],
    ids=["missing", "empty", "headless", "newer", "torn", "incomplete", "bytes"],
)
def test_what_holds_no_decisions_is_refused(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "decisions.jsonl"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        load_decisions(path)


def test_an_unknown_decision_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has an unknown decision, wanted one of keep, drop, relabel, edit"):
        of(tmp_path, decision("burn", "t", "a"))
