"""Everything that stands in the files of a folder, unpacked: gzip, zip, zstd, bz2, xz, tar, Parquet and Arrow.

What is packed inside of something packed is unpacked too. By their first bytes, not by their names. All else is
given as the bytes that it is: safetensors with their metadata, SQLite, pictures, weights.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

BLOCK = 1 << 22
"""Bytes that are given at once."""
DEEPEST = 5
"""Files inside files."""
MOST_IN_MEMORY = 1 << 28
"""Bytes of a packed file that is held in memory, because what unpacks it needs all of it."""
MOST_UNPACKED = 1 << 36
"""Bytes after which one file is taken for one that was made to fill a disk."""
_HEAD = 512


@dataclass
class Contents:
    """The contents of a folder, and what could not be looked into."""

    folder: Path
    unread: list[str] = field(default_factory=list)
    """Place and reason; never silently left out."""
    files: int = 0
    size: int = 0
    """Bytes read in all, unpacked."""

    def parts(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Place and blocks of every file, of the name of every file, and of everything packed in it.

        The place of something packed is `file!member`. Links are not followed: where they lead is given.
        """
        for path in sorted(self.folder.rglob("*")):
            place = path.relative_to(self.folder).as_posix()
            yield f"name of {place}", iter((path.name.encode("utf-8", "surrogateescape"),))
            if path.is_symlink():
                yield f"link {place}", iter((str(path.readlink()).encode("utf-8", "surrogateescape"),))
            elif path.is_file():
                self.files += 1
                yield from self._of_file(path, place)

    def _of_file(self, path: Path, place: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        try:
            with path.open("rb") as file:
                yield place, self._blocks(file, place)
            with path.open("rb") as file:
                yield from self._inside(file, place, 1)
        except OSError as error:
            self.unread.append(f"{place}: {error.strerror or type(error).__name__}")

    def _blocks(self, file: BinaryIO, place: str) -> Iterator[bytes]:
        total = 0
        try:
            while block := file.read(BLOCK):
                total += len(block)
                self.size += len(block)
                if total > MOST_UNPACKED:
                    self.unread.append(f"{place}: more than {MOST_UNPACKED:,} bytes")
                    return
                yield block
        except _faults() as error:
            self.unread.append(f"{place}: {type(error).__name__}")

    def _inside(self, file: BinaryIO, place: str, depth: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """What is packed in a file, which is at its beginning."""
        file, head = _with_head(file)
        unpack = next((unpack for known, unpack in PACKED.items() if _is(head, known)), None)
        if unpack is None:
            return
        if depth > DEEPEST:
            self.unread.append(f"{place}: packed more than {DEEPEST} times")
            return
        try:
            for name, member in unpack(file):
                inner = f"{place}!{name}"
                if not _may_be_packed(member):
                    yield inner, self._blocks(member, inner)
                    continue
                data = member.read(MOST_IN_MEMORY + 1)
                if len(data) > MOST_IN_MEMORY:
                    self.unread.append(f"{inner}: packed twice and too large")
                    continue
                yield inner, self._blocks(io.BytesIO(data), inner)
                yield from self._inside(io.BytesIO(data), inner, depth + 1)
        except _faults() as error:
            self.unread.append(f"{place}: {type(error).__name__}")


def _faults() -> tuple[type[Exception], ...]:
    """What broken or encrypted files raise in those who unpack them."""
    import pyarrow as pa  # type: ignore[import-untyped]

    return (
        OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError,
        zipfile.BadZipFile, tarfile.TarError, pa.ArrowException,
    )  # fmt: skip


Members = Iterator[tuple[str, BinaryIO]]


def _gzip(file: BinaryIO) -> Members:
    yield "gz", cast(BinaryIO, gzip.GzipFile(fileobj=file))


def _bzip2(file: BinaryIO) -> Members:
    yield "bz2", cast(BinaryIO, bz2.BZ2File(file))


def _xz(file: BinaryIO) -> Members:
    yield "xz", cast(BinaryIO, lzma.LZMAFile(file))  # noqa: SIM115 - the caller reads it


def _zstd(file: BinaryIO) -> Members:
    import pyarrow as pa

    unpacked = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    yield "zst", io.BufferedReader(unpacked)


def _zip(file: BinaryIO) -> Members:
    with zipfile.ZipFile(file) as archive:
        if archive.comment:
            yield "comment", io.BytesIO(archive.comment)
        for about in archive.infolist():
            yield f"name {about.header_offset}", io.BytesIO(about.filename.encode() + b"\n" + about.comment)
            if not about.is_dir():
                with archive.open(about) as member:
                    yield about.filename, cast(BinaryIO, member)


def _tar(file: BinaryIO) -> Members:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for about in archive:
            yield f"name {about.offset}", io.BytesIO(about.name.encode("utf-8", "surrogateescape"))
            member = archive.extractfile(about) if about.isfile() else None
            if member is not None:
                yield about.name, cast(BinaryIO, member)


def _parquet(file: BinaryIO) -> Members:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pq.ParquetFile(file)
    for number, batch in enumerate(table.iter_batches(batch_size=10_000)):
        yield f"rows {number * 10_000}", io.BytesIO(_texts_of(batch))


def _arrow(file: BinaryIO) -> Members:
    import pyarrow.ipc as ipc  # type: ignore[import-untyped]

    table = ipc.open_file(file)
    for number in range(table.num_record_batches):
        yield f"batch {number}", io.BytesIO(_texts_of(table.get_batch(number)))


PACKED: dict[tuple[int, bytes], Callable[[BinaryIO], Members]] = {
    (0, b"\x1f\x8b"): _gzip,
    (0, b"BZh"): _bzip2,
    (0, b"\xfd7zXZ\x00"): _xz,
    (0, b"\x28\xb5\x2f\xfd"): _zstd,
    (0, b"PK\x03\x04"): _zip,
    (257, b"ustar"): _tar,
    (0, b"PAR1"): _parquet,
    (0, b"ARROW1"): _arrow,
}
"""Place and first bytes -> what unpacks it."""


def _is(head: bytes, known: tuple[int, bytes]) -> bool:
    place, mark = known
    return head[place : place + len(mark)] == mark


def _with_head(file: BinaryIO) -> tuple[BinaryIO, bytes]:
    head = file.read(_HEAD)
    file.seek(0)
    return file, head


def _may_be_packed(member: BinaryIO) -> bool:
    """Whether a member begins like something packed; it is at its beginning afterwards, or is taken for packed."""
    peek = getattr(member, "peek", None)
    if peek is None:
        return True  # it cannot be looked at without reading: all of it is read, and looked at then
    head = bytes(peek(_HEAD)[:_HEAD])
    return any(_is(head, known) for known in PACKED)


def _texts_of(batch: Any) -> bytes:
    """All texts and bytes in a record batch, each on a line."""
    lines: list[bytes] = []

    def take(value: Any) -> None:
        if isinstance(value, str):
            lines.append(value.encode("utf-8", "surrogatepass"))
        elif isinstance(value, bytes):
            lines.append(value)
        elif isinstance(value, dict):
            for name, inner in value.items():
                take(name)
                take(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                take(inner)
        elif value is not None and not isinstance(value, bool | int | float):
            lines.append(str(value).encode())

    for column in batch.columns:
        take(column.to_pylist())
    return b"\n".join(lines)
