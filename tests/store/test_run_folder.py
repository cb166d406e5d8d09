"""Who may write into a run folder, how far a run came, and where its files lie."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.errors import DiskFull, RunFolderError
from metier.store.run_folder import (
    AttemptFolder,
    DataFolder,
    RunFolder,
    RunState,
    claim_run_folder,
    default_run_path,
    find_run,
    finish_run,
    finish_stage,
    point_latest,
    read_state,
    stage_key,
)

HASH, OTHER = "a" * 64, "b" * 64


def _claim(path: Path, *, hash: str = HASH, resume: bool = False) -> RunState:
    return claim_run_folder(path, recipe_hash=hash, recipe_text="version: 1\n", resume=resume)


def test_the_names_are_those_of_the_design() -> None:
    folder, attempt = RunFolder(Path("r")), RunFolder(Path("r")).attempt(1)
    expected = {
        folder.recipe: "recipe.yaml",
        folder.lock: "lock.json",
        folder.events: "events.jsonl",
        folder.state: "run.json",
        folder.readme: "README.md",
        folder.data: "data",
        folder.split("train"): "data/train.parquet",
        folder.rejected: "data/rejected.jsonl",
        folder.changed: "data/changed.jsonl",
        folder.data_card: "data/card.json",
        DataFolder(folder.data).input: "data/input.json",
        folder.model: "model",
        folder.chosen: "model/chosen.json",
        folder.summary: "model/summary.json",
        folder.prompt: "model/prompt.json",
        folder.input: "model/input.json",
        folder.results("test"): "evaluation/test/results.json",
        folder.items("test", "tuned"): "evaluation/test/items-tuned.jsonl",
        folder.comparison("test"): "evaluation/test/comparison.json",
        folder.overfitting: "evaluation/overfitting.json",
        folder.report: "report",
        folder.report_page: "report/index.html",
        folder.figures: "report/figures",
        attempt.path: "attempts/001",
        attempt.recipe: "attempts/001/recipe.yaml",
        attempt.lock: "attempts/001/lock.json",
        attempt.model: "attempts/001/model",
        attempt.summary: "attempts/001/model/summary.json",
        attempt.history: "attempts/001/training/history.jsonl",
        attempt.history_summary: "attempts/001/training/history.json",
        attempt.checkpoints: "attempts/001/training",
        attempt.left_out: "attempts/001/training/left_out.jsonl",
        attempt.evaluation: "attempts/001/evaluation",
        attempt.results("validation"): "attempts/001/evaluation/validation/results.json",
    }
    assert {path.relative_to("r").as_posix(): name for path, name in expected.items()} == {
        name: name for name in expected.values()
    }
    assert isinstance(attempt, AttemptFolder)


@given(st.lists(st.text(min_size=1), unique=True, min_size=2, max_size=2))
def test_two_systems_never_share_a_file_or_leave_their_folder(names: list[str]) -> None:
    first, second = (RunFolder(Path("r")).items("test", name) for name in names)
    assert first != second
    assert first.parent == Path("r/evaluation/test")


def test_a_set_called_dots_stays_inside() -> None:
    assert RunFolder(Path("r")).results("..") == Path("r/evaluation/%2E%2E/results.json")


def test_a_new_run_claims_its_folder(tmp_path: Path) -> None:
    state = _claim(tmp_path / "runs" / "x")
    assert (state.complete, state.resumed, state.exit_code, state.stages) == (False, False, None, {})
    assert RunFolder(tmp_path / "runs" / "x").recipe.read_text() == "version: 1\n"
    assert read_state(RunFolder(tmp_path / "runs" / "x")) == state


def test_an_incomplete_run_asks_for_resume(tmp_path: Path) -> None:
    _claim(tmp_path / "x")
    finish_stage(RunFolder(tmp_path / "x"), "data", "k1")
    with pytest.raises(
        RunFolderError, match=r"x: holds an incomplete run of this recipe\. Add --resume to continue it"
    ):
        _claim(tmp_path / "x")


def test_resume_keeps_stages_and_removes_leftovers(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x")
    _claim(folder.path)
    finish_stage(folder, "data", "k1")
    leftover = folder.path / ".card.json.tmp-7-0123abcd"
    leftover.write_text("")
    state = _claim(folder.path, resume=True)
    assert (state.resumed, state.stages) == (True, {"data": "k1"})
    assert not leftover.exists()


def test_resume_without_an_earlier_run_begins_one(tmp_path: Path) -> None:
    assert not _claim(tmp_path / "x", resume=True).resumed


@pytest.mark.parametrize("resume", [False, True])
def test_a_complete_run_says_so(tmp_path: Path, resume: bool) -> None:
    folder = RunFolder(tmp_path / "x")
    _claim(folder.path)
    finish_run(folder, 3)
    state = _claim(folder.path, resume=resume)
    assert (state.complete, state.exit_code) == (True, 3)
    assert state.finished is not None


@pytest.mark.parametrize("resume", [False, True])
def test_another_recipe_is_refused(tmp_path: Path, resume: bool) -> None:
    _claim(tmp_path / "x")
    finish_stage(RunFolder(tmp_path / "x"), "data", "k1")
    message = (
        r"x: holds a run of another recipe \(aaaaaaaa\), wanted bbbbbbbb\. "
        r"Choose another --output, or remove the folder\."
    )
    with pytest.raises(RunFolderError, match=message):
        _claim(tmp_path / "x", hash=OTHER, resume=resume)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match=r"is not empty and holds no run\. Choose another --output"):
        _claim(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(RunFolderError, match=r"x: is a file, wanted a folder"):
        _claim(tmp_path / "x")


def test_an_empty_folder_or_one_with_leftovers_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".run.json.tmp-7-0123abcd").write_text("")
    assert not _claim(tmp_path).complete


def test_damaged_state_is_named(tmp_path: Path) -> None:
    _claim(tmp_path / "x")
    RunFolder(tmp_path / "x").state.write_text("{")
    with pytest.raises(RunFolderError, match=r"run\.json: is damaged"):
        _claim(tmp_path / "x", resume=True)


def test_stages_have_keys(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x")
    _claim(folder.path)
    assert stage_key(folder, "data") is None
    finish_stage(folder, "data", "k1")
    finish_stage(folder, "baselines", "k2")
    finish_stage(folder, "data", "k3")
    assert (stage_key(folder, "data"), stage_key(folder, "baselines")) == ("k3", "k2")


def test_a_full_disk_keeps_the_earlier_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "x")
    _claim(folder.path)
    finish_stage(folder, "data", "k1")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch, pytest.raises(DiskFull, match="no space left"):
        patch.setattr(os, "fsync", full)
        finish_stage(folder, "baselines", "k2")
    assert read_state(folder).stages == {"data": "k1"}


KILLED = """
import sys
from pathlib import Path
import metier.store.run_folder as room
room.write_text = lambda *_: sys.exit(9)
room.claim_run_folder(Path(sys.argv[1]), recipe_hash="a" * 64, recipe_text="version: 1", resume=False)
"""


def test_a_kill_while_claiming_leaves_a_folder_that_can_be_resumed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], check=False)
    assert not RunFolder(tmp_path / "x").recipe.exists()
    assert _claim(tmp_path / "x", resume=True).stages == {}
    assert RunFolder(tmp_path / "x").recipe.exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_did_nothing_leaves_its_folder_to_the_next(tmp_path: Path, resume: bool) -> None:
    _claim(tmp_path / "x")
    state = _claim(tmp_path / "x", hash=OTHER, resume=resume)
    assert (state.recipe_hash, state.resumed) == (OTHER, False)
    assert read_state(RunFolder(tmp_path / "x")) == state


def test_latest_leads_to_the_last_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = RunFolder(tmp_path / "runs" / name)
        _claim(folder.path)
        assert point_latest(folder) == tmp_path / "runs" / "latest"
    assert find_run(tmp_path / "runs" / "latest").path == (tmp_path / "runs" / "two").resolve()
    assert sorted(entry.name for entry in (tmp_path / "runs").iterdir()) == ["latest", "one", "two"]


def test_latest_is_a_text_file_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(Path, "symlink_to", refused)
    folder = RunFolder(tmp_path / "runs" / "one")
    _claim(folder.path)
    point_latest(folder)
    assert (tmp_path / "runs" / "latest").read_text() == "one\n"
    assert find_run(tmp_path / "runs" / "latest").path == folder.path


def test_latest_is_left_out_elsewhere_and_never_replaces_a_folder(tmp_path: Path) -> None:
    _claim(tmp_path / "x")
    assert point_latest(RunFolder(tmp_path / "x")) is None
    assert not (tmp_path / "latest").exists()
    _claim(tmp_path / "runs" / "latest")
    assert point_latest(RunFolder(tmp_path / "runs" / "x")) is None


@pytest.mark.parametrize(
    ("name", "message"), [("no", "no: does not exist, wanted a run folder"), ("x", "holds no run")]
)
def test_what_is_no_run_is_not_found(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(RunFolderError, match=message):
        find_run(tmp_path / name)


def test_a_run_is_found_and_has_a_default_place(tmp_path: Path) -> None:
    _claim(tmp_path / "x")
    assert find_run(tmp_path / "x") == RunFolder(tmp_path / "x")
    assert default_run_path("tickets", HASH) == Path("runs/tickets-aaaaaaaa")
