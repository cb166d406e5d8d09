"""The seal: how often a test set was opened, counted by its fingerprint outside the run folders.

Every look at a test set makes the next result a little less surprising. A run that was killed and goes
on resumes its own opening; only another run counts again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from metier.store.cache import state_root
from metier.store.files import append_json_line, read_json_lines

LEDGER = "openings.jsonl"


def record_opening(fingerprint: str, run_id: str, *, folder: Path | None = None) -> int:
    """Note that a run opens a test set, and say how many runs have, this one included.

    Args:
        fingerprint: Of the test set.
        run_id: Of the run; the same run again does not count twice.
        folder: Where the ledger lies. None: metier's state folder.
    """
    known = _runs(fingerprint, folder)
    if run_id in known:
        return len(known)
    row = {"fingerprint": fingerprint, "run": run_id, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    append_json_line(_ledger(folder), row)
    return len(_runs(fingerprint, folder))


def openings(fingerprint: str, *, folder: Path | None = None) -> int:
    """How many runs have opened the test set with this fingerprint.

    Args:
        fingerprint: Of the test set.
        folder: Where the ledger lies. None: metier's state folder.
    """
    return len(_runs(fingerprint, folder))


def _ledger(folder: Path | None) -> Path:
    return (folder or state_root()) / LEDGER


def _runs(fingerprint: str, folder: Path | None) -> set[str]:
    path = _ledger(folder)
    if not path.exists():
        return set()
    return {str(row["run"]) for row in read_json_lines(path) if row.get("fingerprint") == fingerprint}
