"""Openings of a test set are counted by run, outside the run folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.evaluation.seal import LEDGER, openings, record_opening


def test_another_run_counts_the_same_run_does_not(tmp_path: Path) -> None:
    assert openings("set", folder=tmp_path) == 0
    assert record_opening("set", "run-1", folder=tmp_path) == 1
    assert record_opening("set", "run-1", folder=tmp_path) == 1
    assert record_opening("set", "run-2", folder=tmp_path) == 2
    assert openings("set", folder=tmp_path) == 2


def test_sets_are_counted_apart(tmp_path: Path) -> None:
    record_opening("one", "run-1", folder=tmp_path)
    assert record_opening("two", "run-1", folder=tmp_path) == 1


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    record_opening("set", "run-1", folder=tmp_path)
    with (tmp_path / LEDGER).open("a", encoding="utf-8") as ledger:
        ledger.write('{"fingerprint": "set", "ru')
    assert openings("set", folder=tmp_path) == 1
    assert record_opening("set", "run-2", folder=tmp_path) == 2


def test_the_ledger_lies_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_STATE", str(tmp_path / "state"))
    assert record_opening("set", "run-1") == 1
    assert openings("set") == 1
    assert (tmp_path / "state").exists()


def test_the_ledger_holds_no_record(tmp_path: Path) -> None:
    record_opening("set", "run-1", folder=tmp_path)
    text = (tmp_path / LEDGER).read_text(encoding="utf-8")
    assert text.startswith('{"fingerprint": "set", "run": "run-1", "time": ')
