"""A split: a handle on a Parquet file, never a list of all records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from metier.data.records import Choice, Conversation, Message, Passage, Preference, Record
from metier.errors import RunFolderError
from metier.store.fingerprint import fingerprint

R = TypeVar("R", bound=Record)
KINDS: Mapping[str, type[Record]] = {
    "choice": Choice,
    "conversation": Conversation,
    "passage": Passage,
    "preference": Preference,
}
"""Kind of record, as the file's schema names it."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "choice": ("id", "text", "label", "group", "source", "row", "user_id", "flags"),
    "conversation": ("id", "text", "messages", "tools", "group", "source", "row", "user_id", "flags"),
    "passage": ("id", "text", "group", "source", "row", "user_id", "flags"),
    "preference": ("id", "text", "messages", "chosen", "rejected", "group", "source", "row", "user_id", "flags"),
}
_KIND = b"metier.kind"


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
            return pq.ParquetFile(self.path)
        except (OSError, pa.ArrowException) as error:
            raise RunFolderError(str(self.path), "is missing or damaged", "", "Run the recipe again.") from error


def write_split(records: Sequence[Record], path: Path, *, kind: str = "choice") -> str:
    """Write records as Parquet; the same records give the same bytes.

    Args:
        records: In the order of the split, all of one kind.
        path: The file; the caller's folder is put in place as a whole.
        kind: A name in `KINDS`.

    Returns:
        The split's fingerprint.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"row": pa.int64(), "flags": pa.list_(pa.string())}
    names = _COLUMNS[kind]
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names], metadata={_KIND: kind.encode()})
    columns = {name: [_plain(getattr(record, name)) for record in records] for name in names}
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")
    return split_fingerprint(records)


def split_fingerprint(records: Iterable[Record]) -> str:
    """Hash of ids, answers and order: what the seal counts openings of a test set by."""
    return fingerprint([[record.id, *answers_of(record)] for record in records])


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
