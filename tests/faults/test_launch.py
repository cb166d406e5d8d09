"""`--nproc-per-node`: how processes are started, what is shown, and how it ends when one of them does not do well."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from metier import launch as launching
from metier.errors import ArgumentError, InterruptedRun, MissingPackage
from metier.fleet import run_on_cluster
from metier.launch import launch

said: list[str] = []


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`program(code)`: what every process runs instead of metier; it knows `rank`, `size` and `arguments`."""
    monkeypatch.setattr(launching, "GRACE", 0.5)
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def use(code: str) -> None:
        start = "import os, sys, time, signal\nrank, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])\n"
        whole = start + "arguments = sys.argv[1:]\n" + textwrap.dedent(code)
        monkeypatch.setattr(launching, "_command", lambda given: [sys.executable, "-c", whole, *given])

    return use


def test_every_process_knows_its_place_and_only_the_first_talks(
    program: Callable[[str], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program("""
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
        print("I am", [os.environ[name] for name in names], int(os.environ["MASTER_PORT"]) > 0, arguments)
    """)
    assert launch(["run", "recipe.yaml"], 2, said.append) == 0
    assert capfd.readouterr().out == "I am ['0', '0', '2', '2', '127.0.0.1'] True ['run', 'recipe.yaml']\n"


def test_the_code_of_the_first_fault_is_the_commands(program: Callable[[str], None]) -> None:
    program("time.sleep(0 if rank == 1 else 0.2); sys.exit({0: 1, 1: 5}[rank])")
    assert launch([], 2, said.append) == 5


def test_a_gate_that_failed_is_no_interruption(program: Callable[[str], None]) -> None:
    program("sys.exit(3)")
    assert launch([], 3, said.append) == 3


def test_what_a_process_said_is_shown_when_the_first_cannot_know(
    program: Callable[[str], None],
) -> None:
    program("""
        if rank == 1:
            print("no such accelerator", file=sys.stderr)
            sys.exit(5)
        time.sleep(60)
    """)
    started = time.monotonic()
    assert launch([], 2, said.append) == 5
    assert "no such accelerator" in said[-1]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_in_time(rank: int, program: Callable[[str], None]) -> None:
    program(f"""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as one that does not come back from its work
        os.kill(os.getpid(), signal.SIGKILL) if rank == {rank} else time.sleep(60)
    """)
    started = time.monotonic()
    message = (
        rf"^process {rank} of 2: was ended by SIGKILL\. What was saved is whole; run the same command with --resume to "
        r"go on\.$"
    )
    with pytest.raises(InterruptedRun, match=message):
        launch([], 2, said.append)
    assert time.monotonic() - started < 20


def test_a_killed_process_of_which_the_first_told_is_told_once(program: Callable[[str], None]) -> None:
    program("os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else (time.sleep(0.3), sys.exit(4))")
    assert launch([], 2, said.append) == 4


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stop_is_passed_on_once(stop: signal.Signals, tmp_path: Path) -> None:
    """Every process is asked once, and gets the time to save."""
    inner = f"""
import os, pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
rank, place = os.environ["RANK"], {str(tmp_path)!r}
pathlib.Path(place, "ready" + rank).touch()
until = time.monotonic() + 30
while not asked and time.monotonic() < until:
    time.sleep(0.02)
time.sleep(0.3)
pathlib.Path(place, "saved" + rank).write_text(str(len(asked)))
sys.exit(4)
"""
    code = f"""
import sys
from metier import launch
launch._command = lambda given: [sys.executable, "-c", {inner!r}]
sys.exit(launch.launch([], 2, print))
"""
    command = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    until = time.monotonic() + 30
    while not all((tmp_path / f"ready{rank}").exists() for rank in (0, 1)) and time.monotonic() < until:
        time.sleep(0.02)
    command.send_signal(stop)
    assert command.wait(timeout=30) == 4
    assert [(tmp_path / f"saved{rank}").read_text() for rank in (0, 1)] == ["1", "1"]


def test_one_of_several_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = (
        "--nproc-per-node: was given to a process that torchrun started. Use torchrun or --nproc-per-node, not both."
    )
    with pytest.raises(ArgumentError, match=message):
        launch([], 2, said.append)


def test_the_command_is_given_on_whole(monkeypatch: pytest.MonkeyPatch, metier: Any, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        launching, "launch", lambda arguments, processes, say: given.append((arguments, processes)) or 0
    )
    (tmp_path / "mails.csv").write_text("text,label\na,b\n", encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {train: mails.csv}\nmodel: minilm\n", encoding="utf-8")
    place = tmp_path / "run"
    options = ("--until", "data", "--set", "seed=3", "--training.max_steps", 2, "-o", place, "--resume")
    outcome = metier("run", recipe, "--nproc-per-node", 2, *options)
    assert outcome.code == 0, outcome.err
    settings = ["--set", "seed=3", "--set", "training.max_steps=2"]
    wanted = ["run", str(recipe), "--output", str(place), "--until", "data", *settings, "--resume"]
    assert given == [(wanted, 2)]


def test_without_ray_a_cluster_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r'^--cluster: needs Ray, which is not installed\. Install it: pip install "metier\[ray\]"$'
    with pytest.raises(MissingPackage, match=message) as caught:
        next(run_on_cluster("local", cast(Any, None), [], ()))
    assert caught.value.exit_code == 5


def test_a_cluster_has_its_own_workers(metier: Any, tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text("text,label\na,b\n", encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {train: mails.csv}\nmodel: minilm\n", encoding="utf-8")
    outcome = metier("run", recipe, "--cluster", "local", "--nproc-per-node", 2, "-o", tmp_path / "run")
    assert (outcome.code, "--cluster: was given with --nproc-per-node, wanted one of them" in outcome.err) == (2, True)
