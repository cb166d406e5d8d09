"""Where a table lies: a file, or a file in a zip archive; and how its bytes are come by, whatever packs them."""

from __future__ import annotations

import difflib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from metier.data.archive import members, open_member
from metier.data.formats import WANTED, data_suffix, is_zip_of_data
from metier.data.unpacking import unpacked
from metier.errors import DataError

Watch = Callable[[int, int], None]
"""Is told the bytes of the file on disk that were read, and how many there are; the last call has both equal."""
_IN_MEMORY = 2**26
"""Bytes of a packed workbook or Parquet file, in which reading jumps, that are unpacked into memory and not to an
unnamed temporary file."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One table of data."""

    path: Path
    """The file on disk."""
    member: str | None = None
    """Its name in the archive that `path` is. None: the file itself."""
    name: str
    """What messages and records call it."""

    @property
    def inner(self) -> Path:
        """The name that says what it holds."""
        return Path(self.member) if self.member is not None else self.path


def find_sources(path: Path, *, name: str | None = None) -> tuple[DataSource, ...]:
    """The tables at a path: one, or those in a zip archive, by name.

    Args:
        path: A file, or one in an archive: `archive.zip/folder/name.csv`.
        name: What messages call it. None: its own name.

    Raises:
        DataError: It cannot be read, or is an archive without data or one that is refused.
    """
    inside_of = _archive_above(path)
    if inside_of is not None:
        return (_in_archive(path, inside_of),)
    name = name or path.name
    with _speaking(path):
        if not is_zip_of_data(path):
            return (DataSource(path=path, name=name),)
    inside = members(path)
    found = [member for member in inside if data_suffix(Path(member))]
    if not found:
        raise DataError(str(path), "is a zip archive that holds no data file", WANTED, "Look into it.")
    return tuple(DataSource(path=path, member=member, name=f"{name}/{member}") for member in found)


def one_source(path: Path, *, name: str | None = None) -> DataSource:
    """The table at a path, where there is one.

    Args:
        path: A file.
        name: What messages call it. None: its own name.

    Raises:
        DataError: As `find_sources`, or it is an archive of several.
    """
    found = find_sources(path, name=name)
    if len(found) > 1:
        names = ", ".join(str(source.member) for source in found[:8])
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        fix = f"Name it, such as {path.name}/{found[0].member}."
        raise DataError(str(path), f"holds {len(found)} data files ({names}{more})", "one", fix)
    return found[0]


@contextmanager
def open_source(source: DataSource, *, jumps: bool = False, watch: Watch | None = None) -> Iterator[BinaryIO]:
    """The unpacked bytes of a table, from its start.

    Args:
        source: The table.
        jumps: Whether reading jumps in it (Parquet, workbooks): what is packed is then unpacked beforehand.
        watch: Is told how far the file on disk was read.

    Raises:
        DataError: It cannot be read; while reading: it is damaged.
    """
    with ExitStack() as opened:
        with _speaking(source.path):
            raw = opened.enter_context(source.path.open("rb", buffering=0))
        total = source.path.stat().st_size
        file: Any = opened.enter_context(io.BufferedReader(_Watched(raw, source.path, total, watch), 2**18))
        if source.member is not None:
            file = opened.enter_context(open_member(file, source.member, source.name))
        inside: Any = opened.enter_context(unpacked(file, source.name))
        if jumps and (inside is not file or source.member is not None):
            whole = opened.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
            shutil.copyfileobj(inside, whole, 2**20)
            whole.seek(0)
            inside = whole
        yield inside
    if watch is not None:
        watch(total, total)


def source_hash(source: DataSource) -> str:
    """SHA-256, as hexadecimal digits, of a file as it is on disk; of a file in an archive, of what is in it.

    Args:
        source: The table.

    Raises:
        DataError: It cannot be read.
    """
    with _speaking(source.path), source.path.open("rb") as file:
        inside = file if source.member is None else open_member(file, source.member, source.name)
        digest = hashlib.sha256()
        while piece := inside.read(2**20):
            digest.update(piece)
        return digest.hexdigest()


def _archive_above(path: Path) -> Path | None:
    """The zip archive in which a path goes on; None: the path is a file, or leads into no archive."""
    if path.exists():
        return None
    file = next((parent for parent in path.parents if parent.is_file()), None)
    if file is None:
        return None
    with _speaking(file):
        return file if is_zip_of_data(file) else None


def _in_archive(path: Path, archive: Path) -> DataSource:
    member = path.relative_to(archive).as_posix()
    inside = members(archive)
    if member not in inside:
        near = difflib.get_close_matches(member, inside, n=1)
        fix = f"Did you mean {near[0]}?" if near else "Look into it."
        raise DataError(str(archive), f"holds no file {member}", "one that is there", fix)
    return DataSource(path=archive, member=member, name=f"{archive.name}/{member}")


class _Watched(io.RawIOBase):
    """A file whose reading is watched, with errors in our words."""

    def __init__(self, file: io.FileIO, path: Path, total: int, watch: Watch | None) -> None:
        self._file, self._path, self._total, self._watch = file, path, total, watch
        self._furthest = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._file.readinto(buffer) or 0
        except OSError as error:
            raise _unreadable(self._path, error) from error
        # What jumps to the end first (the list of contents of an archive) has not read all of it.
        self._furthest = min(self._furthest + count, max(self._total - 1, 0))
        if self._watch is not None:
            self._watch(self._furthest, self._total)
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _speaking(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(str(path), "does not exist", "a data file", "Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "is a folder", "a file") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(str(path), f"cannot be read ({error.strerror or error})", "", "Check permissions.")
