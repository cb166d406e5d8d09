"""Records on disk while it is decided which split they go to: written once, in order, and read again in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from metier.data.exchanges import Mark, plain_mark
from metier.data.privacy.row_vault import RowVault
from metier.data.reasons import row_sha256, stamped
from metier.data.records import Changed, Record, Rejected
from metier.data.roster import Dropped
from metier.data.splits import SplitWriter, read_records
from metier.data.table import RawRow, raw_row
from metier.store.run_folder import DataFolder
from metier.store.values import to_plain

PIECE = 4_096
"""Records that are in memory at once."""
HASH_ALONE = "sha256 "
"""Begins what stands for a row that may not be kept: its hash follows. A row that is kept begins with a brace."""


@dataclass(eq=False)
class Gathered:
    """Records in memory, for data that is only looked at."""

    records: list[Record] = field(default_factory=list)
    contents: list[RawRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)

    def accept(self, record: Record, content: RawRow, *, keep: bool = True) -> None:
        """Keep a record and, where it may be kept, the row as it was read."""
        self.records.append(record)
        self.contents.append(content if keep else {})

    def reject(self, rejected: Rejected, *, keep: bool = True) -> None:
        """Keep a row that cannot be used; its content only where that may be kept."""
        self.rejected.append(rejected if keep else replace(rejected, content=""))

    def change(self, changed: Changed) -> None:
        """Note a repair."""
        self.changed.append(changed)


class Spool:
    """Records in a Parquet file with the rows as they were read; rejected and changed rows as lines of JSON."""

    def __init__(self, folder: Path, kind: str, *, vaulted: RowVault | None = None) -> None:
        """Begin.

        Args:
            folder: Exists; gets `rejected.jsonl`, `changed.jsonl` and, where its texts go, `spool.parquet`.
            kind: The kind of record: a name in `splits.KINDS`.
            vaulted: Takes the texts out of what is written about rows, under `privacy: strict`. None: they stay.
        """
        self.kind, self.path, self._vaulted = kind, DataFolder(folder).texts / "spool.parquet", vaulted
        self.mark: Mark = plain_mark if vaulted is None else vaulted.mark
        """Makes the hashes that stand for texts."""
        self._writer = SplitWriter(self.path, kind, extra=("content",), piece=PIECE)
        self._rejected = (folder / "rejected.jsonl").open("w", encoding="utf-8", newline="\n")
        self._changed = (folder / "changed.jsonl").open("w", encoding="utf-8", newline="\n")
        self.repairs: dict[str, int] = {}
        """Records changed, by repair."""
        self.characters = 0
        """Of all texts and answers."""

    def accept(self, record: Record, content: RawRow, *, keep: bool = True) -> None:
        """Keep a record and the row as it was read, or, where that may not be kept, the row's hash."""
        row = raw_row(content)
        self.characters += len(record.text) + len(record.gold)
        self._writer.write(record, row if keep else f"{HASH_ALONE}{row_sha256(row)}")
        if self._vaulted is not None:
            self._vaulted.accept(record, content)

    def reject(self, rejected: Rejected, *, keep: bool = True) -> None:
        """Keep a row that cannot be used; its content only where that may be kept."""
        if self._vaulted is not None:
            rejected = self._vaulted.rejected(rejected)
        elif not keep:
            rejected = replace(rejected, content="")
        self._rejected.write(line(rejected))

    def change(self, changed: Changed) -> None:
        """Note a repair."""
        self._changed.write(line(self._vaulted.changed(changed) if self._vaulted is not None else changed))
        for name in changed.repairs:
            self.repairs[name] = self.repairs.get(name, 0) + 1

    def records(self) -> Iterator[tuple[Record, str]]:
        """Every record with its row, in order; after `close`."""
        return read_records(self.path, PIECE)

    def close(self) -> None:
        """No more records come; rejected and changed rows still may."""
        self._writer.close()

    def end(self) -> None:
        """Nothing comes any more, and the records are not needed again."""
        self.close()
        self._changed.close()
        self._rejected.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *fault: object) -> None:
        """Close and remove what was only for a while."""
        self.end()


def is_kept(content: str) -> bool:
    """Whether what `Spool.records` has beside a record is its row as it was read, and not the row's hash alone."""
    return content.startswith("{")


def settled(record: Record, id: str, flags: tuple[str, ...]) -> Record:
    """A record with its id and the doubts about it."""
    return replace(record, id=id, flags=flags)


def as_rejected(record: Record, content: str, dropped: Dropped) -> Rejected:
    """A record that left its split, as a rejected row.

    Args:
        record: The record.
        content: Its row as it was read, or, where that may not be kept, its hash after `HASH_ALONE`.
        dropped: Why it left.
    """
    kept = is_kept(content)
    rejected = Rejected(
        source=record.source, row=record.row, reason=dropped.reason, detail=dropped.detail,
        content=content if kept else "", sha256="" if kept else content.removeprefix(HASH_ALONE),
        step=dropped.step, version=dropped.version,
    )  # fmt: skip
    return stamped(rejected)


def sha256_of(content: str) -> str:
    """The hash of a row as it was read.

    Args:
        content: The row, or its hash after `HASH_ALONE`.
    """
    return content.removeprefix(HASH_ALONE) if content.startswith(HASH_ALONE) else row_sha256(content)


def line(row: Any) -> str:
    """A frozen value as a line of JSON."""
    return json.dumps(to_plain(row), ensure_ascii=False) + "\n"
