"""Predicted beside measured, and what later predictions learn from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metier.device import Hardware
from metier.planning.calibrate import machine_name
from metier.planning.kept import keep_plan, kept_plan
from metier.planning.nominal import nominal_rates
from metier.planning.outlook import MemoryEstimate, Plan, StageEstimate
from metier.planning.ratios import Ratios, earlier_ratios, note_ratios
from metier.planning.receipt import write_prediction, write_receipt
from metier.planning.speed import Shape
from metier.planning.spent import measured_parts
from metier.planning.whole import Found, Ground, put_together
from metier.recipe.sections import Recipe
from metier.store.cache import state_root
from metier.store.files import append_json_line, read_json
from metier.store.run_folder import RunFolder

MACHINE = {"cpu": "test", "cores": 2}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _stage(part: str, seconds: float) -> StageEstimate:
    return StageEstimate(
        stage=part, what=part, tokens=1, logical_tokens=1, flops=1.0, seconds=seconds, low=0.8 * seconds,
        high=1.5 * seconds, part=part,
    )  # fmt: skip


@pytest.fixture
def plan(tiny_base: Callable[..., Any]) -> Callable[..., Plan]:
    """`plan(ratios, **hardware)`: 100 s of training and 20 of the rest, 1 GB."""
    shape = Shape.of(tiny_base("llama").network, vocabulary=320, number_bytes=4)

    def make(ratios: dict[str, Ratios] | None = None, **hardware: Any) -> Plan:
        recipe = Recipe.model_validate({"data": {"train": "a.csv"}, "hardware": hardware})
        moments = (
            MemoryEstimate(moment="baselines", program=400_000_000, weights=100_000_000),
            MemoryEstimate(moment="training", program=400_000_000, weights=100_000_000, activations=500_000_000),
        )
        found = Found(
            stages=(_stage("data", 2.0), _stage("training", 100.0), _stage("test", 15.0), _stage("report", 3.0)),
            moments=moments, cache_bytes=1, disk_bytes=1, assumptions=("nothing",),
        )  # fmt: skip
        rates = nominal_rates(shape, 1e9, weights_learn=False)
        return put_together(recipe, found, rates, Ground(available=2_000_000_000, ratios=ratios or {}))

    return make  # fmt: skip


def _event(folder: RunFolder, after: float, kind: str, **fields: Any) -> None:
    time = (BEGAN + timedelta(seconds=after)).isoformat(timespec="milliseconds")
    append_json_line(folder.events, {"time": time, "kind": kind, **fields})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of 5 s of data, 30 s before the first of two steps of 40 s, 10 s after them, 25 s of test."""
    folder = RunFolder(tmp_path / "run")
    _event(folder, 5, "stage_finished", stage="data", seconds=5.0, reused=False)
    _event(folder, 75, "step_ended", step=1, seconds=40.0)
    _event(folder, 115, "step_ended", step=2, seconds=40.0)
    _event(folder, 125, "stage_finished", stage="attempt tuned", seconds=120.0, reused=False)
    _event(folder, 150, "stage_finished", stage="test", seconds=25.0, reused=False)
    return folder


def test_the_whole_is_the_sum_and_the_fullest_moment(plan: Callable[..., Plan]) -> None:
    found = plan(price_per_hour=3.6, currency="EUR", watts=360)
    assert (found.seconds, found.low, found.high) == (120.0, pytest.approx(96.0), pytest.approx(180.0))
    assert (found.memory.moment, found.memory_bytes) == ("training", 1_000_000_000)
    assert found.parts == {"data": 2.0, "training": 100.0, "test": 15.0, "report": 3.0}
    assert found.cost is not None and found.cost.value == pytest.approx(0.12) and found.currency == "EUR"
    assert found.watt_hours is not None and found.watt_hours.value == pytest.approx(12.0)
    assert "assumed" in found.power


def test_what_nobody_said_is_not_known(plan: Callable[..., Plan]) -> None:
    found = plan()
    assert (found.cost, found.watt_hours) == (None, None)
    assert "were not measured" in found.interval


def test_earlier_runs_correct_a_prediction(plan: Callable[..., Plan]) -> None:
    ratios = {"seconds": Ratios(runs=4, middle=1.5, low=1.2, high=2.0),
              "memory": Ratios(runs=4, middle=1.1, low=1.05, high=1.3)}  # fmt: skip
    found = plan(ratios)
    assert (found.seconds, found.low, found.high) == (180.0, pytest.approx(144.0), pytest.approx(240.0))
    assert (found.memory_bytes, found.memory_low, found.memory_high) == (1_100_000_000, 1_050_000_000, 1_300_000_000)
    assert found.memory.total == 1_000_000_000
    assert "corrected by 4 earlier runs on this machine, which took 1.20 to 2.00 times" in found.interval


