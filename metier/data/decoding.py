"""Bytes to text: byte order marks, UTF-8, and Windows-1252 for the lines that are not UTF-8."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Text of a file, how it was decoded, and the physical lines that needed the fallback."""

    text: str
    r"""Line ends are `\n`."""
    encoding: str
    odd_lines: tuple[int, ...] = ()
    """1-based numbers of the lines read as Windows-1252 in a file that is UTF-8 elsewhere."""


def decode_text(data: bytes, *, name: str, encoding: str | None = None) -> Decoded:
    r"""Decode a text file; line ends become `\n`.

    Args:
        data: The file's bytes.
        name: The file, for messages.
        encoding: What the recipe says, or None to find out.

    Raises:
        DataError: The bytes are no text, or not of the encoding that the recipe names.
    """
    if encoding is not None:
        return Decoded(text=_same_line_ends(_decode_as(data, encoding, name)), encoding=encoding)
    for mark, found in _MARKS:
        if data.startswith(mark):
            return Decoded(text=_same_line_ends(_decode_as(data, found, name)), encoding=found)
    if b"\0" in data[:65_536]:
        return Decoded(text=_same_line_ends(_decode_without_mark(data, name)), encoding="utf-16 without BOM")
    try:
        return Decoded(text=_same_line_ends(data.decode("utf-8")), encoding="utf-8")
    except UnicodeDecodeError:
        return _decode_by_line(data)


def _decode_as(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        fix = "Leave data.encoding out, or use a name such as utf-8, utf-16, windows-1252."
        raise DataError("data.encoding", f"is `{encoding}`", "a known text encoding", fix) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"is not valid {encoding} in line {line} (byte {error.start})"
        raise DataError(name, found, "", "Leave data.encoding out, or name the right one.") from error


def _decode_without_mark(data: bytes, name: str) -> str:
    # Latin text in UTF-16 has a zero in every second byte; anything else with zeros is no text.
    sample = data[:4096]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[start::2].count(0) > 0.7 * len(sample[start::2]) and sample[1 - start :: 2].count(0) == 0:
            return _decode_as(data, encoding, name)
    wanted = "csv, tsv, json, jsonl, parquet or xlsx"
    raise DataError(name, "is a binary file", wanted, "Export it as one of these.")


def _decode_by_line(data: bytes) -> Decoded:
    parts: list[str] = []
    odd: list[int] = []
    valid = 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            parts.append(line.decode("utf-8"))
            valid += not line.isascii()
        except UnicodeDecodeError:
            parts.append(line.decode(_FALLBACK, "replace"))
            odd.append(number)
    text = _same_line_ends("\n".join(parts))
    if not valid:
        return Decoded(text=text, encoding=_FALLBACK)
    return Decoded(text=text, encoding=f"utf-8 and {_FALLBACK}", odd_lines=tuple(odd))


def _same_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
