"""What format a file has: by what it begins with, then by the ending of its name."""

from __future__ import annotations

from pathlib import Path

from metier.data import unpacking
from metier.data.archive import MARK as ZIP
from metier.data.archive import is_workbook
from metier.data.parquet_reader import ARROW, ARROW_STREAM
from metier.errors import DataError

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".arrow": "arrow",
    ".xml": "xml",
}
"""Ending of a name -> format."""
WANTED = "csv, tsv, json, jsonl, parquet or xlsx"
BLANK = b"\xef\xbb\xbf\r\n\t "
"""What a file without anything in it may hold."""
_SPACE = b"\xef\xbb\xbf\xff\xfe\0\r\n\t "
_REFUSED = (
    (
        b"\xd0\xcf\x11\xe0",
        "is an old Excel workbook (.xls) or has a password",
        "Save it as .xlsx without one, or as .csv.",
    ),
    (b"%PDF", "is a PDF", "Give the text as csv, jsonl or xlsx."),
    (b"Rar!", "is a rar archive", "Unpack it first."),
    (b"7z\xbc\xaf'\x1c", "is a 7z archive", "Unpack it first."),
    *((mark, "is packed twice", "Unpack it first.") for mark in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")),
)


def data_suffix(path: Path) -> str:
    """The ending that says what a file holds, `.gz` and its like left out; empty for one that is not known."""
    suffix = Path(_plain_name(path)).suffix
    return suffix if suffix in SUFFIXES else ""


def data_stem(path: Path) -> str:
    """A file's name in lower case without the endings that say what it holds."""
    return Path(_plain_name(path)).stem


def format_of(head: bytes, path: Path, shown: str) -> str:
    """The format of a file, by its first bytes and its name.

    Args:
        head: The first bytes, unpacked, as many as hold two lines.
        path: The file, or its name in an archive.
        shown: What messages call it.

    Raises:
        DataError: It is of a kind that is not read, or not what its name says.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(ARROW) or (path.suffix.lower() == ".arrow" and head.startswith(ARROW_STREAM)):
        return "arrow"
    if head.startswith(ZIP):
        return "xlsx"
    for mark, found, fix in _REFUSED:
        if head.startswith(mark):
            raise DataError(shown, found, WANTED, fix)
    by_name = SUFFIXES.get(data_suffix(path))
    if by_name in ("parquet", "xlsx"):
        raise DataError(shown, f"is no {by_name} file, though its name says so", "", "Rename it, or save it again.")
    if by_name in ("csv", "tsv", "jsonl"):
        return by_name
    # A text file of another name, or .json that may hold one object a line.
    start = head.replace(b"\0", b"").lstrip(_SPACE)
    if start[:1] == b"[":
        return "json"
    if start[:1] == b"{":
        return "jsonl" if _is_lines(start) else "json"
    if start[:5] == b"<?xml" or (path.suffix.lower() == ".xml" and start[:1] == b"<"):
        return "xml"
    return by_name or "csv"


def is_zip_of_data(path: Path) -> bool:
    """Whether a file is a zip archive, and no workbook.

    Args:
        path: Any file that can be read.

    Raises:
        DataError: It begins as an archive and is damaged.
    """
    with path.open("rb") as file:
        begins = file.read(len(ZIP)) == ZIP
    return begins and not is_workbook(path)


def _plain_name(path: Path) -> str:
    name = path.name.lower()
    ending = next((ending for ending in unpacking.SUFFIXES if name.endswith(ending)), "")
    return name.removesuffix(ending)


def _is_lines(start: bytes) -> bool:
    """Whether each of the first lines is an object of its own."""
    lines = [line.strip() for line in start.split(b"\n", 2)[:2]]
    whole = lines[0].endswith(b"}")
    return whole and len(lines) > 1 and lines[1].startswith(b"{")
