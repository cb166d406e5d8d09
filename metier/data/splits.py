"""A split: a handle on a Parquet file, never a list of all records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from metier.data.records import Choice, Conversation, Labelling, Marked, Message, Passage, Preference, Record
from metier.errors import RunFolderError
from metier.store.fingerprint import FingerprintOfList

R = TypeVar("R", bound=Record)
KINDS: Mapping[str, type[Record]] = {
    "choice": Choice,
    "conversation": Conversation,
    "labelling": Labelling,
    "marked": Marked,
    "passage": Passage,
    "preference": Preference,
}
"""Kind of record, as the file's schema names it."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "choice": ("id", "text", "label", "group", "source", "row", "user_id", "flags"),
    **dict.fromkeys(
        ("conversation", "labelling", "marked"),
        ("id", "text", "messages", "tools", "group", "source", "row", "user_id", "flags"),
    ),
    "passage": ("id", "text", "group", "source", "row", "user_id", "flags"),
    "preference": ("id", "text", "messages", "chosen", "rejected", "group", "source", "row", "user_id", "flags"),
}
_KIND = b"metier.kind"
ROW_GROUP = 65_536
"""Records of a row group: reading a piece needs no more memory than that."""
GROUP_CHARACTERS = 1 << 24
"""Characters of texts from which on a row group ends, however few its records are: writing holds one in memory."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Records on disk, in a fixed order."""

    name: str
    path: Path
    fingerprint: str
    """Hash of ids, answers and order."""

    def __len__(self) -> int:
        """Number of records."""
        return int(self._file().metadata.num_rows)

    def records(self) -> Iterator[Record]:
        """All records, in order, read in pieces."""
        for batch in self.batches(1024):
            yield from batch

    def batches(self, size: int) -> Iterator[list[Record]]:
        """All records, in order, in lists of `size`; the last may be shorter."""
        file = self._file()
        for batch in file.iter_batches(batch_size=size):
            yield _records(batch.to_pylist(), _kind_of(file.schema_arrow))

    def take(self, indices: Sequence[int]) -> list[Record]:
        """The records at `indices`, in that order."""
        import pyarrow as pa  # type: ignore[import-untyped]

        chosen = pa.array([int(index) for index in indices], pa.int64())
        table = self._file().read()
        return _records(table.take(chosen).to_pylist(), _kind_of(table.schema))

    def _file(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        try:
            return pq.ParquetFile(self.path, pre_buffer=False)  # else all that was read stays until the end
        except (OSError, pa.ArrowException) as error:
            raise RunFolderError(str(self.path), "is missing or damaged", "", "Run the recipe again.") from error


class SplitWriter:
    """Writes records as Parquet, some at a time; the same records give the same bytes."""

    def __init__(self, path: Path, kind: str = "choice", *, extra: Sequence[str] = (), piece: int = ROW_GROUP) -> None:
        """Begin.

        Args:
            path: The file; the caller's folder is put in place as a whole.
            kind: A name in `KINDS`.
            extra: Columns of text beside those of the records.
            piece: Records of one row group.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"row": pa.int64(), "flags": pa.list_(pa.string())}
        self._names, self._extra, self._piece = _COLUMNS[kind], tuple(extra), piece
        fields = [(name, types.get(name, pa.string())) for name in (*self._names, *self._extra)]
        self._schema = pa.schema(fields, metadata={_KIND: kind.encode()})
        self._file: Any = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._characters = 0
        self._hash = FingerprintOfList()

    def write(self, record: Record, *extra: str) -> None:
        """Add a record, with a text for each extra column."""
        for name in self._names:
            self._rows[name].append(_plain(getattr(record, name)))
        for name, text in zip(self._extra, extra, strict=True):
            self._rows[name].append(text)
        self._hash.add([record.id, *answers_of(record)])
        self._characters += len(record.text)
        if len(self._rows["id"]) >= self._piece or self._characters >= GROUP_CHARACTERS:
            self._flush()

    def close(self) -> str:
        """Finish the file; the split's fingerprint. Nothing happens the second time."""
        if self._file is not None:
            self._flush()
            self._file.close()
            self._file = None
        return self._hash.hexdigest()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows["id"]:
            self._file.write_table(pa.table(self._rows, schema=self._schema))
            self._rows = {name: [] for name in self._schema.names}
            self._characters = 0


def write_split(records: Iterable[Record], path: Path, *, kind: str = "choice") -> str:
    """Write records as Parquet.

    Args:
        records: In the order of the split, all of one kind.
        path: The file.
        kind: A name in `KINDS`.

    Returns:
        The split's fingerprint.
    """
    writer = SplitWriter(path, kind)
    for record in records:
        writer.write(record)
    return writer.close()


def read_records(path: Path, piece: int) -> Iterator[tuple[Record, str]]:
    """Records of a file that was written with one extra column, and that column, in order.

    Args:
        path: The file.
        piece: Records in memory at once.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:  # else all that was read stays in memory until the end
        kind = _kind_of(file.schema_arrow)
        extra = file.schema_arrow.names[-1]
        for batch in file.iter_batches(batch_size=piece):
            rows = batch.to_pylist()
            texts = [row.pop(extra) for row in rows]
            yield from zip(_records(rows, kind), texts, strict=True)


def answers_of(record: Record) -> tuple[str, ...]:
    """What a record says besides its text: two records of equal text and answers are copies."""
    return (record.chosen, record.rejected) if isinstance(record, Preference) else (record.gold,)


def choices(records: Iterable[Record]) -> list[Choice]:
    """The records, all of which are choices."""
    return _all_of(Choice, records)


def conversations(records: Iterable[Record]) -> list[Conversation]:
    """The records, all of which are conversations."""
    return _all_of(Conversation, records)


def passages(records: Iterable[Record]) -> list[Passage]:
    """The records, all of which are passages."""
    return _all_of(Passage, records)


def preferences(records: Iterable[Record]) -> list[Preference]:
    """The records, all of which are preferences."""
    return _all_of(Preference, records)


def _all_of(wanted: type[R], records: Iterable[Record]) -> list[R]:
    narrowed = []
    for record in records:
        if not isinstance(record, wanted):
            found = f"holds a {type(record).__name__}"
            raise RunFolderError(record.source or "data", found, f"a {wanted.__name__}", "Run the recipe again.")
        narrowed.append(record)
    return narrowed


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and value and isinstance(value[0], Message):
        return json.dumps([_as_json(message) for message in value], ensure_ascii=False)
    return list(value) if isinstance(value, tuple) else value


def _as_json(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if not message.learned:
        turn["learned"] = False
    if message.more:
        turn["more"] = message.more
    return turn


def _kind_of(schema: Any) -> str:
    # A file of an older version says nothing: it holds choices.
    return str((schema.metadata or {}).get(_KIND, b"choice").decode())


def _records(rows: Iterable[dict[str, Any]], kind: str) -> list[Record]:
    return [KINDS[kind](**_values(row)) for row in rows]


def _values(row: dict[str, Any]) -> dict[str, Any]:
    values = {**row, "flags": tuple(row["flags"] or ())}
    if "messages" in row:
        values["messages"] = tuple(Message(**turn) for turn in json.loads(row["messages"]))
    return values
