"""The pure parts of the measuring harness: spreads, interleaving, the limit model, ratios, and the page."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.context import Tried, best_of, search
from bench.limit import Shape, forward_flops, training_flops
from bench.page import NOT_MEASURED, write_page
from bench.protocol import idle_share
from bench.results import compared, computes_in, doubts, meets, shares
from bench.rows.lora import thrifty
from bench.rows.target import judged
from bench.side import Place, WorkerFailed, start
from bench.spread import Spread, alternating, interleave, quantile, ratio
from bench.table import ROWS

SHAPE = Shape(layers=30, hidden=576, inner=1536, heads=9, kv_heads=3, vocabulary=49152)


def test_quantiles_are_numpys() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 9.0, 3.0]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share))


def test_both_sides_work_in_turn() -> None:
    assert alternating(3) == "ABBAAB"
    seen: list[str] = []
    left, right = interleave(3, lambda n: seen.append(f"a{n}") or n, lambda n: seen.append(f"b{n}") or -n)
    assert seen == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert (left, right) == ([0, 1, 2], [0, -1, -2])


def test_ratio_compares_neighbours_in_time() -> None:
    """A machine that slows down to half does not change it."""
    assert ratio([10.0, 5.0], [2.0, 1.0]) == Spread(5.0, 5.0, 5.0, 2)


def test_limit_model_counts_the_weights_of_the_model() -> None:
    """SmolLM2-135M: 106 M weights in its blocks, 28 M in its output layer."""
    assert SHAPE.layers * SHAPE.block_weights == pytest.approx(106e6, rel=0.005)
    assert SHAPE.head_weights == pytest.approx(28.3e6, rel=0.005)
    everything = training_flops(SHAPE, rank=0, tokens=1, targets=1, length=0, learning=30)
    assert everything == pytest.approx(4 * (30 * SHAPE.block_weights + SHAPE.head_weights))
    quarter = training_flops(SHAPE, rank=0, tokens=1, targets=0, length=0, learning=10)
    assert quarter == pytest.approx((2 + 2 / 3) * 30 * SHAPE.block_weights)
    assert forward_flops(SHAPE, tokens=2, targets=0, length=0) == pytest.approx(4 * 30 * SHAPE.block_weights)


def test_search_varies_the_best_setting_and_survives_a_fault() -> None:
    def measure(setting: Any) -> float:
        if setting["b"] == 3:
            raise WorkerFailed("no memory")
        return float(setting["a"] * setting["b"])

    tried = search({"a": 1, "b": 1}, {"a": [2, 5], "b": [2, 3]}, measure)
    assert [each.setting for each in tried] == [
        {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 5, "b": 1}, {"a": 5, "b": 2}, {"a": 5, "b": 3},
    ]  # fmt: skip
    assert (tried[-1].rate, tried[-1].fault) == (None, "no memory")
    assert best_of(tried).setting == {"a": 5, "b": 2}


def test_memory_is_taken_of_a_small_batch_that_is_nearly_as_fast() -> None:
    tried = [Tried({"batch": 16}, 10.0), Tried({"batch": 8}, 9.5), Tried({"batch": 4}, 7.0), Tried({"batch": 2}, None)]
    assert thrifty(tried, "batch") == {"batch": 8}


def result(**changes: Any) -> dict[str, Any]:
    mine = [{"examples": 80.0, "seconds": 8.0, "user": 16.0, "system": 0.4} for _ in range(5)]
    theirs = [{"examples": 80.0, "seconds": 40.0, "user": 80.0, "system": 8.0} for _ in range(5)]
    machine = {"cpu": "a processor", "memory_bytes": 8e9, "system": "Linux", "python": "3.11", "load": 0.1}
    return {
        "row": "lora-short", "unit": "examples", "command": "python -m bench lora-short", "date": "2026-01-01",
        "cores": "0,1", "model": "a model",
        "seconds_in_all": 60.0, "machine": {**machine, "versions": {"metier": {"torch": "2"}}},
        "parity": {"equal": True}, "idle": {"metier": [0.0, 0.0], "peer": [0.0, 0.0]},
        "gemm": {"bfloat16 2048": 1e11, "float32 2048": 5e10}, "flops": {"metier": 5e9, "peer": 1e10},
        "metier": {"setting": {"precision": "bfloat16"}, "repeats": mine},
        "peer": {"name": "TRL", "setting": {"precision": "float32"}, "repeats": theirs},
        "memory": {"metier": [2e9, 3e9], "peer": [8e9, 5e9]}, **changes,
    }  # fmt: skip


def test_rates_memory_and_shares_of_a_result() -> None:
    found = compared(result())
    assert (found["speed"].metier.median, found["speed"].peer.median, found["speed"].ratio.median) == (10.0, 2.0, 5.0)
    assert found["memory"].ratio.median == pytest.approx(0.4)
    assert meets(5.0, 3.5, "speed") and not meets(0.4, 0.35, "memory")
    assert [shares(result(), side).median for side in ("metier", "peer")] == pytest.approx([0.5, 0.4])
    seconds = result(unit="seconds")
    assert compared(seconds)["speed"].ratio.median == 5.0


def test_autocast_computes_in_bfloat16() -> None:
    assert [computes_in({"precision": p}) for p in ("float32", "float32 autocast", "bfloat16")] == [
        "float32", "bfloat16", "bfloat16",
    ]  # fmt: skip


def test_a_measurement_without_parity_or_with_a_busy_neighbour_is_doubted() -> None:
    assert doubts(result(), 0.02) == []
    assert doubts(result(parity={"equal": False}, idle={"peer": [0.5]}), 0.02) == [
        "parity was not shown", "peer used 50% of a core while it had to wait",
    ]  # fmt: skip


def test_page_shows_what_was_measured_and_says_what_was_not(tmp_path: Path) -> None:
    raw = tmp_path / "performance"
    raw.mkdir()
    (raw / "lora-short.json").write_text(json.dumps(result()), encoding="utf-8")
    text = write_page(raw, tmp_path / "performance.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    short = next(line for line in lines if ROWS["lora-short"].title in line)
    assert "10 examples/s | 2 examples/s | **5x (5 to 5)** | 5 | 3.5x | 5x | goal | 50% / 40%" in short
    other = next(line for line in lines if ROWS["generation"].title in line)
    assert NOT_MEASURED in other
    assert "lora-chat" not in text.split("## ")[1]
    order = [text.index(ROWS[name].title) for name in ROWS]
    assert order == sorted(order), "rows without a trick come first"


def test_time_to_target_counts_start_cache_and_steps() -> None:
    """The peer is at its best less half a point after 4 steps; of metier's ways the fastest one counts."""
    curves = [
        {"way": "all", "learning_rate": 1e-3, "built": 0.0, "seconds": 9.0,
         "curve": [{"step": 4, "accuracy": 0.9}, {"step": 8, "accuracy": 0.903}]},
        {"way": "top 20", "learning_rate": 1e-3, "built": 2.0, "seconds": 7.0,
         "curve": [{"step": 4, "accuracy": 0.85}, {"step": 8, "accuracy": 0.897}]},
        {"way": "top 10", "learning_rate": 2e-3, "built": 3.0, "seconds": 5.0,
         "curve": [{"step": 4, "accuracy": 0.8}, {"step": 8, "accuracy": 0.899}]},
    ]  # fmt: skip
    speeds = {
        "all": {"metier": {"ready": 5.0, "step": [10.0]}, "peer": {"ready": 10.0, "step": [20.0]}},
        "top 20": {"metier": {"ready": 5.0, "step": [0.5]}, "peer": {"ready": 10.0, "step": [18.0]}},
        "top 10": {"metier": {"ready": 5.0, "step": [1.0]}, "peer": {"ready": 10.0, "step": [15.0]}},
    }
    found = judged(curves, speeds, "accuracy", 8)
    assert found["times"]["all layers"] == {"metier": [5.0 + 8.0], "peer": [10.0 + 4 * 20.0]}
    assert found["times"]["top layers"] == {"metier": [5.0 + 8 * 0.5], "peer": [10.0 + 8 * 15.0]}
    assert found["reached"]["all"]["target"] == pytest.approx(0.898)


