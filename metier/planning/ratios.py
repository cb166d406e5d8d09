"""What earlier runs on this machine took, compared with what had been predicted: kept in the state folder."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metier.errors import RunFolderError
from metier.store.cache import state_root
from metier.store.files import append_json_line, read_json_lines

FILE = "receipts.jsonl"
FEWEST = 3
"""Runs from which their spread is worth something."""
MOST = 20
"""Newest runs that count."""


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Measured over predicted, of some runs."""

    runs: int
    middle: float
    """Their median."""
    low: float
    high: float


def note_ratios(machine: Mapping[str, object], predicted: Mapping[str, float], measured: Mapping[str, float]) -> None:
    """Keep what a run took beside what was predicted of it.

    Args:
        machine: What runs must share to be comparable.
        predicted: `seconds` and `memory` as they were estimated, before any correction.
        measured: The same as they came out; what is unknown is left out.
    """
    row = {"machine": dict(machine), "predicted": dict(predicted), "measured": dict(measured)}
    append_json_line(state_root() / FILE, row)


def earlier_ratios(machine: Mapping[str, object]) -> dict[str, Ratios]:
    """The ratios of earlier runs on a machine, of what at least three of them say.

    Args:
        machine: As for `note_ratios`.
    """
    path = state_root() / FILE
    if not path.exists():
        return {}
    try:
        rows = [row for row in read_json_lines(path) if row.get("machine") == dict(machine)]
    except RunFolderError:  # a damaged history is no reason not to plan
        return {}
    found = {what: _ratios(rows, what) for what in ("seconds", "memory")}
    return {what: ratios for what, ratios in found.items() if ratios is not None}


def _ratios(rows: list[dict[str, Any]], what: str) -> Ratios | None:
    each = [
        float(row["measured"][what]) / float(row["predicted"][what])
        for row in rows
        if row.get("measured", {}).get(what) and row.get("predicted", {}).get(what)
    ][-MOST:]
    if len(each) < FEWEST:
        return None
    return Ratios(runs=len(each), middle=statistics.median(each), low=min(each), high=max(each))
