"""The event log: an observer that writes what happened, and when, to `events.jsonl`."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.events import Event, Progress, StageFinished, StageStarted
from metier.store.files import append_json_line
from metier.store.values import to_plain


class EventLog:
    """Writes every event but `Progress` as one line: `time`, `stage`, `kind`, then the event's own fields."""

    def __init__(self, path: Path) -> None:
        """Append to `path`; a resumed run continues its earlier log."""
        self._path = path
        self._stages: list[str] = []

    def __call__(self, event: Event, /) -> None:
        """Write `event`, with the innermost stage that is running."""
        if isinstance(event, Progress):
            return
        if isinstance(event, StageStarted):
            self._stages.append(event.stage)
        append_json_line(
            self._path,
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "stage": self._stages[-1] if self._stages else None,
                "kind": re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower(),
                **_fields(event),
            },
        )
        if isinstance(event, StageFinished) and event.stage in self._stages:
            # A stage that ends takes along those inside it that never said so.
            del self._stages[self._stages.index(event.stage) :]


def _fields(event: Event) -> dict[str, Any]:
    return {field.name: to_plain(_writable(getattr(event, field.name))) for field in dataclasses.fields(event)}


def _writable(value: object) -> object:
    # A loss that is not finite is what somebody will look for in this file: it must not stop the writing.
    if isinstance(value, Mapping):
        return {name: _writable(item) for name, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
