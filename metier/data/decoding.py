r"""Bytes to text, block by block: byte order marks, UTF-8, and Windows-1252 for the lines that are not UTF-8.

A text of any size passes in blocks of about `BLOCK` characters; line ends become `\n` on the way.
"""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from metier.errors import DataError

# The longer mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FALLBACK = "windows-1252"
_HEAD = 65_536
BLOCK = 2**20
"""Bytes that are decoded together."""
MOST_LINE = 2**24
"""Characters of the longest line that is read; 8,000 pages. A longer one is rejected, so that memory stays bounded."""
LONG_LINE = "\ufdd0a line longer than can be read\ufdd0"
"""What stands for such a line. U+FDD0 is a noncharacter, kept by Unicode for a program's own use."""
_STRAY_ZEROS = 1000
"""A text may have one zero byte in so many (damage); a file with more is no text."""


class TextBlocks:
    r"""The text of a file in blocks, in order, with `\n` as line end; to be gone through once.

    Raises:
        DataError: (while going through) The bytes are no text, or not of the encoding that the recipe names.
    """

    def __init__(self, file: BinaryIO, *, name: str, encoding: str | None = None) -> None:
        """Nothing is read yet.

        Args:
            file: At its start.
            name: The file, for messages.
            encoding: What the recipe says, or None to find out.
        """
        self._file, self._name, self._given = file, name, encoding
        self._found = ""
        self._lines = 0
        self._valid = False
        """Whether a line with characters beyond ASCII was UTF-8."""
        self._odd: array[int] = array("Q")

    @property
    def encoding(self) -> str:
        """How the text was decoded, as far as it was read."""
        if self._found or not self._odd:
            return self._found or "utf-8"
        return f"utf-8 and {_FALLBACK}" if self._valid else _FALLBACK

    @property
    def odd_lines(self) -> array[int]:
        """1-based numbers of the lines read as Windows-1252, as far as was read; right at the end of the file."""
        return self._odd if self._valid else self._odd[:0]

    @property
    def suspects(self) -> array[int]:
        """The same, while it is not known yet whether other lines are UTF-8."""
        return self._odd

    def __iter__(self) -> Iterator[str]:
        """The blocks."""
        head = self._file.read(_HEAD)
        if self._given is not None:
            self._found = self._given
            return self._by_codec(head, _known(self._given, head))
        for mark, found in _MARKS:
            if head.startswith(mark):
                if found == "utf-8-sig":
                    self._valid = True
                    return self._by_line(head.removeprefix(mark), found)
                self._found = found
                return self._by_codec(head, found)
        if b"\0" in head and head.count(0) * _STRAY_ZEROS > len(head):
            self._found = "utf-16 without BOM"
            return self._by_codec(head, _without_mark(head, self._name))
        return self._by_line(head, "")

    def _by_line(self, rest: bytes, found: str) -> Iterator[str]:
        """UTF-8, with the other encoding for single lines."""
        more = b"-"
        while more:
            more = self._file.read(BLOCK)
            data = rest + more
            cut = _cut(data) if more else len(data)
            piece, rest = data[:cut], data[cut:]
            if b"\r" in piece:
                piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            text = self._decoded(piece)
            self._lines += piece.count(b"\n")
            if text:
                yield text
        if found and not self._odd:
            self._found = found

    def _decoded(self, piece: bytes) -> str:
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            return "\n".join(self._line(line, number) for number, line in enumerate(piece.split(b"\n"), start=1))
        self._valid = self._valid or not text.isascii()
        return text

    def _line(self, line: bytes, number: int) -> str:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            number += self._lines
            if not self._odd or self._odd[-1] != number:
                self._odd.append(number)
            return line.decode(_FALLBACK, "replace")
        self._valid = self._valid or not text.isascii()
        return text

    def _by_codec(self, data: bytes, encoding: str) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        fed, held, first = 0, "", True
        while True:
            waiting = len(decoder.getstate()[0])
            try:
                text = held + decoder.decode(data, not data)
            except UnicodeError as error:
                raise self._invalid(error, fed - waiting) from error
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            held = "\r" if text.endswith("\r") and data else ""
            text = _same_line_ends(text.removesuffix(held) if held else text)
            self._lines += text.count("\n")
            if text:
                yield text
            if not data:
                return
            fed += len(data)
            data = self._file.read(BLOCK)

    def _invalid(self, error: UnicodeError, before: int) -> DataError:
        encoding = self._given or self._found
        found = f"is not valid {encoding}"
        if isinstance(error, UnicodeDecodeError):
            line = self._lines + error.object.count(b"\n", 0, error.start) + 1
            found += f" in line {line} (byte {before + error.start})"
        return DataError(self._name, found, "", "Leave data.encoding out, or name the right one.")


def line_blocks(blocks: Iterable[str]) -> Iterator[str]:
    """The same text in blocks that end where a line ends; a line longer than `MOST_LINE` becomes `LONG_LINE`.

    Args:
        blocks: A text, cut anywhere.
    """
    rest, skipping = "", False
    for block in blocks:
        if skipping:
            end = block.find("\n")
            if end < 0:
                continue
            block, skipping = LONG_LINE + block[end:], False
        text = rest + block
        end = text.rfind("\n") + 1
        if end:
            yield text[:end]
        rest = text[end:]
        if len(rest) > MOST_LINE:
            rest, skipping = "", True
    if skipping or rest:
        yield LONG_LINE if skipping else rest


def _known(encoding: str, head: bytes) -> str:
    """The encoding that the recipe names, as a decoder that works in steps knows it."""
    try:
        # Not `codecs.lookup`: it also finds what is no text encoding (hex, zip).
        b" ".decode(encoding)
    except LookupError as error:
        fix = "Leave data.encoding out, or use a name such as utf-8, utf-16, windows-1252."
        raise DataError("data.encoding", f"is `{encoding}`", "a known text encoding", fix) from error
    except UnicodeError:
        pass  # known, and a space alone is too short for it
    plain = codecs.lookup(encoding).name
    if plain in ("utf-16", "utf-32") and not any(head.startswith(mark) for mark, found in _MARKS if found == plain):
        return f"{plain}-le"
    return encoding


def _without_mark(data: bytes, name: str) -> str:
    # Latin text in UTF-16 has a zero in every second byte; anything else with zeros is no text.
    sample = data[:4096]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[start::2].count(0) > 0.7 * len(sample[start::2]) and sample[1 - start :: 2].count(0) == 0:
            return encoding
    wanted = "csv, tsv, json, jsonl, parquet or xlsx"
    raise DataError(name, "is a binary file", wanted, "Export it as one of these.")


def _cut(data: bytes) -> int:
    """Where a block of UTF-8 ends: after its last line, or, in a long line, between two characters."""
    cut = data.rfind(b"\n") + 1
    if cut:
        return cut
    cut = len(data)
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] >= 0xC0:  # the first byte of a character whose last may not be here yet
            cut = len(data) - back
            break
        if data[-back] < 0x80:
            break
    return cut - (data[cut - 1 : cut] == b"\r")


def _same_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
