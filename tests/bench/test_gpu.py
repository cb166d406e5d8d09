"""The GPU bench without a GPU: its rows, what it does with a process that fails, its page, and a refusal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import gpu, gpu_models
from bench.gpu import Bench, Row, asked, line_of, page, rows


def test_every_size_has_a_row_of_each_side_and_no_row_is_there_twice() -> None:
    for dry, sizes in ((True, {"tiny"}), (False, {"0.5B", "1.5B", "8B"})):
        found = rows(dry=dry)
        assert {row.job["size"] for row in found} == sizes
        assert {row.job["device"] for row in found} == {"cpu" if dry else "cuda"}
        for side in ("metier", "TRL"):
            assert {row.job["size"] for row in found if row.side == side and row.job["do"] == "train"} == sizes
        assert len({(row.title, row.side, row.setting) for row in found}) == len(found)
        assert {"train", "score", "write"} == {row.job["do"] for row in found}


def test_both_sides_get_the_same_work() -> None:
    by_title: dict[str, list[dict[str, Any]]] = {}
    for row in rows(dry=False):
        job = {key: value for key, value in row.job.items() if key != "setting"}
        by_title.setdefault(row.title, []).append(job)
    assert all(job == jobs[0] for jobs in by_title.values() for job in jobs)


def test_a_process_that_fails_or_takes_long_says_so() -> None:
    assert asked([sys.executable, "-c", "print('words'); print('{\"a\": 1}')"], 30) == {"a": 1}
    assert asked([sys.executable, "-c", "raise SystemExit('no card')"], 30) == {"fault": "no card"}
    assert asked([sys.executable, "-c", "import time; time.sleep(60)"], 0.3) == {"fault": "not done within 0 s"}
    assert asked([sys.executable, "-c", ""], 30) == {"fault": "it said nothing"}


def test_no_row_begins_when_time_is_over() -> None:
    bench = Bench("cpu", time.monotonic() + 5, sys.executable)
    bench.run(rows(dry=True)[0])
    assert bench.found[0][1] == {"fault": "no time left"}


def test_a_dry_run_cannot_be_taken_for_a_measurement() -> None:
    bench = Bench("cpu", 0.0, sys.executable, checks="All checks hold.")
    row = rows(dry=True)[0]
    bench.found.append((row, {"tokens": 1234.5, "examples": 2, "allocated": 2e9, "share": 0.25, "released": 1e9}))
    bench.found.append((row, {"fault": "out of memory"}))
    text = page(bench, dry=True, seconds=3)
    assert text.startswith("# Dry run of the GPU rows: small shapes on the CPU, no measurement\n")
    assert "| 1,234 | 2.0 | 2.00 GB | 25% | 1.00 GB of weights out of memory |" in text
    assert "| | | | | out of memory |" in text and "All checks hold." in text
    scored = Row("Scoring", "metier", "x", {"do": "score"}, 1)
    assert "3.0 inputs/s, transformers 1.5, same answer 50%" in line_of(
        scored, {"inputs": 3, "reference": 1.5, "same": 0.5}
    )


def test_without_a_card_nothing_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 5
    assert "No CUDA card is here. `bash bench/gpu.sh --dry-run` runs everything small on the CPU." in (
        capsys.readouterr().err
    )


def test_the_work_is_the_same_every_time_and_counted_right() -> None:
    work = gpu_models.shared_work("tiny", count=3, shared=10, own=4, answer=2)
    assert work == gpu_models.shared_work("tiny", count=3, shared=10, own=4, answer=2)
    assert (work.tokens, work.targets, work.mean_length) == (3 * 15, 6, 16.0)
    assert len({tuple(prompt[:10]) for prompt, _ in work.examples}) == 1
    natural = gpu_models.natural_work("tiny", count=20, longest=90)
    lengths = {len(prompt) + len(answer) for prompt, answer in natural.examples}
    assert len(lengths) > 5 and max(lengths) <= 90


@pytest.mark.slow
def test_shapes_are_the_models_they_stand_for() -> None:
    import torch

    published = {"0.5B": 494_032_768, "1.5B": 1_543_714_304, "8B": 8_030_261_248}
    for size, parameters in published.items():
        with torch.device("meta"):
            network = gpu_models.make_network(size, "meta")
        assert sum(p.numel() for p in network.parameters()) == parameters, size


@pytest.mark.slow
def test_the_dry_run_runs(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--dry-run", "--seconds", "250"], cwd=repository, capture_output=True,
        text=True, encoding="utf-8", check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All checks hold." in done.stdout and not (repository / "docs/results/gpu.md").exists()
