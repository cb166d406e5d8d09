"""Records on disk while it is decided which split they go to: written once, in order, and read again in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from metier.data.examples import Changed
from metier.data.records import Record, Rejected
from metier.data.roster import Dropped
from metier.data.splits import SplitWriter, read_records
from metier.data.table import RawRow, raw_row
from metier.store.values import to_plain

PIECE = 4_096
"""Records that are in memory at once."""


@dataclass(eq=False)
class Gathered:
    """Records in memory, for data that is only looked at."""

    records: list[Record] = field(default_factory=list)
    contents: list[RawRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)

    def accept(self, record: Record, content: RawRow) -> None:
        """Keep a record and the row as it was read."""
        self.records.append(record)
        self.contents.append(content)

    def reject(self, rejected: Rejected) -> None:
        """Keep a row that cannot be used."""
        self.rejected.append(rejected)

    def change(self, changed: Changed) -> None:
        """Note a repair."""
        self.changed.append(changed)


class Spool:
    """Records in a Parquet file with the rows as they were read; rejected and changed rows as lines of JSON."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Begin.

        Args:
            folder: Exists; gets `spool.parquet`, `rejected.jsonl` and `changed.jsonl`.
            kind: The kind of record: a name in `splits.KINDS`.
        """
        self.kind, self.path = kind, folder / "spool.parquet"
        self._writer = SplitWriter(self.path, kind, extra=("content",), piece=PIECE)
        self._rejected = (folder / "rejected.jsonl").open("w", encoding="utf-8", newline="\n")
        self._changed = (folder / "changed.jsonl").open("w", encoding="utf-8", newline="\n")
        self.repairs: dict[str, int] = {}
        """Records changed, by repair."""

    def accept(self, record: Record, content: RawRow) -> None:
        """Keep a record and the row as it was read."""
        self._writer.write(record, raw_row(content))

    def reject(self, rejected: Rejected) -> None:
        """Keep a row that cannot be used."""
        self._rejected.write(line(rejected))

    def change(self, changed: Changed) -> None:
        """Note a repair."""
        self._changed.write(line(changed))
        for name in changed.repairs:
            self.repairs[name] = self.repairs.get(name, 0) + 1

    def records(self) -> Iterator[tuple[Record, str]]:
        """Every record with its row, in order; after `close`."""
        return read_records(self.path, PIECE)

    def close(self) -> None:
        """No more records come; rejected rows still may."""
        self._writer.close()
        self._changed.close()

    def end(self) -> None:
        """Nothing comes any more, and the records are not needed again."""
        self.close()
        self._rejected.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *fault: object) -> None:
        """Close and remove what was only for a while."""
        self.end()


def settled(record: Record, id: str, flags: tuple[str, ...]) -> Record:
    """A record with its id and the doubts about it."""
    return replace(record, id=id, flags=flags)


def as_rejected(record: Record, content: str, dropped: Dropped) -> Rejected:
    """A record that left its split, as a rejected row.

    Args:
        record: The record.
        content: Its row as it was read.
        dropped: Why it left.
    """
    return Rejected(source=record.source, row=record.row, reason=dropped.reason, detail=dropped.detail, content=content)


def line(row: Any) -> str:
    """A frozen value as a line of JSON."""
    return json.dumps(to_plain(row), ensure_ascii=False) + "\n"
