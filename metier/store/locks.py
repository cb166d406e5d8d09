"""One writer at a time in a run folder. The system takes the lock away when the process ends, killed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metier.errors import RunFolderError
from metier.store.files import SpeakingErrors, is_leftover

GUARD = ".run.lock"
"""Lies in a run folder while somebody writes there; the lock counts, not the file."""


@contextmanager
def alone_in(folder: Path, state: Path) -> Iterator[None]:
    """Keep other processes from running in `folder` while the block runs; the folder is made when missing.

    A folder that holds something else is left untouched: claiming it says so.

    Args:
        folder: A run folder, or one that is to become it.
        state: The file by which a run folder is known.

    Raises:
        RunFolderError: Another process runs there, or nothing can be written there.
        DiskFull: No space is left.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not may_hold_a_run(folder, state):
        yield
        return
    with SpeakingErrors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / GUARD, timeout=0)
    with SpeakingErrors(folder):
        try:
            lock.acquire()
        except Timeout as error:
            found, fix = "is being written by another process", "Wait for it to end, or choose another --output."
            raise RunFolderError(str(folder), found, "", fix) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file; it does no harm
            (folder / GUARD).unlink(missing_ok=True)
        lock.release()


def may_hold_a_run(folder: Path, state: Path) -> bool:
    """Whether `folder` has the `state` of a run, or nothing in it but what a killed start left."""
    if not folder.is_dir():
        return False
    return state.exists() or all(entry.name == GUARD or is_leftover(entry) for entry in folder.iterdir())
