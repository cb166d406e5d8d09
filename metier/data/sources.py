"""One file in, one `Table` out, whatever the format: found by content, not by the file's name."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from metier.data.card import SourceFile
from metier.data.columns import is_usual_name
from metier.data.csv_reader import read_csv
from metier.data.json_reader import read_json, read_jsonl
from metier.data.parquet_reader import read_parquet
from metier.data.table import Content, ReadOptions, Table
from metier.data.text_reader import read_document, read_lines
from metier.data.workbook import read_workbook
from metier.errors import DataError

READERS: dict[str, Callable[[bytes, ReadOptions], Content]] = {
    "csv": read_csv,
    "tsv": read_csv,
    "json": read_json,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "xlsx": read_workbook,
    "lines": read_lines,
    "text": read_document,
}
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
}
_GZIP = b"\x1f\x8b"
_REFUSED = (
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (.xls)", "Save it as .xlsx or .csv."),
    (b"%PDF", "is a PDF", "Give the text as csv, jsonl or xlsx."),
    (b"BZh", "is compressed (bzip2)", "Unpack it first."),
    (b"\xfd7zXZ", "is compressed (xz)", "Unpack it first."),
    (b"(\xb5/\xfd", "is compressed (zstd)", "Unpack it first."),
)


def read_table(
    path: Path,
    *,
    format: str = "auto",
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    name: str | None = None,
) -> Table:
    """Read one file; broken rows are kept apart with their row number.

    Args:
        path: The file.
        format: A name in `READERS`, or `auto`: by content.
        delimiter: Column separator of a text table. None: found by itself.
        encoding: Text encoding. None: found by itself.
        sheet: Sheet of a workbook. None: the first that has rows.
        name: What messages and records call the file. None: its own name.

    Raises:
        DataError: It is missing, empty, holds no table, or only a header.
    """
    name = name or path.name
    packed = _bytes_of(path, may_be_empty=format == "text")
    data = _unpacked(packed, path)
    found = _format_of(data, path) if format == "auto" else format
    wanted_delimiter = delimiter or ("\t" if format == "tsv" else None)
    options = ReadOptions(
        name=name, suffix=data_suffix(path), delimiter=wanted_delimiter, encoding=encoding, sheet=sheet
    )
    content = READERS[found](data, options)
    if found == "csv" and content.delimiter == "\t":
        found = "tsv"
    if not content.rows and not content.broken:
        raise DataError(name, "has a header but no rows", "", "Give a file with data.")
    if found in ("csv", "tsv", "xlsx"):
        _refuse_headless(content, name)
    notices = _name_notice(name, path, found)
    return Table(
        rows=content.rows,
        row_numbers=content.row_numbers,
        columns=content.columns,
        broken=content.broken,
        source=SourceFile(
            name=name,
            path=str(path),
            sha256=hashlib.sha256(packed).hexdigest(),
            format=found,
            encoding=content.encoding,
            delimiter=content.delimiter,
            rows=len(content.rows) + len(content.broken),
            columns=content.columns,
        ),
        notices=(*notices, *content.notices),
        repaired=content.repaired,
    )


def data_suffix(path: Path) -> str:
    """The ending that says what a file holds, `.gz` behind it left out; empty for one that is not known."""
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    return suffix if suffix in SUFFIXES else ""


def data_stem(path: Path) -> str:
    """A file's name in lower case without the endings that say what it holds."""
    return Path(path.name.lower().removesuffix(".gz")).stem


def _unpacked(data: bytes, path: Path) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        inside = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(path), "is damaged (gzip)", "", "Pack it again, or give it unpacked.") from error
    if not inside.strip():
        raise DataError(str(path), "is empty", "a header and rows", "Give a file with data.")
    return inside


def _bytes_of(path: Path, *, may_be_empty: bool) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(str(path), "does not exist", "a data file", "Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "is a folder", "a file") from error
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror or error})", "", "Check permissions.") from error
    if not may_be_empty and not data.strip(b"\xef\xbb\xbf\r\n\t "):
        raise DataError(str(path), "is empty", "a header and rows", "Give a file with data.")
    return data


def _format_of(data: bytes, path: Path) -> str:
    if data.startswith(b"PAR1"):
        return "parquet"
    if data.startswith(b"PK\x03\x04"):
        return _zip_format(data, path)
    for mark, found, fix in _REFUSED:
        if data.startswith(mark):
            raise DataError(str(path), found, "csv, tsv, json, jsonl, parquet or xlsx", fix)
    by_name = SUFFIXES.get(data_suffix(path))
    if by_name in ("parquet", "xlsx"):
        raise DataError(str(path), f"is no {by_name} file, though its name says so", "", "Rename it, or save it again.")
    if by_name in ("csv", "tsv", "jsonl"):
        return by_name
    # A text file of another name, or .json that may hold one object a line.
    start = data.lstrip(b"\xef\xbb\xbf\xff\xfe\0\r\n\t ")
    if start[:1] == b"[":
        return "json"
    if start[:1] == b"{":
        return "jsonl" if _is_lines(start) else "json"
    return by_name or "csv"


def _zip_format(data: bytes, path: Path) -> str:
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile as error:
        raise DataError(str(path), "is damaged", "a workbook (.xlsx)", "Save it again.") from error
    if any(name.startswith("xl/") for name in names):
        return "xlsx"
    raise DataError(str(path), "is a zip archive that holds no workbook", "", "Unpack it, or give the file inside.")


def _is_lines(start: bytes) -> bool:
    """Whether each of the first lines is an object of its own."""
    lines = [line.strip() for line in start.split(b"\n", 2)[:2]]
    whole = lines[0].endswith(b"}")
    return whole and len(lines) > 1 and lines[1].startswith(b"{")


def _refuse_headless(content: Content, name: str) -> None:
    """A first row whose cells come again in their columns is no header; its text must not end up in messages."""
    if any(is_usual_name(column) for column in content.columns):
        return
    for column in content.columns:
        again = sum(row[column] == column for row in content.rows)
        if len(column) > 200 or again > 1:
            found = "has no column names: its first row looks like data"
            raise DataError(name, found, "a header", "Add a first row with column names, such as `text,label`.")


def _name_notice(name: str, path: Path, found: str) -> tuple[str, ...]:
    by_name = SUFFIXES.get(data_suffix(path))
    if found in ("lines", "text"):
        return ()
    if by_name == found or {by_name, found} == {"csv", "tsv"}:
        return ()
    return (f"{name}: read as {found}, by its content",)
