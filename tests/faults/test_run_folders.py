"""A run folder that is damaged, taken, or being written: said clearly, and nothing in it is changed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import RunFolderError
from metier.store.files import append_json_line, read_json_lines
from metier.store.locks import alone_in
from metier.store.run_folder import RunFolder


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"format": "metier.run"', b"\x00" * 64, b'{"format": "metier.results", "version": 1}', b"[]"],
    ids=["empty", "torn", "zeros", "other format", "list"],
)
@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["run", "resume"])
def test_a_damaged_state_is_named(damage: bytes, resume: list[str], desk: Any, metier: Callable[..., Any]) -> None:
    assert metier(*desk.arguments("--until", "data")).code == 0
    desk.run.state.write_bytes(damage)
    before = _content(desk.run.path)
    outcome = metier(*desk.arguments(*resume))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {desk.run.state}: ")
    assert "is damaged" in outcome.err or "has the format" in outcome.err
    assert _content(desk.run.path) == before


def test_a_folder_that_holds_something_else(desk: Any, metier: Callable[..., Any]) -> None:
    desk.run.path.mkdir()
    (desk.run.path / "thesis.docx").write_bytes(b"ten years of work")
    outcome = metier(*desk.arguments())
    assert outcome.code == 2
    assert outcome.err == f"error: {desk.run.path}: is not empty and holds no run. Choose another --output.\n"
    assert [path.name for path in desk.run.path.iterdir()] == ["thesis.docx"]


def test_a_file_where_the_folder_should_be(desk: Any, metier: Callable[..., Any]) -> None:
    desk.write("run", "a note")
    outcome = metier(*desk.arguments())
    assert outcome.code == 2
    assert outcome.err == f"error: {desk.run.path}: is a file, wanted a folder. Choose another --output.\n"
    assert desk.run.path.read_text() == "a note"


def test_a_folder_that_holds_another_run(desk: Any, metier: Callable[..., Any]) -> None:
    assert metier(*desk.arguments("--until", "data")).code == 0
    before = _content(desk.run.path)
    desk.recipe(seed=99)
    for more in ([], ["--resume"]):
        outcome = metier(*desk.arguments(*more))
        assert outcome.code == 2
        assert f"error: {desk.run.path}: holds a run of another recipe (" in outcome.err
        assert "Choose another --output, or remove the folder." in outcome.err
        assert _content(desk.run.path) == before


@pytest.mark.parametrize("until", ["data", "train"])
def test_data_that_changed_since_the_run_began(until: str, desk: Any, metier: Callable[..., Any]) -> None:
    """Checkpoints of the old data must not go on with the new."""
    desk.recipe(training={"num_train_epochs": 1}, evaluation={"systems": ["majority"]})
    assert metier(*desk.arguments("--until", until)).code == 0
    before = _content(desk.run.path)
    table = desk.folder / "mails.csv"
    table.write_text(table.read_text(encoding="utf-8") + "where is my money please,refund\n", encoding="utf-8")
    outcome = metier(*desk.arguments("--resume"))
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        f"error: {desk.run.path}: its data or metier itself changed since this run began. "
        "Choose another --output; what did not change is taken from the cache."
    )
    after = _content(desk.run.path)
    assert {name for name in after if after[name] != before.get(name)} <= {str(desk.run.state), str(desk.run.events)}


def test_weights_that_changed_since_the_run_began(desk: Any, metier: Callable[..., Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(desk.values["model"], model)
    changes = {"model": str(model), "training": {"num_train_epochs": 1}, "evaluation": {"systems": ["majority"]}}
    desk.recipe(**changes)
    assert metier(*desk.arguments("--until", "train")).code == 0
    tensors = {name: tensor * 1.5 for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    outcome = metier(*desk.arguments("--resume"))
    assert outcome.code == 2
    assert f"{desk.run.path}: the weights of a base model changed since this run began." in outcome.err


HOLDER = """
import sys, time
from pathlib import Path
from metier.store.locks import alone_in
from metier.store.run_folder import RunFolder
with alone_in(Path(sys.argv[1]), Path(sys.argv[1]) / "run.json"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold(repository: Path) -> Any:
    """`hold(folder)`: a process that holds the folder as a run does; it is killed at the end."""
    held: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository)
        held.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in held:
        process.kill()
        process.communicate()


def test_a_second_run_in_the_same_folder_is_refused(desk: Any, metier: Callable[..., Any], hold: Any) -> None:
    assert metier(*desk.arguments("--until", "data")).code == 0
    before = _content(desk.run.path)
    process = hold(desk.run.path)
    for more in ([], ["--resume"]):
        outcome = metier(*desk.arguments(*more))
        assert outcome.code == 2
        assert outcome.err == (
            f"error: {desk.run.path}: is being written by another process. "
            "Wait for it to end, or choose another --output.\n"
        )
    assert {name: data for name, data in _content(desk.run.path).items() if not name.endswith(".lock")} == before
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert metier(*desk.arguments("--resume", "--until", "data")).code == 0
    assert _content(desk.run.path).keys() == before.keys()


def test_two_runs_that_start_at_once_in_a_new_folder(tmp_path: Path, hold: Any) -> None:
    process = hold(tmp_path / "new")
    folder = RunFolder(tmp_path / "new")
    message = "new: is being written by another process"
    with pytest.raises(RunFolderError, match=message), alone_in(folder.path, folder.state):
        pass
    process.kill()
    process.wait()
    with alone_in(folder.path, folder.state):
        pass
    assert list((tmp_path / "new").iterdir()) == []


def test_a_foreign_folder_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with alone_in(tmp_path, RunFolder(tmp_path).state):
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


APPENDER = """
import sys
from pathlib import Path
from metier.store.files import append_json_line
for number in range(200):
    append_json_line(Path(sys.argv[1]), {"who": sys.argv[2], "number": number, "filler": "x" * 300})
"""


def test_processes_that_append_at_once_lose_no_line(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_json_line(path, {"who": "first", "number": 0})
    with path.open("ab") as file:
        file.write(b'{"torn')
    commands = [[sys.executable, "-c", APPENDER, str(path), who] for who in ("a", "b", "c")]
    running = [subprocess.Popen(command, cwd=repository) for command in commands]
    assert [process.wait() for process in running] == [0, 0, 0]
    rows = read_json_lines(path)
    assert len(rows) == 601
    for who in ("a", "b", "c"):
        assert [row["number"] for row in rows if row["who"] == who] == list(range(200))