def test_parts_of_a_run_are_read_from_its_log(run: RunFolder) -> None:
    from metier.store.files import read_json_lines

    parts, reused = measured_parts(read_json_lines(run.events))
    assert parts == pytest.approx({"data": 5.0, "trunk": 30.0, "training": 80.0, "validation": 10.0, "test": 25.0})
    assert not reused


def test_a_stage_from_an_earlier_run_is_not_compared(run: RunFolder, plan: Callable[..., Plan]) -> None:
    write_prediction(run, plan(), "predicted", MACHINE, None)
    _event(run, 160, "stage_finished", stage="attempt other", seconds=0.0, reused=True)
    receipt = write_receipt(run, peak_bytes=None, joules=None, keep=False)
    assert receipt is not None and not receipt.whole
    memory, total = receipt.line("memory"), receipt.line("time")
    assert memory is not None and memory.measured is None and memory.ratio is None and "resumed" in memory.note
    assert total is not None and total.note == "taken from an earlier run"


def test_the_receipt_stands_beside_the_prediction(run: RunFolder, plan: Callable[..., Plan]) -> None:
    write_prediction(run, plan(price_per_hour=3.6, watts=360), "predicted", MACHINE, 1000.0)
    receipt = write_receipt(run, peak_bytes=1_200_000_000, joules=8200.0, keep=False)
    assert receipt is not None and receipt.whole
    lines = {line.what: line for line in receipt.lines}
    assert lines["memory"].ratio == pytest.approx(1.2)
    assert (lines["time"].predicted, lines["time"].measured) == (pytest.approx(117.0), pytest.approx(150.0))
    assert lines["training"].ratio == pytest.approx(0.8)
    assert lines["energy"].measured == pytest.approx(2.0), "the machine's own counter"
    assert lines["cost"].measured == pytest.approx(0.15)
    kept = read_json(run.plan, format="plan")
    assert kept["plan"]["seconds"] == 120.0 and kept["receipt"]["how"] == "predicted"
    assert earlier_ratios(MACHINE) == {}


def test_energy_is_unknown_without_a_counter_and_without_watts(run: RunFolder, plan: Callable[..., Plan]) -> None:
    write_prediction(run, plan(), "predicted", MACHINE, None)
    receipt = write_receipt(run, peak_bytes=1, joules=None, keep=False)
    assert receipt is not None
    energy = receipt.line("energy")
    assert energy is not None and (energy.predicted, energy.measured) == (None, None)
    assert energy.note == "this machine does not tell its energy"
    assert receipt.line("cost") is None


def test_a_counter_that_began_anew_says_nothing(run: RunFolder, plan: Callable[..., Plan]) -> None:
    write_prediction(run, plan(), "predicted", MACHINE, 9000.0)
    receipt = write_receipt(run, peak_bytes=1, joules=100.0, keep=False)
    assert receipt is not None
    energy = receipt.line("energy")
    assert energy is not None and energy.measured is None


def test_nothing_predicted_nothing_written(run: RunFolder) -> None:
    assert write_receipt(run, peak_bytes=1, joules=None, keep=True) is None
    assert not run.plan.exists()


def test_three_runs_on_this_machine_are_a_history(run: RunFolder, plan: Callable[..., Plan]) -> None:
    write_prediction(run, plan(), "predicted", MACHINE, None)
    for number, peak in enumerate((1_100_000_000, 1_300_000_000, 1_200_000_000)):
        assert earlier_ratios(MACHINE) == {}, f"{number} runs are too few"
        write_receipt(run, peak_bytes=peak, joules=None, keep=True)
    found = earlier_ratios(MACHINE)
    assert found["memory"] == Ratios(runs=3, middle=pytest.approx(1.2), low=pytest.approx(1.1), high=pytest.approx(1.3))
    assert found["seconds"].middle == pytest.approx(0.8), "training alone, which no cache shortens"
    assert earlier_ratios({"cpu": "another"}) == {}
    with (state_root() / "receipts.jsonl").open("a", encoding="utf-8") as file:
        file.write("no json\n{}\n")
    assert earlier_ratios(MACHINE) == {}, "a damaged history is no reason not to plan"
    (state_root() / "receipts.jsonl").unlink()
    note_ratios(MACHINE, {"memory": 1.0}, {})
    assert earlier_ratios(MACHINE) == {}


def test_the_plan_of_a_check_waits_for_its_run(plan: Callable[..., Plan]) -> None:
    here = Hardware(device="cpu", dtype="float32", threads=1, reason="test")
    keep_plan("abc", here, plan())
    assert kept_plan("abc", here) == plan()
    assert kept_plan("abd", here) is None
    assert kept_plan("abc", Hardware(device="cpu", dtype="float32", threads=7, reason="test")) is None
    assert machine_name(here)["threads"] == 1
