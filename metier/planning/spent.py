"""What the parts of a run took, from its own event log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

PARTS = (
    "start", "data", "baselines", "trunk", "training", "validation", "test", "solving", "judging", "looks",
    "robustness", "folds", "seeds", "ablation",
)  # fmt: skip
"""Parts of a run that a receipt compares; the report is being written while it is made."""
WHOLE = frozenset({"folds", "seeds", "ablation"})
"""Stages that are one part with all that is done in them: they train and ask again."""
ROUNDING = timedelta(milliseconds=5)
"""Times in the log are rounded, so that what lies inside may seem to begin a little earlier."""


@dataclass
class _Reading:
    """What was read of a log so far."""

    parts: dict[str, float] = field(default_factory=dict)
    reused: bool = False
    open: list[str] = field(default_factory=list)
    """Stages under way, the innermost last."""
    inside: list[tuple[datetime, float]] = field(default_factory=list)
    """Parts that ended within the stage under way: when they began, and their seconds, what lies in them included."""
    steps: list[tuple[datetime, float]] = field(default_factory=list)
    ended: datetime | None = None
    """When the last stage ended that lies in no other."""

    def add(self, part: str, seconds: float) -> None:
        """More of one part."""
        self.parts[part] = self.parts.get(part, 0.0) + max(0.0, seconds)

    def started(self, stage: str, now: datetime) -> None:
        """A stage begins; what lies between stages is starting: loading libraries, looking at models."""
        if not self.open and self.ended is not None:
            self.add("start", (now - self.ended).total_seconds())
        self.open.append(stage)

    def taken(self, now: datetime) -> None:
        """A stage was taken from before; a run that goes on began anew, whatever was under way when it was killed."""
        self.reused, self.ended = True, now
        self.open.clear()

    def part_ended(self, part: str, now: datetime, seconds: float) -> None:
        """A part of the stage under way ended."""
        if WHOLE & set(self.open):
            return
        began = now - timedelta(seconds=seconds)
        self.add(part, seconds - sum(took for _, took in self._taken_out(began)))
        self.inside.append((began, seconds))

    def finished(self, stage: str, now: datetime, seconds: float) -> None:
        """A stage ended."""
        if stage in self.open:
            del self.open[self.open.index(stage) :]
        if not self.open:
            self.ended = now
        began = now - timedelta(seconds=seconds)
        within = self._taken_out(began) if stage not in WHOLE else []
        if stage.startswith("attempt "):
            steps = [step for step in self.steps if step[0] >= began]
            for part, took in _attempt(began, seconds, steps, within).items():
                self.add(part, took)
        elif stage in PARTS:
            self.add(stage, seconds - sum(took for _, took in within))

    def _taken_out(self, began: datetime) -> list[tuple[datetime, float]]:
        found = [part for part in self.inside if part[0] >= began - ROUNDING]
        self.inside = [part for part in self.inside if part[0] < began - ROUNDING]
        return found


def measured_parts(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], bool]:
    """Seconds by part of a run, from its event log, and whether some stages were taken from before.

    What lies between stages is `start`. An attempt's time up to its first step is `trunk`: reading, storing what
    never changes; its steps are `training`; what is left is `validation`. An attempt without steps is all
    `validation`. What is told as a part of its own (`solving`, `judging`, `looks`, `robustness`) is counted there and
    nowhere else, but in stages that are one part with all that is in them.

    Args:
        rows: The log.
    """
    found = _Reading()
    for row in rows:
        kind, now = row.get("kind"), datetime.fromisoformat(str(row["time"]))
        if kind == "step_ended":
            found.steps.append((now, float(row["seconds"])))
        elif kind == "stage_started":
            found.started(str(row["stage"]), now)
        elif kind == "part_ended":
            found.part_ended(str(row["part"]), now, float(row["seconds"]))
        elif kind == "stage_finished" and row.get("reused"):
            found.taken(now)
        elif kind == "stage_finished":
            found.finished(str(row["stage"]), now, float(row["seconds"]))
    return {part: found.parts[part] for part in PARTS if part in found.parts}, found.reused


def _attempt(
    began: datetime, seconds: float, steps: Sequence[tuple[datetime, float]], within: Sequence[tuple[datetime, float]]
) -> dict[str, float]:
    """An attempt by part; parts of their own are taken off what they lie in."""
    if not steps:
        return {"validation": seconds - sum(took for _, took in within)}
    training = sum(took for _, took in steps)
    first = steps[0][0] - timedelta(seconds=steps[0][1])
    until = max(0.0, (first - began).total_seconds())
    before = sum(took for start, took in within if start < first)
    after = sum(took for start, took in within if start >= first)
    return {"trunk": until - before, "training": training, "validation": seconds - until - training - after}