WORKER = """
from bench.protocol import Channel, Steps
channel = Channel()
print("a library that prints")
steps = Steps(channel)
channel.reply(ready=True)
going = steps.wait()
while going:
    steps.count(tokens=3)
    going = steps.ended(loss=1.5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are pinned with taskset")
def test_a_worker_does_what_is_ordered_and_rests_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in.py").write_text(WORKER, encoding="utf-8")
    place = Place(tmp_path, (min(os.sched_getaffinity(0)),), tmp_path / "work")
    monkeypatch.setattr("bench.side.ROOT", f"{Path(__file__).resolve().parents[2]}:{tmp_path}")
    with start(place, "mine", ("metier", "stand_in"), {}, {}) as side:
        reply = side.ask(do="measure", steps=2)
        assert (reply["tokens"], reply["losses"]) == (6, [1.5, 1.5])
        assert side.ask(do="measure", steps=1)["tokens"] == 3
        assert idle_share(side.process.pid, 0.1) < 0.5
    assert side.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="workers are pinned with taskset")
def test_a_worker_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no such model')", encoding="utf-8")
    place = Place(tmp_path, (min(os.sched_getaffinity(0)),), tmp_path / "work")
    monkeypatch.setattr("bench.side.ROOT", f"{Path(__file__).resolve().parents[2]}:{tmp_path}")
    with pytest.raises(WorkerFailed, match="no such model"):
        start(place, "mine", ("metier", "broken"), {}, {})


def test_environment_that_was_not_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"bench\.peers make trl"):
        Place(tmp_path, (0,), tmp_path).python("trl")


def test_workers_keep_the_protocol_to_themselves() -> None:
    """Peers' workers import their peer and the protocol, never metier."""
    folder = Path(__file__).resolve().parents[2] / "bench" / "peers"
    for path in folder.glob("*_worker.py"):
        assert "metier" not in [line.split()[1].split(".")[0] for line in path.read_text("utf-8").splitlines()
                                if line.startswith(("import ", "from "))], path.name  # fmt: skip
