"""Openings of a test set are counted by run, outside the run folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.errors import RunFolderError
from metier.evaluation.seal import LEDGER, open_once, openings, record_opening
from metier.store.files import read_json


def test_another_run_counts_the_same_run_does_not(tmp_path: Path) -> None:
    assert openings("set", folder=tmp_path) == 0
    assert record_opening("set", "run-1", folder=tmp_path) == 1
    assert record_opening("set", "run-1", folder=tmp_path) == 1
    assert record_opening("set", "run-2", folder=tmp_path) == 2
    assert openings("set", folder=tmp_path) == 2


def test_sets_are_counted_apart(tmp_path: Path) -> None:
    record_opening("one", "run-1", folder=tmp_path)
    assert record_opening("two", "run-1", folder=tmp_path) == 1


def test_a_run_that_goes_on_keeps_its_place_when_others_came_after(tmp_path: Path) -> None:
    record_opening("set", "run-1", folder=tmp_path)
    record_opening("set", "run-2", folder=tmp_path)
    assert record_opening("set", "run-1", folder=tmp_path) == 1


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


def test_a_moved_run_resumes_its_own_opening(tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "opening.json", tmp_path / "there" / "opening.json"
    assert open_once("set", "run in here", here, folder=tmp_path) == 1
    record_opening("set", "another run", folder=tmp_path)
    here.parent.rename(there.parent)
    assert open_once("set", "run in there", there, folder=tmp_path) == 1
    assert openings("set", folder=tmp_path) == 2


def test_a_kill_between_the_two_files_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "opening.json"
    for broken in ("metier.evaluation.seal.record_opening", "metier.evaluation.seal.append_json_line"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(broken, _killed)
            open_once("set", "run-1", path, folder=tmp_path)
        assert openings("set", folder=tmp_path) == 0
    assert open_once("set", "another name", path, folder=tmp_path) == 1
    assert read_json(path, format="opening")["run"] == "run-1"


def _killed(*_args: object, **_options: object) -> int:
    raise KeyboardInterrupt


def test_a_lost_ledger_does_not_make_a_later_opening_the_first(tmp_path: Path) -> None:
    for number in (1, 2):
        record_opening("set", f"run-{number}", folder=tmp_path)
    path = tmp_path / "opening.json"
    assert open_once("set", "run-3", path, folder=tmp_path) == 3
    (tmp_path / LEDGER).unlink()
    assert open_once("set", "run-3", path, folder=tmp_path) == 3
    assert openings("set", folder=tmp_path) == 1


def test_other_data_in_the_same_folder_is_another_opening(tmp_path: Path) -> None:
    path = tmp_path / "opening.json"
    open_once("one", "run-1", path, folder=tmp_path)
    assert open_once("two", "run-2", path, folder=tmp_path) == 1
    assert [openings(name, folder=tmp_path) for name in ("one", "two")] == [1, 1]


def test_a_damaged_opening_is_told(tmp_path: Path) -> None:
    path = tmp_path / "opening.json"
    path.write_text('{"format": "metier.opening", "version": 1, "run": 3}', encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"opening\.json: fingerprint: is missing"):
        open_once("set", "run-1", path, folder=tmp_path)
