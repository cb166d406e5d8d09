"""Rows under new numbers, kept or read anew, say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.numbered import number_rows
from metier.data.cleaning.rows import SPLITS, Doubt, Finding, Row


class Read:
    """Rows that count how often they are read."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows, self.times = rows, 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        self.times += 1
        return iter(self._rows)


def made(keys: Sequence[int]) -> list[Row]:
    return [
        Row(key=key, split=SPLITS[at % 4], text=f"text {key}", answer="a", labelled=at % 2 == 0,
            group="g" if at % 3 else None, source="d.csv", row=key + 1)
        for at, key in enumerate(keys)
    ]  # fmt: skip


@pytest.mark.parametrize("most", [0, 30, 1 << 20])
@given(st.sets(st.integers(0, 1000), max_size=12), st.sets(st.integers(0, 11)))
def test_rows_have_their_positions_as_keys(most: int, keys: set[int], changed: set[int]) -> None:
    rows = made(sorted(keys))
    raw = [replace(row, text=f"raw {row.text}") if at in changed else row for at, row in enumerate(rows)]
    numbered = number_rows(rows, raw, most=most)
    assert len(numbered) == len(numbered.rows) == len(numbered.raw) == len(rows)
    for seen, wanted in ((numbered.rows, rows), (numbered.raw, raw)):
        for _ in range(2):
            assert list(seen) == [replace(row, key=at) for at, row in enumerate(wanted)]
    assert numbered.keys.tolist() == sorted(keys)
    assert [SPLITS[split] for split in numbered.splits.tolist()] == [row.split for row in rows]


def test_rows_are_read_once_where_they_fit() -> None:
    rows = Read(made(range(0, 40, 2)))
    numbered = number_rows(rows, rows)
    assert [sum(1 for _ in numbered.rows) for _ in range(3)] == [20] * 3 and rows.times == 1
    again = Read(made(range(0, 40, 2)))
    numbered = number_rows(again, again, most=10)
    assert [sum(1 for _ in numbered.rows) for _ in range(3)] == [20] * 3 and again.times == 4


def test_findings_get_the_keys_that_the_rows_had() -> None:
    numbered = number_rows(made([3, 7, 20]), made([3, 7, 20]))
    doubt = Doubt(key=2, step="s", reason="r", detail="d")
    doubts = (replace(doubt, key=0, others=(2, 1)), doubt)
    found = numbered.named(Finding(step="s", version=1, looked_at=3, doubts=doubts))
    assert [(doubt.key, doubt.others) for doubt in found.doubts] == [(3, (20, 7)), (20, ())]
    assert numbered.positions([20, 4, 3, 99]).tolist() == [0, 2]
