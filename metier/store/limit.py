"""The size limit of the stored trunk: what was not used for longest goes first."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metier.errors import ArgumentError
from metier.store.files import remove_leftovers
from metier.store.leases import IN_USE, is_leased

if TYPE_CHECKING:
    from filelock import BaseFileLock

VARIABLE = "METIER_CACHE_LIMIT"
DEFAULT_LIMIT = 20_000_000_000
"""Bytes of stored trunk where nothing is said and the disk is large."""
SHARE_OF_DISK = 0.5
"""Share of the disk's free room, what is stored already counted as free, that the default never exceeds."""
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, kw_only=True)
class Evicted:
    """What an eviction removed, and what is left."""

    files: int
    bytes: int
    left: int
    """Bytes that are stored afterwards; above the limit when the rest is in use."""


def cache_limit(root: Path) -> int:
    """Bytes that the stored trunk in `root` may take.

    `METIER_CACHE_LIMIT` (bytes, or a number with KB, MB, GB or TB), else 20 GB, and at most half of the room on
    that disk.

    Raises:
        ArgumentError: The variable holds no size.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        found = _SIZE.fullmatch(given)
        if found is None:
            raise ArgumentError(VARIABLE, f"is {given!r}", "a number of bytes, or a size such as 20GB")
        return int(float(found[1]) * _UNITS[found[2].lower()])
    room = shutil.disk_usage(root).free + sum(size for _, size, _ in _entries(root))
    return min(DEFAULT_LIMIT, int(SHARE_OF_DISK * room))


def evict(root: Path, limit: int, *, own: Path, lease: BaseFileLock | None, keep: Collection[str]) -> Evicted:
    """Remove the files of `root`'s folders that were used least recently until at most `limit` bytes are left.

    Args:
        root: Holds one folder for each kind of entry.
        limit: Bytes.
        own: The caller's folder in it.
        lease: The caller's lease of that folder.
        keep: Names of files in `own` that the caller uses: never removed. Nor is any file of a folder that
            another process uses.
    """
    entries = _entries(root)
    total = sum(size for _, size, _ in entries)
    removed = freed = 0
    free: dict[Path, bool] = {}
    for _, size, path in sorted(entries):
        if total - freed <= limit:
            break
        folder = path.parent
        if folder not in free:
            free[folder] = not is_leased(folder, lease if folder == own else None)
            if free[folder]:
                remove_leftovers(folder)
        if not free[folder] or (folder == own and path.name in keep):
            continue
        try:
            path.unlink()
        except OSError:  # gone already, or mapped by somebody on Windows
            continue
        removed, freed = removed + 1, freed + size
    for folder in free:
        if folder != own:
            with suppress(OSError):  # not empty
                folder.rmdir()
    return Evicted(files=removed, bytes=freed, left=total - freed)


def _entries(root: Path) -> list[tuple[int, int, Path]]:
    """Time of last use (ns), bytes and path of every whole file in the folders of `root`."""
    found = []
    for folder in root.iterdir():
        if folder.name == IN_USE or not folder.is_dir():
            continue
        for path in folder.glob("[!.]*"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
    return found
