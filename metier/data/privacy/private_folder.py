"""Private folders: the owner's alone while a run needs them, and gone with it.

What removing cannot promise: the system gives the blocks back, it does not overwrite them, and on a solid-state disk
nobody could, because the disk writes elsewhere. Snapshots, backups, swap and the journal of a file system keep what
they have. Who needs more encrypts the disk, or puts the folder into memory (a tmpfs such as /dev/shm on Linux).
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from metier.errors import RunFolderError
from metier.store.cache import PRIVATE_KINDS, PRIVATE_VARIABLE
from metier.store.files import SpeakingErrors
from metier.store.fingerprint import text_sha256

VARIABLE, KINDS = PRIVATE_VARIABLE, PRIVATE_KINDS
"""The variable that names the folder while a strict run is on, and what lies in it: see `store.cache.cache_folder`."""
_OWNER_ONLY = 0o700
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_LONGEST_PLACE = 60
"""Characters; the path of a Unix socket in the folder has room for about 100."""
CANNOT_PROMISE = (
    "The files are removed, not overwritten: blocks of a disk, snapshots, backups and swap may keep what was in them. "
    "Encrypt the disk, or put the folder into memory, where that matters."
)


@dataclass(frozen=True, kw_only=True)
class Purged:
    """What a purge removed."""

    files: int
    bytes: int
    note: str = CANNOT_PROMISE


def make_private(path: Path) -> Path:
    """A folder that its owner alone may enter (mode 0700), made when missing, with its parents.

    One that was wider before is made narrow. On Windows the folder inherits the rights of its parent, which in a
    user's own folder are the user's.

    Args:
        path: The folder.

    Raises:
        RunFolderError: It is a link or a file, belongs to somebody else, or cannot be made.
    """
    with SpeakingErrors(path):
        path.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        about = path.lstat()
        if not stat.S_ISDIR(about.st_mode):
            raise RunFolderError(str(path), "is a link", "a folder of its own for what is private")
        if sys.platform != "win32":
            if about.st_uid != os.geteuid():
                raise RunFolderError(str(path), "belongs to another user", "a folder of your own")
            if stat.S_IMODE(about.st_mode) != _OWNER_ONLY:
                path.chmod(_OWNER_ONLY)
    return path


def purge_private(path: Path) -> Purged:
    """Remove a private folder and everything in it; links in it are removed, not followed.

    Args:
        path: The folder; nothing happens where there is none.

    Returns:
        What was removed, and what that cannot promise.

    Raises:
        RunFolderError: Something is left; the message has the first path.
    """
    if path.is_symlink():
        raise RunFolderError(str(path), "is a link", "a folder", "Remove it by hand; nothing was removed.")
    if not path.exists():
        return Purged(files=0, bytes=0)
    stats = [entry.lstat() for entry in path.rglob("*") if entry.is_symlink() or not entry.is_dir()]
    _remove(path)
    left = next((entry for entry in path.rglob("*")), None) if path.is_dir() else None
    if path.exists():
        found = f"could not be removed whole: {left.relative_to(path) if left else 'the folder itself'} is left"
        raise RunFolderError(str(path), found, "", "End what uses it, and remove it by hand.")
    return Purged(files=len(stats), bytes=sum(each.st_size for each in stats))


@contextmanager
def private_cache(
    path: Path, *, first: bool = True, keep_on_failure: bool = True, ended: Callable[[], bool] = lambda: True
) -> Iterator[Path]:
    """Keep what can be turned back into text in a private folder of the run while the block runs, then remove it.

    Args:
        path: The folder, inside the run's.
        first: Whether this is the process that removes it, of several that run together; the others have ended or
            need it no more when its block ends.
        keep_on_failure: Whether it stays, closed to others, when the block fails, so that `--resume` goes on where
            it was. The run that ends well removes it.
        ended: Whether there is nothing left to do when the block ended well; it stays for a run that was asked to
            stop in the middle.
    """
    make_private(path)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(path.absolute())
    done = False
    try:
        yield path
        done = True
    finally:
        _restore({VARIABLE: before})
        if first and (ended() if done else not keep_on_failure):
            purge_private(path)


@contextmanager
def private_temporary(path: Path, *, first: bool = True) -> Iterator[Path]:
    """Put temporary files, of this process and of those that it starts, into a private folder, removed at the end.

    Libraries and other processes of ours write texts into temporary files: tables that do not fit into memory, what
    an export is proven with. Those that a killed process left are removed by the next run with the same folder.

    Args:
        path: The folder; short, because sockets of processes may lie in it.
        first: Whether this is the process that removes it, of several that run together.
    """
    make_private(path)
    before = {name: os.environ.get(name) for name in _TEMPORARY}
    chosen = tempfile.tempdir
    os.environ.update(dict.fromkeys(_TEMPORARY, str(path)))
    tempfile.tempdir = str(path)
    try:
        yield path
    finally:
        tempfile.tempdir = chosen
        _restore(before)
        if first:
            purge_private(path)


def temporary_place(private: Path) -> Path:
    """A folder for temporary files: in the private one, or, where that path is too long, beside the system's own.

    Args:
        private: The run's private folder.
    """
    inside = private.absolute() / "tmp"
    if len(str(inside)) <= _LONGEST_PLACE:
        return inside
    return Path(tempfile.gettempdir()) / f"metier-{text_sha256(str(private.resolve()))[:12]}"


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # a folder or, on Windows, a file that may not be changed keeps others from going
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)


def _open_up(path: Path) -> None:
    with suppress(OSError):
        path.chmod(_OWNER_ONLY)
        for entry in path.iterdir() if path.is_dir() else ():
            if not entry.is_symlink():
                _open_up(entry)
