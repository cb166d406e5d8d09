"""Frozen progress events, and the observer protocol.

Rooms emit events; the command line draws them and the store writes them to `events.jsonl`.
An observer looks and may change nothing. Events never carry record text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage of the flow begins. `stage` is e.g. `data`, `baselines`, `attempt llm`, `test`, `report`."""

    stage: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished:
    """A stage ended after `seconds`; `reused` when its earlier result was taken."""

    stage: str
    seconds: float
    reused: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A long step is at `done` of `total` (in `unit`, e.g. rows, tokens). The last one has done == total."""

    label: str
    done: int
    total: int
    unit: str = "rows"


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """One optimiser step: loss per target token, gradient norm before clipping, seconds it took."""

    step: int
    total: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A validation during training: metric name to value; `best` when it is the best so far."""

    step: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something a person should know, said once: a slower path, a repair, a policy that was applied."""

    topic: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A small table for a person: what preparation found, how the baselines did."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class PartEnded:
    """A part of the stage under way took `seconds`. Nobody is shown it; the receipt compares it with the plan.

    Parts may lie inside each other. `part` is e.g. `solving`, `judging`, `looks`, `robustness`.
    """

    part: str
    seconds: float


Event = StageStarted | StageFinished | PartEnded | Progress | StepEnded | Validated | Notice | Table


class Observer(Protocol):
    """Receives events in the order in which they happen."""

    def __call__(self, event: Event, /) -> None:
        """Look at `event`; change nothing."""


def tell(observers: Sequence[Observer], event: Event) -> None:
    """Give `event` to every observer, in order."""
    for observer in observers:
        observer(event)


@contextmanager
def timed_part(observers: Sequence[Observer], part: str) -> Iterator[None]:
    """Tell how long the block took, as a part of the stage under way; nothing is told of one that fails.

    Args:
        observers: Who is told.
        part: Its name, as the receipt has it.
    """
    started = time.perf_counter()
    yield
    tell(observers, PartEnded(part=part, seconds=time.perf_counter() - started))


def as_part(observers: Sequence[Observer], label: str, start: int, total: int) -> Observer:
    """An observer for a part of some work: its progress is told as progress of the whole, all else as it is.

    Args:
        observers: Who is told.
        label: Name of the whole.
        start: What was done before the part.
        total: Size of the whole.
    """

    def watch(event: Event, /) -> None:
        if isinstance(event, Progress):
            event = Progress(label=label, done=start + event.done, total=total)
        tell(observers, event)

    return watch
