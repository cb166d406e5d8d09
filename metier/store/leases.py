"""Who uses a folder of the cache right now: small lock files that the system lets go of when a process ends.

A lease keeps others from removing what a process reads; a claim keeps two processes from computing the same
thing at the same moment. Neither is needed for right results: files are written whole and found by content.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

IN_USE = ".in-use"
"""Folder beside the leased ones that holds the lock files."""
_LEASE, _CLAIM = ".lease", ".claim"


def lease(folder: Path) -> BaseFileLock:
    """Mark `folder` as used until the returned lock is released, dropped, or its process ends."""
    name = f"{folder.name}-{os.getpid()}-{secrets.token_hex(4)}{_LEASE}"
    lock = _lock(folder.parent / IN_USE / name)
    with suppress(NotImplementedError, OSError):  # no locks here, or no room for one: what is written next says so
        _open(lock)
    return lock


def is_leased(folder: Path, own: BaseFileLock | None = None) -> bool:
    """Whether anybody but the holder of `own` uses `folder`; what ended processes left is cleared away."""
    mine = None if own is None else Path(own.lock_file)
    found = [path for path in (folder.parent / IN_USE).glob(f"{folder.name}-*{_LEASE}") if path != mine]
    return any(not _is_free(path) for path in found)


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[bool]:
    """Inside, true: nobody else works on `name` of `folder`; false: somebody does. Never waits."""
    from filelock import Timeout

    path = folder.parent / IN_USE / f"{folder.name}-{name}{_CLAIM}"
    lock = _lock(path)
    try:
        _open(lock)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError):
        yield True
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # Windows keeps an open file; it does no harm
            path.unlink(missing_ok=True)
        lock.release()


def _lock(path: Path) -> BaseFileLock:
    from filelock import FileLock

    return FileLock(path, timeout=0)


def _open(lock: BaseFileLock) -> None:
    Path(lock.lock_file).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock.acquire()


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock at `path`; then it is removed."""
    from filelock import Timeout

    lock = _lock(path)
    try:
        _open(lock)
    except (Timeout, NotImplementedError):
        return False
    with suppress(OSError):
        path.unlink(missing_ok=True)
    lock.release()
    return True
