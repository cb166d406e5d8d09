from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from metier.data.records import Choice
from metier.data.splits import Split, split_fingerprint, write_split

RECORDS = [
    Choice(id=f"k{i}-0", text=f"text {i} é\nline", label="ab"[i % 2], group=None if i % 3 else "g", source="f.csv",
           row=i + 1, user_id=f"u{i}" if i % 2 else None, flags=("duplicate",) if i == 4 else ())
    for i in range(10)
]  # fmt: skip


def make(tmp_path: Path) -> Split:
    path = tmp_path / "test.parquet"
    return Split(name="test", path=path, fingerprint=write_split(RECORDS, path))


def test_records_are_read_back(tmp_path: Path) -> None:
    split = make(tmp_path)
    assert len(split) == 10
    assert list(split.records()) == RECORDS
    assert [len(batch) for batch in split.batches(4)] == [4, 4, 2]
    assert split.take([7, 0, 7]) == [RECORDS[7], RECORDS[0], RECORDS[7]]
    assert split.take([]) == []


def test_the_file_has_plain_columns(tmp_path: Path) -> None:
    make(tmp_path)
    names = pq.read_schema(tmp_path / "test.parquet").names
    assert names == ["id", "text", "label", "group", "source", "row", "user_id", "flags"]


def test_the_fingerprint_is_of_ids_labels_and_order() -> None:
    known = split_fingerprint(RECORDS)
    assert split_fingerprint([replace(record, flags=("x",), row=0) for record in RECORDS]) == known
    assert split_fingerprint(RECORDS[::-1]) != known
    assert split_fingerprint([replace(RECORDS[0], label="z"), *RECORDS[1:]]) != known


def test_an_empty_split(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    split = Split(name="test", path=path, fingerprint=write_split([], path))
    assert (len(split), list(split.records())) == (0, [])
