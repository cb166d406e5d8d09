"""Zip archives: each data file inside is a source of its own, read where it lies and never written to disk.

Refused: members that would climb out of a folder (nobody who packs data makes those), encrypted ones, two of
one name, and bombs, by the sizes that the archive declares before anything is read, and by the real ones while
reading.
"""

from __future__ import annotations

import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from metier.data.unpacking import refuse_bomb
from metier.errors import DataError

MARK = b"PK\x03\x04"
MOST_MEMBERS = 100_000
"""Members of the largest archive that is looked into."""
_ENCRYPTED = 0x1
_DOCUMENT_PARTS = ("[Content_Types].xml", "mimetype")
"""What documents of Office, LibreOffice and e-book programs hold, which are zip archives too."""
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError,
              UnicodeDecodeError, ValueError)  # fmt: skip
"""What the standard library raises for archives that are damaged or need what it does not have."""


def is_workbook(path: Path) -> bool:
    """Whether a zip file is an Excel workbook.

    Args:
        path: A file that begins as a zip archive does.

    Raises:
        DataError: It is damaged.
    """
    return any(name.startswith("xl/") for name in (info.filename for info in _members(path, "a workbook (.xlsx)")))


def members(path: Path) -> tuple[str, ...]:
    """The files in a zip archive, sorted; folders and what systems add (`__MACOSX`, hidden files) left out.

    Args:
        path: The archive.

    Raises:
        DataError: It is damaged, or holds what is refused.
    """
    infos = [info for info in _members(path, "a zip archive") if not info.is_dir()]
    names = [info.filename for info in infos]
    if any(name in _DOCUMENT_PARTS for name in names):
        found = "is a document of an office program (such as .docx or .odt), not a table"
        raise DataError(str(path), found, "text or a table", "Save it as text (.txt, .md), or its table as csv.")
    for info in infos:
        _refuse_member(path, info)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(str(path), f"holds two files called {twice[0]}", "one", "Pack it again.")
    refuse_bomb(str(path), sum(info.compress_size for info in infos), sum(info.file_size for info in infos))
    return tuple(sorted(name for name in names if not _is_added(name)))


def open_member(file: BinaryIO, member: str, name: str) -> BinaryIO:
    """A file in an archive, as a stream that can go back to its start.

    Args:
        file: The archive, which is closed with the member.
        member: One of `members`.
        name: What messages call it.

    Raises:
        DataError: It is not there or damaged; later, while reading, damaged or a bomb.
    """
    try:
        archive = zipfile.ZipFile(file)
        info = archive.getinfo(member)
        opened = archive.open(info)
    except (KeyError, *ZIP_ERRORS) as error:
        raise _damaged(name) from error
    return io.BufferedReader(_Member(file, opened, info, name), 2**18)


class _Member(io.RawIOBase):
    """A member's bytes, with errors in our words."""

    def __init__(self, file: BinaryIO, opened: Any, info: zipfile.ZipInfo, name: str) -> None:
        self._file, self._opened, self._info, self._name = file, opened, info, name
        self._out = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            self._out = self._opened.seek(place, whence)
        except ZIP_ERRORS as error:
            raise _damaged(self._name) from error
        return self._out

    def tell(self) -> int:
        return self._out

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._opened.read(len(buffer))
        except ZIP_ERRORS as error:
            raise _damaged(self._name) from error
        self._out += len(data)
        refuse_bomb(self._name, self._info.compress_size, self._out)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
            self._file.close()
        super().close()


def _members(path: Path, wanted: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except ZIP_ERRORS as error:
        raise DataError(str(path), "is damaged", wanted, "Save it again.") from error
    if len(infos) > MOST_MEMBERS:
        raise DataError(str(path), f"holds {len(infos):,} files", f"at most {MOST_MEMBERS:,}", "Unpack it first.")
    return infos


def _refuse_member(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    shown = name if len(name) <= 100 and name.isprintable() else "a name that cannot be shown"
    parts = re.split(r"[/\\]", name)
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        found = f"holds {shown}, which leads out of the folder that it is unpacked to"
        raise DataError(str(path), found, "names inside of it", "Do not trust this archive.")
    if info.flag_bits & _ENCRYPTED:
        raise DataError(str(path), f"holds {shown}, which is encrypted", "", "Unpack it with its password first.")


def _is_added(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(part.startswith((".", "~$")) for part in parts)


def _damaged(name: str) -> DataError:
    return DataError(name, "is damaged (zip)", "", "Pack it again, or give it unpacked.")
