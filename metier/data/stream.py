"""The streaming door: the rows of one file in batches, whatever its format and size, in bounded memory.

    for batch in stream_rows(source, watch=progress):
        spool(batch.rows, batch.row_numbers, batch.broken)

Text tables, JSON Lines, JSON lists, lines, XML and Parquet never are in memory as a whole. A workbook's texts are
(its format keeps them in one list), as is JSON that is no list, up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metier.data.batches import Batch, FileFacts, RowReader, in_batches
from metier.data.card import SourceFile
from metier.data.columns import is_usual_name
from metier.data.csv_reader import csv_rows
from metier.data.data_source import DataSource, Watch, one_source, open_source, source_hash
from metier.data.formats import BLANK, SUFFIXES, data_suffix, format_of
from metier.data.json_reader import json_rows, jsonl_rows
from metier.data.parquet_reader import arrow_rows, parquet_rows
from metier.data.table import ReadOptions
from metier.data.text_reader import document_rows, line_rows
from metier.data.workbook import workbook_rows
from metier.data.xml_reader import xml_rows
from metier.errors import DataError

READERS: Mapping[str, RowReader] = {
    "csv": csv_rows,
    "tsv": csv_rows,
    "json": json_rows,
    "jsonl": jsonl_rows,
    "parquet": parquet_rows,
    "xlsx": workbook_rows,
    "lines": line_rows,
    "text": document_rows,
    "arrow": arrow_rows,
    "xml": partial(xml_rows, records=None),
}
"""Format that a recipe can name -> its reader; xml is given the path of its rows besides."""
_JUMP = ("parquet", "arrow", "xlsx")
_WITH_HEADER = ("csv", "tsv", "xlsx")
_HEAD = 2**20
"""Bytes from which a format is told; two lines of JSON should be in them."""
BATCH_ROWS = 5000
BATCH_CHARACTERS = 2**23


@dataclass(frozen=True, kw_only=True)
class HowToRead:
    """What a recipe says about its files; None means: found by itself."""

    format: str = "auto"
    """A name in `READERS`, or `auto`: by content."""
    delimiter: str | None = None
    """Column separator of a text table."""
    encoding: str | None = None
    """Of text."""
    sheet: str | None = None
    """Of a workbook."""
    records: str | None = None
    """Path of the repeated element of an XML file; of no meaning elsewhere."""
    pairs: bool = False
    """Whether a JSON object of plain values is a table with the columns `key` and `value`: labels by id."""


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """What is known of a file when its last row has been read."""

    source: SourceFile
    notices: tuple[str, ...]


class RowStream:
    """The rows of one file in batches; going through it again reads the file again.

    Raises:
        DataError: (while going through) The file is missing, empty, damaged, holds no table, or only a header. What
            was given before stands.
        MissingPackage: (the same) What packs the file, or XML, needs a package that is not installed.
    """

    def __init__(self, source: DataSource, how: HowToRead, watch: Watch | None, batch_rows: int) -> None:
        """See `stream_rows`."""
        self.source = source
        self._how, self._watch, self._batch_rows = how, watch, batch_rows
        self._summary: FileSummary | None = None

    def __iter__(self) -> Iterator[Batch]:
        """The batches, in the order of the file; none is empty."""
        source, how = self.source, self._how
        found = self._format()
        separator = how.delimiter or ("\t" if found == "tsv" else None)
        options = ReadOptions(name=source.name, suffix=data_suffix(source.inner), delimiter=separator,
                              encoding=how.encoding, sheet=how.sheet)  # fmt: skip
        reader = self._reader(found)
        facts = FileFacts()
        rows = 0
        header = _HeaderCheck(source.name) if found in _WITH_HEADER else None
        with open_source(source, jumps=found in _JUMP, watch=self._watch) as file:
            items = reader(file, options, facts)
            for batch in in_batches(items, rows=self._batch_rows, characters=BATCH_CHARACTERS):
                rows += len(batch)
                if header is not None:
                    header.look(batch, facts)
                yield batch
        if not rows:
            raise DataError(source.name, "has a header but no rows", "", "Give a file with data.")
        if found == "csv" and facts.delimiter == "\t":
            found = "tsv"
        self._summary = self._finished(found, facts, rows)

    def summary(self) -> FileSummary:
        """What is known of the file, after its last row.

        Raises:
            ValueError: The stream was not gone through to its end.
        """
        if self._summary is None:
            raise ValueError(f"{self.source.name}: not read to its end")
        return self._summary

    def _format(self) -> str:
        """The file's format; refuses an empty file."""
        source, how = self.source, self._how
        with open_source(source) as file:
            head = file.read(_HEAD)
        empty = not head.strip(BLANK) and len(head) < _HEAD
        if empty and how.format != "text":
            raise DataError(str(source.path), "is empty", "a header and rows", "Give a file with data.")
        if how.format != "auto":
            return how.format
        return format_of(head, source.inner, str(source.path) if source.member is None else source.name)

    def _reader(self, found: str) -> RowReader:
        if found == "xml":
            return partial(xml_rows, records=self._how.records)
        return partial(json_rows, pairs=self._how.pairs) if found == "json" else READERS[found]

    def _finished(self, found: str, facts: FileFacts, rows: int) -> FileSummary:
        source = self.source
        by_name = SUFFIXES.get(data_suffix(source.inner))
        as_named = by_name == found or {by_name, found} == {"csv", "tsv"} or found in ("lines", "text", "xml", "arrow")
        said = () if as_named else (f"{source.name}: read as {found}, by its content",)
        return FileSummary(
            source=SourceFile(
                name=source.name,
                path=str(source.path),
                sha256=source_hash(source),
                format=found,
                encoding=facts.encoding,
                delimiter=facts.delimiter,
                rows=rows,
                columns=tuple(facts.columns),
            ),
            notices=(*said, *facts.notices),
        )


class _HeaderCheck:
    """A first row whose cells come again in their columns is no header; its text must not end up in messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._again: dict[str, int] | None = None

    def look(self, batch: Batch, facts: FileFacts) -> None:
        if self._again is None:
            usual = any(is_usual_name(column) for column in facts.columns)
            self._again = {} if usual else dict.fromkeys(facts.columns, 0)
        for column in self._again:
            self._again[column] += sum(row.get(column) == column for row in batch.rows)
            if len(column) > 200 or self._again[column] > 1:
                found = "has no column names: its first row looks like data"
                raise DataError(
                    self._name, found, "a header", "Add a first row with column names, such as `text,label`."
                )


def stream_rows(
    source: DataSource | Path,
    how: HowToRead | None = None,
    *,
    watch: Watch | None = None,
    batch_rows: int = BATCH_ROWS,
) -> RowStream:
    """The rows of one file in batches.

    A batch has at most `batch_rows` rows and about `BATCH_CHARACTERS` characters. Rows that cannot be read are in
    their batch's `broken`, with row and line; the file goes on behind them.

    Args:
        source: A file, packed or not, or one in an archive (`find_sources`).
        how: What the recipe says about it. None: everything is found by itself.
        watch: Is told the bytes read of the file on disk, and how many it has.
        batch_rows: Rows of a batch, at most.

    Raises:
        DataError: A path leads to no file, or to an archive of several.
    """
    if isinstance(source, Path):
        source = one_source(source)
    return RowStream(source, how or HowToRead(), watch, batch_rows)
