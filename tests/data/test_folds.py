"""Folds: groups and copies whole, labels balanced, and nobody moved by new rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.folds import draw_folds, write_folds
from metier.data.prepared import PreparedData
from metier.data.records import Choice
from metier.data.roster import Roster, RosterBuilder
from metier.errors import DataError
from metier.store.fingerprint import text_sha256

Row = tuple[str, str | None, int]
"""Label, group, and the number of its text."""


def roster_of(rows: list[Row]) -> Roster:
    builder = RosterBuilder()
    for row, (label, group, text) in enumerate(rows):
        record = Choice(id="", text=f"text{text}", label=label, group=group, source="f", row=row)
        builder.add(record, text_sha256(f"text{text}")[:16], 0)
    return builder.roster()


def everyone(roster: Roster) -> np.ndarray:
    return np.arange(len(roster), dtype=np.int64)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("GHIJKL"), st.integers(0, 30)),
        min_size=8,
        max_size=80,
    ),
    st.integers(2, 4),
)
def test_clusters_are_whole_and_every_row_has_a_fold(rows: list[Row], count: int) -> None:
    roster = roster_of(rows)
    names = [roster.cluster_name(place) for place in range(len(rows))]
    if len(set(names)) < count:
        return
    folds = draw_folds(roster, everyone(roster), count=count, seed=3)
    assert len(folds.fold) == len(rows) == sum(folds.sizes)
    assert folds.fold.min() >= 0 and folds.fold.max() < count
    of: dict[str, int] = {}
    for name, fold in zip(names, folds.fold.tolist(), strict=True):
        assert of.setdefault(name, fold) == fold


def test_labels_are_balanced_and_none_lies_in_one_fold_alone() -> None:
    rows: list[Row] = [("often", None, i) for i in range(3000)]
    rows += [("seldom", None, 5000 + i) for i in range(5)]
    rows += [("twice", None, 6000 + i) for i in range(2)]
    roster = roster_of(rows)
    for seed in range(8):
        folds = draw_folds(roster, everyone(roster), count=5, seed=seed)
        assert all(540 < size < 660 for size in folds.sizes)
        assert sorted(folds.fold[3000:3005].tolist()) == [0, 1, 2, 3, 4]
        assert len(set(folds.fold[3005:].tolist())) == 2


def test_moving_for_one_label_takes_nothing_from_another() -> None:
    # Groups hold two labels each: moving one would empty a fold of the other.
    rows: list[Row] = [(label, f"g{group}", 10 * group + at) for group in range(40) for at, label in enumerate("ab")]
    roster = roster_of(rows)
    for seed in range(20):
        folds = draw_folds(roster, everyone(roster), count=10, seed=seed)
        for label in (0, 1):
            assert len(np.unique(folds.fold[roster.stratum == label])) == 10


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(40, 80), st.integers(0, 80))
def test_adding_rows_moves_nobody(seed: int, before: int, more: int) -> None:
    roster = roster_of([("ab"[i % 2], None, i) for i in range(before + more)])
    old = draw_folds(roster, np.arange(before), count=4, seed=seed)
    new = draw_folds(roster, everyone(roster), count=4, seed=seed)
    if old.moved or new.moved:
        return  # the stated exception
    assert old.fold.tolist() == new.fold[:before].tolist()


def test_near_copies_lie_in_one_fold() -> None:
    roster = roster_of([("ab"[i % 2], None, i) for i in range(120)])
    near = np.repeat(np.arange(60), 2).astype(np.int32)  # 0 and 1 are nearly the same, 2 and 3, ...
    near[100:] = -1
    torn = 0
    for seed in range(10):
        alone = draw_folds(roster, everyone(roster), count=4, seed=seed).fold
        folds = draw_folds(roster, everyone(roster), count=4, seed=seed, near=near).fold
        assert (folds[0:100:2] == folds[1:100:2]).all()
        torn += int((alone[0:100:2] != alone[1:100:2]).sum())
        assert len(set(folds[100:].tolist())) > 1  # of whom nothing is known hang not together
    assert torn > 300


def test_a_group_pulls_the_near_copies_of_its_rows_along() -> None:
    rows: list[Row] = [("ab"[i % 2], "g" if i in (0, 9) else None, i) for i in range(60)]
    near = np.arange(60, dtype=np.int32)
    near[[9, 20]] = 9
    near[[20, 31]] = near[20]
    for seed in range(10):
        folds = draw_folds(roster_of(rows), everyone(roster_of(rows)), count=3, seed=seed, near=near).fold
        assert len({int(folds[place]) for place in (0, 9, 20, 31)}) == 1


def test_more_folds_than_clusters_is_an_error() -> None:
    roster = roster_of([("a", "g", 1), ("b", "g", 2), ("a", "h", 3)])
    message = r"data.folds: is 3, but train and validation have 2 groups of rows to keep together, wanted at most 2"
    with pytest.raises(DataError, match=message):
        draw_folds(roster, everyone(roster), count=3, seed=1)


def read_folds(folder: Path) -> dict[str, int]:
    return {row["id"]: row["fold"] for row in pq.read_table(folder / "folds.parquet").to_pylist()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    roster = roster_of([("ab"[i % 2], None, i // 2) for i in range(60)])
    folds = draw_folds(roster, np.arange(10, 60), count=3, seed=1)
    write_folds(tmp_path, roster, folds)
    assert read_folds(tmp_path) == {
        roster.id_of(place): fold for place, fold in zip(range(10, 60), folds.fold.tolist(), strict=True)
    }
    once = (tmp_path / "folds.parquet").read_bytes()
    write_folds(tmp_path, roster, folds)
    assert (tmp_path / "folds.parquet").read_bytes() == once


def test_what_is_said() -> None:
    roster = roster_of([("seldom" if i < 3 else "often", None, i) for i in range(90)])
    folds = next(each for seed in range(50) if (each := draw_folds(roster, everyone(roster), count=3, seed=seed)).moved)
    first, second, third = folds.notices("created")
    assert first.startswith("3 folds of train and validation, ")
    assert "clusters of `seldom` were moved" in second
    assert third == "folds know nothing of data.time: each holds rows of all dates of train and validation"
    assert len(folds.notices()) == 2


def test_the_recipe_writes_folds(
    write: Callable[..., Path], rows: Callable[..., str], prepare: Callable[..., PreparedData], tmp_path: Path
) -> None:
    prepared = prepare(train=write("d.csv", rows(120)), folds=4)
    found = read_folds(tmp_path / "prepared")
    there = {record.id for split in (prepared.train, prepared.validation) for record in split.records()}
    assert found.keys() == there
    assert prepared.card.folds == tuple(np.bincount(list(found.values())).tolist())
    assert any("4 folds of train and validation" in notice for notice in prepared.card.notices)


def test_the_recipe_keeps_near_copies_in_one_fold(
    write: Callable[..., Path], prepare: Callable[..., PreparedData], tmp_path: Path
) -> None:
    said = [
        f"the customer number {n} from street {n} writes that parcel {n} with {n} kettles and {n} boxes was late{more}"
        for n in range(60) for more in ("", " again")
    ]  # fmt: skip
    table = "text,label\n" + "".join(f"{text},{'ab'[place // 2 % 2]}\n" for place, text in enumerate(said))
    prepared = prepare(train=write("d.csv", table), folds=5, leaks="allow")
    found = read_folds(tmp_path / "prepared")
    by_pair: dict[str, list[int]] = {}
    for split in (prepared.train, prepared.validation):
        for record in split.records():
            by_pair.setdefault(record.text.removesuffix(" again"), []).append(found[record.id])
    pairs = [folds for folds in by_pair.values() if len(folds) == 2]
    assert len(pairs) > 25 and all(first == second for first, second in pairs)
