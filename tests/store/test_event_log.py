"""The event log has every event but progress, with its time and stage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from metier.events import Notice, Progress, StageFinished, StageStarted, StepEnded, Table, Validated
from metier.store.event_log import EventLog
from metier.store.files import read_json_lines

STEP = StepEnded(
    step=1, total=2, epoch=0.5, loss=float("nan"), learning_rate=1e-4, grad_norm=float("inf"), tokens=3, seconds=0.1
)


def test_events_carry_time_stage_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log(Notice(topic="hardware", message="cpu"))
    log(StageStarted(stage="attempt llm"))
    log(Progress(label="tokens", done=1, total=2))
    log(StageStarted(stage="training"))
    log(STEP)
    log(StageFinished(stage="attempt llm", seconds=1.0))
    log(Table(title="t", columns=("a",), rows=(("1",),)))
    rows = read_json_lines(path)
    assert [(row["stage"], row["kind"]) for row in rows] == [
        (None, "notice"),
        ("attempt llm", "stage_started"),
        ("training", "stage_started"),
        ("training", "step_ended"),
        ("attempt llm", "stage_finished"),
        (None, "table"),
    ]
    assert rows[0]["message"] == "cpu"
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in rows)


def test_what_is_not_finite_is_written_as_text(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log(STEP)
    log(Validated(step=1, metrics={"loss": float("nan"), "accuracy": 0.5}, best=False))
    first, second = read_json_lines(tmp_path / "events.jsonl")
    assert (first["loss"], first["grad_norm"], first["learning_rate"]) == ("nan", "inf", 1e-4)
    assert second["metrics"] == {"loss": "nan", "accuracy": 0.5}


def test_a_resumed_run_continues_its_log(tmp_path: Path) -> None:
    for _ in range(2):
        EventLog(tmp_path / "events.jsonl")(StageStarted(stage="data"))
    assert len(read_json_lines(tmp_path / "events.jsonl")) == 2
