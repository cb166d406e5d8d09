"""A thousand rows through `metier predict`, killed in the middle: every row is answered once, in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.store.files import read_json_lines

ROWS = 1000
RECIPE = """
task: generation
model: {model}
data: {{train: train.jsonl}}
adaptation: {{method: lora, r: 2, layers: top 1}}
training: {{max_steps: 2, max_length: 128}}
generation: {{max_new_tokens: 6}}
evaluation: {{systems: [copy_input], selection_examples: 4, train_examples: 4, resamples: 200}}
hardware: {{device: cpu, dtype: float32, threads: 1}}
"""


def _rows(count: int, start: int = 0) -> str:
    rows = [{"question": f"where is order {start + number}", "answer": "on its way"} for number in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def started(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """`started(*arguments)`: a `metier` process in the test's folder, with its own cache."""
    (tmp_path / "train.jsonl").write_text(_rows(40), encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(_rows(ROWS, 1000), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(model=tiny_model("llama")), encoding="utf-8")
    place = {"METIER_CACHE": str(tmp_path / "cache"), "METIER_STATE": str(tmp_path / "state"), "OMP_NUM_THREADS": "1"}

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "metier", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **place}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    return start


def _ended(process: subprocess.Popen[bytes]) -> int:
    _, said = process.communicate(timeout=300)
    assert b"Traceback" not in said, said.decode()
    return process.returncode


@pytest.mark.slow
def test_a_thousand_rows_killed_in_the_middle_are_answered_once_and_in_order(
    started: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    assert _ended(started("run", "recipe.yaml", "--output", "run")) == 0
    assert _ended(started("predict", "run", "in.jsonl", "whole.jsonl")) == 0
    journal = tmp_path / "killed.jsonl.partial"
    process = started("predict", "run", "in.jsonl", "killed.jsonl")
    while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < 5):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert journal.exists() and not (tmp_path / "killed.jsonl").exists()
    assert _ended(started("predict", "run", "in.jsonl", "killed.jsonl")) == 0
    rows = read_json_lines(tmp_path / "killed.jsonl")
    assert [row["question"] for row in rows] == [f"where is order {1000 + number}" for number in range(ROWS)]
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not journal.exists()
