"""A split: a handle on a Parquet file, never a list of all records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.data.records import Choice
from metier.errors import RunFolderError
from metier.store.fingerprint import fingerprint

_COLUMNS = ("id", "text", "label", "group", "source", "row", "user_id", "flags")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Records on disk, in a fixed order."""

    name: str
    path: Path
    fingerprint: str
    """Hash of ids, labels and order."""

    def __len__(self) -> int:
        """Number of records."""
        return int(self._file().metadata.num_rows)

    def records(self) -> Iterator[Choice]:
        """All records, in order, read in pieces."""
        for batch in self.batches(1024):
            yield from batch

    def batches(self, size: int) -> Iterator[list[Choice]]:
        """All records, in order, in lists of `size`; the last may be shorter."""
        for batch in self._file().iter_batches(batch_size=size):
            yield _records(batch.to_pylist())

    def take(self, indices: Sequence[int]) -> list[Choice]:
        """The records at `indices`, in that order."""
        import pyarrow as pa  # type: ignore[import-untyped]

        chosen = pa.array([int(index) for index in indices], pa.int64())
        return _records(self._file().read().take(chosen).to_pylist())

    def _file(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        try:
            return pq.ParquetFile(self.path)
        except (OSError, pa.ArrowException) as error:
            raise RunFolderError(str(self.path), "is missing or damaged", "", "Run the recipe again.") from error


def write_split(records: Sequence[Choice], path: Path) -> str:
    """Write records as Parquet; the same records give the same bytes.

    Args:
        records: In the order of the split.
        path: The file; the caller's folder is put in place as a whole.

    Returns:
        The split's fingerprint.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    types = {"id": text, "text": text, "label": text, "group": text, "source": text, "user_id": text}
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in _COLUMNS[:-1]] + [("flags", pa.list_(text))])
    columns = {name: [getattr(record, name) for record in records] for name in _COLUMNS[:-1]}
    columns["flags"] = [list(record.flags) for record in records]
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")
    return split_fingerprint(records)


def split_fingerprint(records: Iterable[Choice]) -> str:
    """Hash of ids, labels and order: what the seal counts openings of a test set by."""
    return fingerprint([[record.id, record.label] for record in records])


def _records(rows: Iterable[dict[str, Any]]) -> list[Choice]:
    return [Choice(**{**row, "flags": tuple(row["flags"] or ())}) for row in rows]
