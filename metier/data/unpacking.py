"""Packed files as what is inside them: gzip, bzip2, xz and zstd, told by their first bytes, read piece by piece.

Damage is an error, never a file that is silently shorter; a bomb (little that becomes much) is refused on the
way. The only file that knows the package zstandard.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from metier.errors import DataError, MissingPackage

MOST_RATIO = 250
"""Times by which a packed file may grow. A character of English holds about one bit (Shannon 1951, "Prediction and
Entropy of Printed English"), so text packs to an eighth; data that packs thirty times better than that says nothing."""
FREE_BYTES = 2**26
"""Bytes that may come out before the ratio counts: a small table of equal rows is no attack."""
_FEED = 4096
"""Bytes fed at once: the most extreme formats make some 100 MB of them, which then is refused."""
_MEMORY = 2**28
"""Bytes that the window of an xz or zstd file may take. `xz -9` wants 65 MiB, `zstd --ultra -22` 128 MiB."""
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""Endings of packed files."""


class _Decoder(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, /) -> bytes:
        """What `data` becomes."""


@dataclass(frozen=True)
class _Packing:
    name: str
    marks: tuple[bytes, ...]
    """How a packed file, or another part behind it, begins."""
    decoder: Callable[[], Any]
    errors: Callable[[], tuple[type[Exception], ...]]
    """What the decoder raises for damage."""


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        fix = "Install it: pip install zstandard. Or unpack the file first."
        raise MissingPackage("zstandard", "is needed for files packed with zstd, and not installed", "", fix) from error
    return zstandard


def _zstd() -> Any:
    return _zstandard().ZstdDecompressor(max_window_size=_MEMORY // 2).decompressobj()


_SKIPPABLE = tuple(bytes([0x50 + number]) + b"*M\x18" for number in range(16))
_PACKINGS = (
    _Packing("gzip", (b"\x1f\x8b",), lambda: zlib.decompressobj(wbits=31), lambda: (zlib.error,)),
    _Packing("bzip2", (b"BZh",), bz2.BZ2Decompressor, lambda: (OSError, ValueError, EOFError)),
    _Packing("xz", (b"\xfd7zXZ\0",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY), lambda: (lzma.LZMAError,)),
    _Packing("zstd", (b"(\xb5/\xfd", *_SKIPPABLE), _zstd, lambda: (_zstandard().ZstdError,)),
)


def unpacked(file: BinaryIO, name: str) -> BinaryIO:
    """What is in a file, if it is packed, and otherwise the file itself.

    Args:
        file: At its start, and able to go back there.
        name: The file, for messages.

    Raises:
        DataError: (while reading) It is damaged, or a bomb.
        MissingPackage: It is packed with zstd, and zstandard is not installed.
    """
    head = file.read(6)
    file.seek(0)
    for packing in _PACKINGS:
        if head.startswith(packing.marks) and not (packing.name == "zstd" and head.startswith(_SKIPPABLE)):
            return io.BufferedReader(_Unpacking(file, packing, name), 2**18)
    return file


def refuse_bomb(name: str, packed: int, unpacked: int) -> None:
    """An error where so much came out of so little that it can be no data.

    Args:
        name: The file, for messages.
        packed: Bytes read.
        unpacked: Bytes that came out of them.

    Raises:
        DataError: It is so.
    """
    if unpacked > FREE_BYTES and unpacked > MOST_RATIO * max(packed, 1):
        found = f"becomes more than {MOST_RATIO} times larger when it is unpacked, as an attack does and no data"
        raise DataError(name, found, "", "If it is right, give it unpacked.")


class _Unpacking(io.RawIOBase):
    """The bytes inside a packed file, one part after another."""

    def __init__(self, file: BinaryIO, packing: _Packing, name: str) -> None:
        self._file, self._packing, self._name = file, packing, name
        self._decoder: _Decoder = packing.decoder()
        self._in = self._out = 0
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready:
            self._ready = memoryview(self._next())
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _next(self) -> bytes:
        """The next bytes; none at the end of the last part."""
        while True:
            packed = self._rest_behind_part() if self._decoder.eof else self._file.read(_FEED)
            if not packed:
                if self._decoder.eof:
                    return b""
                raise self._damaged()  # cut off
            self._in += len(packed)
            try:
                data = self._decoder.decompress(packed)
            except self._packing.errors() as error:
                raise self._damaged() from error
            self._out += len(data)
            refuse_bomb(self._name, self._in, self._out)
            if data:
                return data

    def _rest_behind_part(self) -> bytes:
        """The start of another part behind a finished one, with a decoder for it; none: that was all."""
        rest = self._decoder.unused_data
        if len(rest) < 6:
            rest += self._file.read(_FEED)
        while rest and not rest.strip(b"\0"):  # tapes and blocks are filled up with zeros
            rest = self._file.read(_FEED)
        rest = rest.lstrip(b"\0")
        if not rest:
            return b""
        if not rest.startswith(self._packing.marks):
            raise self._damaged()
        self._in -= len(self._decoder.unused_data)
        self._decoder = self._packing.decoder()
        return rest

    def _damaged(self) -> DataError:
        fix = "Pack it again, or give it unpacked."
        return DataError(self._name, f"is damaged ({self._packing.name})", "", fix)
