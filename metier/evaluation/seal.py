"""The seal: how often a test set was opened, counted by its fingerprint outside the run folders.

Every look at a test set makes the next result a little less surprising. A run that was killed and goes
on resumes its own opening; only another run counts again. `data/sealing.py` says what is the same test set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from metier.store.cache import state_root
from metier.store.files import append_json_line, read_json, read_json_lines, write_json
from metier.store.values import from_plain

LEDGER = "openings.jsonl"
OPENING = "opening"
"""The `format` of the file in which a run keeps its own opening."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One run's opening of a test set: `opening.json` beside its results."""

    fingerprint: str
    """Of the test set."""
    run: str
    """Whom the ledger counts."""
    openings: int | None = None
    """The how-manieth opening it was. None: a kill came before that was known."""


def open_once(fingerprint: str, run_id: str, path: Path, *, folder: Path | None = None) -> int:
    """Note that a run opens a test set, in the ledger and beside the run's results; the how-manieth opening it is.

    A run that goes on keeps the opening that it began with, also when its folder was moved or later runs opened the
    set in between. Where the ledger was lost, the run's own file still knows.

    Args:
        fingerprint: Of the test set.
        run_id: Of the run, where it has not opened yet.
        path: The run's `opening.json`.
        folder: Where the ledger lies. None: metier's state folder.

    Raises:
        RunFolderError: A file is damaged.
    """
    known = from_plain(Opening, read_json(path, format=OPENING), where=str(path)) if path.exists() else None
    opening = known if known and known.fingerprint == fingerprint else Opening(fingerprint=fingerprint, run=run_id)
    if opening is not known:
        write_json(path, opening, format=OPENING)  # first: who is counted must not be forgotten by a kill
    counted = record_opening(fingerprint, opening.run, folder=folder)
    if opening.openings is not None:
        return opening.openings
    write_json(path, replace(opening, openings=counted), format=OPENING)
    return counted


def record_opening(fingerprint: str, run_id: str, *, folder: Path | None = None) -> int:
    """Note that a run opens a test set, and say the how-manieth run to open it this is.

    Args:
        fingerprint: Of the test set.
        run_id: Of the run; the same run again does not count twice.
        folder: Where the ledger lies. None: metier's state folder.
    """
    if run_id not in _runs(fingerprint, folder):
        row = {"fingerprint": fingerprint, "run": run_id, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        append_json_line(_ledger(folder), row)
    # Read again: another run may have opened it in the meantime, and both must not be the same number.
    return _runs(fingerprint, folder).index(run_id) + 1


def openings(fingerprint: str, *, folder: Path | None = None) -> int:
    """How many runs have opened the test set with this fingerprint.

    Args:
        fingerprint: Of the test set.
        folder: Where the ledger lies. None: metier's state folder.
    """
    return len(_runs(fingerprint, folder))


def _ledger(folder: Path | None) -> Path:
    return (folder or state_root()) / LEDGER


def _runs(fingerprint: str, folder: Path | None) -> list[str]:
    """Who opened it, in order, each once."""
    path = _ledger(folder)
    if not path.exists():
        return []
    rows = read_json_lines(path)
    return list(dict.fromkeys(str(row["run"]) for row in rows if row.get("fingerprint") == fingerprint))
