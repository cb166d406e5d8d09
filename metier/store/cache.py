"""The cache: what was computed once and can be computed again. And the state folder, which cannot.

`METIER_CACHE` and `METIER_STATE` move them. The cache holds packaged models, label scores, answers, stages,
features and boundary states of the trunk; these can be inverted to text, so its folders are the owner's alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metier.errors import LackingEnvironment
from metier.store.leases import IN_USE

CACHE_KINDS = ("models", "trunk", "features", "scores", "answers", "stages", "plans")
PRIVATE_VARIABLE = "METIER_PRIVATE_CACHE"
"""While a run under `privacy: strict` is on: its folder for all kinds of entries that can be turned back into text."""
PRIVATE_KINDS = ("trunk", "features", "scores", "answers", "stages")
"""Those kinds; models and plans hold nothing of the data."""
_OWNER_ONLY = 0o700


@dataclass(frozen=True, kw_only=True)
class CacheUsage:
    """What one kind of cache entry takes."""

    files: int
    bytes: int
    last_used: str | None = field(default=None, compare=False)
    """Day and time of the last use, local time; None when there is nothing."""


def cache_root() -> Path:
    """The cache folder, made with mode 0700 when missing.

    `METIER_CACHE`, else the platform's place for caches: `~/.cache/metier` on Linux.

    Raises:
        LackingEnvironment: It cannot be made.
    """
    return _made(_root("METIER_CACHE", xdg="XDG_CACHE_HOME", home=".cache", mac="Caches", windows="cache"))


def cache_folder(kind: str) -> Path:
    """The folder of one kind of entry: one of `CACHE_KINDS`.

    While a run under `privacy: strict` is on, what can be turned back into text lies in that run's private folder.
    """
    if kind not in CACHE_KINDS:
        raise ValueError(f"{kind!r} is no kind of cache entry; there are {', '.join(CACHE_KINDS)}")
    private = os.environ.get(PRIVATE_VARIABLE, "").strip()
    return _made(Path(private) / kind if private and kind in PRIVATE_KINDS else cache_root() / kind)


def usage() -> dict[str, CacheUsage]:
    """Files and bytes of every kind, in the order of `CACHE_KINDS`."""
    return {kind: _usage_of(cache_root() / kind) for kind in CACHE_KINDS}


def purge(kind: str | None = None) -> int:
    """Remove one kind of entry, or all; nothing else in the cache folder is touched.

    Returns:
        The bytes that were freed.
    """
    freed = 0
    for each in CACHE_KINDS if kind is None else (kind,):
        folder = cache_folder(each)
        before = _usage_of(folder).bytes
        shutil.rmtree(folder, ignore_errors=True)
        freed += before - _usage_of(folder).bytes
    return freed


def state_root() -> Path:
    """The folder of what must survive a purge: the ledger of test-set openings.

    `METIER_STATE`, else `~/.local/state/metier` on Linux.

    Raises:
        LackingEnvironment: It cannot be made.
    """
    place = _root("METIER_STATE", xdg="XDG_STATE_HOME", home=".local/state", mac="Application Support", windows="state")
    return _made(place)


def _root(variable: str, *, xdg: str, home: str, mac: str, windows: str) -> Path:
    given = os.environ.get(variable, "").strip()
    try:
        if given:
            return Path(given).expanduser().absolute()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "metier" / windows
        if sys.platform == "darwin":
            return Path.home() / "Library" / mac / "metier"
        base = Path(os.environ.get(xdg, ""))
        # The XDG rule: a relative path there is to be ignored.
        return (base if base.is_absolute() else Path.home() / home) / "metier"
    except RuntimeError as error:
        raise LackingEnvironment(variable, "is not set and there is no home folder", "", f"Set {variable}.") from error


def _made(folder: Path) -> Path:
    try:
        missing = not folder.exists()
        folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        if missing:
            folder.chmod(_OWNER_ONLY)  # the umask may have widened or narrowed it
    except OSError as error:
        found = f"cannot be made ({error.strerror or error})"
        fix = "Set METIER_CACHE or METIER_STATE to a folder that you may write."
        raise LackingEnvironment(str(folder), found, "", fix) from error
    return folder


def _usage_of(folder: Path) -> CacheUsage:
    paths = folder.rglob("*") if folder.is_dir() else ()
    stats = [path.lstat() for path in paths if IN_USE not in path.parts and not path.is_dir()]
    newest = max((stat.st_mtime for stat in stats), default=None)
    last_used = None if newest is None else datetime.fromtimestamp(newest).strftime("%Y-%m-%d %H:%M")
    return CacheUsage(files=len(stats), bytes=sum(stat.st_size for stat in stats), last_used=last_used)
