"""What the parts of a run took, told from planted event logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metier.events import PartEnded, timed_part
from metier.planning.spent import measured_parts

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _row(after: float, kind: str, **fields: Any) -> dict[str, Any]:
    return {"time": (BEGAN + timedelta(seconds=after)).isoformat(timespec="milliseconds"), "kind": kind, **fields}


def _stage(name: str, began: float, ended: float, *within: dict[str, Any]) -> list[dict[str, Any]]:
    last = _row(ended, "stage_finished", stage=name, seconds=ended - began, reused=False)
    return [_row(began, "stage_started", stage=name), *within, last]


def _part(name: str, began: float, ended: float) -> dict[str, Any]:
    return _row(ended, "part_ended", part=name, seconds=ended - began)


def test_what_lies_between_stages_is_the_start() -> None:
    parts, reused = measured_parts([*_stage("data", 0, 5), *_stage("baselines", 12, 20), *_stage("test", 21, 30)])
    assert parts == pytest.approx({"start": 8.0, "data": 5.0, "baselines": 8.0, "test": 9.0})
    assert not reused


def test_a_part_is_counted_once_and_nowhere_else() -> None:
    rows = _stage(
        "test", 0, 100, _part("judging", 10, 12), _part("looks", 20, 25), _part("judging", 40, 43),
        _part("judging", 50, 54), _part("robustness", 30, 70),
    )  # fmt: skip
    parts, _ = measured_parts(rows)
    assert parts == pytest.approx({"test": 53.0, "judging": 9.0, "looks": 5.0, "robustness": 33.0})
    assert sum(parts.values()) == pytest.approx(100.0)


def test_parts_of_an_attempt_are_taken_off_what_they_lie_in() -> None:
    steps = [_row(20, "step_ended", seconds=8.0), _row(28, "step_ended", seconds=8.0)]
    rows = _stage("attempt tuned", 0, 50, _part("solving", 2, 6), *steps, _part("judging", 40, 41))
    parts, _ = measured_parts(rows)
    assert parts == pytest.approx({"trunk": 8.0, "solving": 4.0, "training": 16.0, "validation": 21.0, "judging": 1.0})
    assert sum(parts.values()) == pytest.approx(50.0)


def test_a_solved_head_is_no_validation() -> None:
    parts, _ = measured_parts(_stage("attempt tuned", 0, 10, _part("solving", 1, 8)))
    assert parts == pytest.approx({"validation": 3.0, "solving": 7.0})


@pytest.mark.parametrize("stage", ["folds", "seeds", "ablation"])
def test_stages_that_train_again_are_one_part(stage: str) -> None:
    inner = _stage("fold 1 of 2: attempt tuned", 1, 30, _part("solving", 2, 6), _row(20, "step_ended", seconds=3.0))
    parts, _ = measured_parts(_stage(stage, 0, 60, *inner, _part("judging", 40, 45)))
    assert parts == pytest.approx({stage: 60.0})


def test_a_rest_before_a_run_goes_on_is_no_start() -> None:
    killed = [*_stage("data", 0, 5), _row(6, "stage_started", stage="baselines")]
    again = [_row(1000, "stage_finished", stage="data", seconds=0.0, reused=True), *_stage("baselines", 1003, 1010)]
    parts, reused = measured_parts([*killed, *again])
    assert reused and parts == pytest.approx({"start": 4.0, "data": 5.0, "baselines": 7.0})


def test_a_part_tells_its_seconds_and_one_that_fails_tells_nothing() -> None:
    told: list[object] = []
    with timed_part((told.append,), "looks"):
        pass
    assert isinstance(told[0], PartEnded) and told[0].part == "looks" and 0 <= told[0].seconds < 1
    with pytest.raises(ValueError, match="broken"), timed_part((told.append,), "looks"):
        raise ValueError("broken")
    assert len(told) == 1
