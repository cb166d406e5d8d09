"""Several processes do one run; one is killed, all are asked to stop: a resumed run ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import read_state

STEP = '"kind": "step_ended"'


def _hold_to(undisturbed: Any, desk: Any) -> None:
    """The same as one process alone: losses, weights, answers, verdict."""
    mine, its = desk.run, undisturbed.folder
    assert read_state(mine).complete
    assert not [path for path in mine.path.rglob("*") if ".tmp-" in path.name]
    rows = [read_json_lines(folder.attempt(1).history) for folder in (mine, its)]
    np.testing.assert_allclose(*([row["loss"] for row in each] for each in rows), rtol=1e-5)
    weights = [load_file(folder.model / "adapter_model.safetensors") for folder in (mine, its)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=1e-4, err_msg=name)
    for system in ("majority", "tfidf", "zero_shot", "tuned"):
        answers = [read_json_lines(folder.items("test", system)) for folder in (mine, its)]
        assert [row["answer"] for row in answers[0]] == [row["answer"] for row in answers[1]], system
    comparison = json.loads(mine.comparison("test").read_text(encoding="utf-8"))
    assert comparison["openings"] == 1
    assert read_json(mine.lock, format="lock")["hardware"]["batch_processes"] == 2


@pytest.fixture
def pair(new_desk: Callable[[], Any]) -> Any:
    """A desk whose recipe takes, with two processes, the steps of the undisturbed run."""
    desk = new_desk()
    desk.recipe(training={"per_device_train_batch_size": 4})
    return desk


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_rank_ends_the_others_with_4_and_the_run_goes_on(
    rank: int, pair: Any, in_processes: Any, undisturbed: Any
) -> None:
    ended = in_processes(
        2, pair.arguments(), environment=pair.environment, kill=signal.SIGKILL, ranks=[rank], file=pair.run.events,
        text=STEP, limit=90,
    )  # fmt: skip
    assert (ended.codes[rank], ended.codes[1 - rank]) == (-signal.SIGKILL, 4), ended.said
    if rank == 1:
        assert "process 0 of 2: another process ended without a word or did not answer." in ended.said[0]
    again = in_processes(2, pair.arguments("--resume"), environment=pair.environment, limit=120)
    assert again.codes == [0, 0], again.said
    assert again.said[1] == ""  # only the first one talks
    _hold_to(undisturbed, pair)


@pytest.mark.slow
def test_all_that_are_asked_to_stop_save_and_say_so_and_one_goes_on(
    pair: Any, in_processes: Any, launch: Any, undisturbed: Any
) -> None:
    ended = in_processes(
        2, pair.arguments(), environment=pair.environment, kill=signal.SIGTERM, ranks=[0, 1], file=pair.run.events,
        text=STEP, limit=90,
    )  # fmt: skip
    assert ended.codes == [4, 4], ended.said
    assert "training: interrupted after step" in ended.said[0]
    assert any(pair.run.attempt(1).checkpoints.glob("checkpoint-*"))
    # With another number of processes the step stays what it was, and that is said.
    again = launch(pair.arguments("--resume"), pair.environment)
    assert again.code == 0, again.said
    assert (
        "This run began with 2 processes and goes on with 1. An optimiser step stays what it was: "
        "training.per_device_train_batch_size counts for 2, and 1 process share out its examples."
    ) in again.said
    _hold_to(undisturbed, pair)


def test_a_fault_in_a_stage_of_the_first_ends_all_with_its_code(pair: Any, in_processes: Any) -> None:
    pair.write("mails.csv", "message,intent\nhello,card\n")
    ended = in_processes(2, pair.arguments(), environment=pair.environment, limit=60)
    assert ended.codes == [2, 2], ended.said
    assert ended.said[0].count("error:") == 1
    assert ended.said[1] == ""


@pytest.mark.slow
def test_the_command_that_starts_processes_ends_with_4_when_one_is_killed(pair: Any, undisturbed: Any) -> None:
    environment = {**os.environ, **pair.environment, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "metier", *pair.arguments(), "--nproc-per-node", "2"]
    with Path(pair.folder / "log").open("wb") as log:
        running = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 200
        while not (pair.run.events.exists() and STEP in pair.run.events.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(_child_of_rank(running.pid, 1), signal.SIGKILL)
        killed = time.monotonic()
        code = running.wait(timeout=100)
    assert code == 4, Path(pair.folder / "log").read_text()
    assert time.monotonic() - killed < 60
    again = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, timeout=250)
    assert again.returncode == 0, again.stderr
    _hold_to(undisturbed, pair)


def _child_of_rank(parent: int, rank: int) -> int:
    import psutil

    for child in psutil.Process(parent).children():
        if child.environ().get("RANK") == str(rank):
            return int(child.pid)
    raise AssertionError(f"there is no process of rank {rank}")
