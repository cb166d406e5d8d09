"""Progress for a person, on standard error: bars on a terminal, few plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metier.cli.output import say
from metier.cli.tables import aligned
from metier.events import (
    Event,
    Notice,
    Observer,
    PartEnded,
    Progress,
    StageFinished,
    StageStarted,
    StepEnded,
    Table,
    Validated,
)
from metier.report import formats

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
TRAINING = "training"


@contextmanager
def watching() -> Iterator[Observer]:
    """An observer that draws what happens until the block ends."""
    if sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        with _bars() as bars:
            yield TerminalView(bars)
    else:
        yield LineView()


class LineView:
    """Every event as a plain line; for progress at most one line in ten seconds for each label."""

    def __init__(self, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic) -> None:
        """Write lines with `write`; `clock` gives seconds."""
        self._write, self._clock = write, clock
        self._began: dict[str, tuple[float, int]] = {}
        self._last: dict[str, float] = {}

    def __call__(self, event: Event, /) -> None:
        """Write `event`, or nothing when it is too soon after the last of its label."""
        if isinstance(event, Progress):
            self._progress(event.label, event.done, event.total, f"{event.done:,} of {event.total:,} {event.unit}")
        elif isinstance(event, StepEnded):
            text = f"step {event.step:,} of {event.total:,}, loss {formats.score(event.loss)}"
            self._progress(TRAINING, event.step, event.total, text)
        elif not isinstance(event, PartEnded):
            self._write(line_of(event))

    def _progress(self, label: str, done: int, total: int, text: str) -> None:
        now = self._clock()
        if done >= total:
            self._began.pop(label, None)
            self._last.pop(label, None)
            return
        began, first = self._began.setdefault(label, (now, done))
        if now - self._last.setdefault(label, began) < SECONDS_BETWEEN_LINES:
            return
        self._last[label] = now
        left = (now - began) / (done - first) * (total - done) if done > first else None
        self._write(f"  {label}: {text}" + (f", about {formats.duration(left)} left" if left is not None else ""))


class TerminalView:
    """Bars with the time left below, all other events as lines above them."""

    def __init__(self, bars: Bars) -> None:
        """Draw into `bars`, which are running."""
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event, /) -> None:
        """Move a bar, or write a line above the bars."""
        if isinstance(event, Progress):
            self._move(event.label, event.done, event.total, f"{event.done:,}/{event.total:,} {event.unit}")
        elif isinstance(event, StepEnded):
            text = f"{event.step:,}/{event.total:,} steps  loss {formats.score(event.loss)}"
            self._move(TRAINING, event.step, event.total, text)
        elif not isinstance(event, PartEnded):
            from rich.text import Text

            style = "bold" if isinstance(event, StageStarted) else "yellow" if isinstance(event, Notice) else ""
            self._bars.console.print(Text(line_of(event), style=style))

    def _move(self, label: str, done: int, total: int, text: str) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total, text=text)
        self._bars.update(self._tasks[label], completed=done, total=total, text=text)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(label))


def line_of(event: StageStarted | StageFinished | Validated | Notice | Table) -> str:
    """The event as text for a person."""
    if isinstance(event, StageStarted):
        return f"{event.stage}: {event.detail}" if event.detail else event.stage
    if isinstance(event, StageFinished):
        if event.reused:
            return f"  {event.stage} done: {event.detail or 'taken from before'}"
        how = formats.duration(event.seconds)
        return f"  {event.stage} done: {how}" + (f" ({event.detail})" if event.detail else "")
    if isinstance(event, Validated):
        scores = ", ".join(
            f"{formats.metric_words(name)} {formats.score(value)}" for name, value in event.metrics.items()
        )
        return f"  validation after step {event.step:,}: {scores}{' (best so far)' if event.best else ''}"
    if isinstance(event, Notice):
        return f"  note ({event.topic}): {event.message}"
    table = "\n".join(f"  {line}" for line in aligned(event.columns, event.rows).splitlines())
    return f"  {event.title}\n{table}"


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    columns = (
        TextColumn("  {task.description}", markup=False), BarColumn(bar_width=30),
        TextColumn("{task.fields[text]}", markup=False), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    return Bars(*columns, console=console, transient=True)
