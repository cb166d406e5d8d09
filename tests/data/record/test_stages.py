"""The content hash of every stage: it changes with the rows of that stage, and with no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metier.data.card import StageHash
from metier.data.cleaning.rows import Doubt, Finding
from metier.data.record.stages import hash_stages
from metier.data.records import Choice, Record
from metier.data.roster import Dropped

SPLITS: Mapping[str, NDArray[np.int64]] = {
    "train": np.array([0, 1, 5]), "validation": np.array([2]), "test": np.array([3, 6]),
}  # fmt: skip
DROPS = {
    4: Dropped(place=4, reason="near duplicate", detail="", step="near_duplicates", version=1),
    8: Dropped(place=8, reason="outlier", detail=""),
}
DOUBT = Doubt(key=8, step="outliers", reason="outlier", detail="")
FINDINGS = [
    Finding(step="near_duplicates", version=1, looked_at=9),
    Finding(step="wrong_labels", version=1, looked_at=9),
    Finding(step="outliers", version=1, looked_at=9, doubts=(DOUBT,)),
]


def records(texts: Sequence[str]) -> list[tuple[Record, str]]:
    return [
        (Choice(id="", text=text, label="ab"[place % 2], source="a.csv", row=place + 1), f"row {place}: {text}")
        for place, text in enumerate(texts)
    ]


TEXTS = [f"text {place}" for place in range(9)]


def stages(texts: Sequence[str] = TEXTS) -> dict[str, StageHash]:
    return {stage.name: stage for stage in hash_stages(records(texts), SPLITS, DROPS, FINDINGS)}


def test_there_is_one_for_every_stage_in_order() -> None:
    found = stages()
    assert [(name, stage.rows) for name, stage in found.items()] == [
        ("read", 9), ("repaired", 9), ("divided", 8), ("after near_duplicates", 7), ("after outliers", 6),
        ("train", 3), ("validation", 1), ("test", 2),
    ]  # fmt: skip
    assert len({stage.sha256 for stage in found.values()}) == 8


def hash_of(pairs: Iterable[tuple[str, str]]) -> str:
    """The hash of rows, as it is defined: text and answer as JSON in ASCII, a record separator behind each."""
    return hashlib.sha256(b"".join(json.dumps(list(pair)).encode("ascii") + b"\x1e" for pair in pairs)).hexdigest()


def test_a_stage_is_the_hash_of_its_rows_alone() -> None:
    found = stages()
    wanted = {
        "repaired": range(9), "train": (0, 1, 5), "divided": (0, 1, 2, 3, 4, 5, 6, 8),
        "after outliers": (0, 1, 2, 3, 5, 6),
    }  # fmt: skip
    for name, places in wanted.items():
        assert found[name].sha256 == hash_of((TEXTS[place], "ab"[place % 2]) for place in places), name


Pairs = st.lists(st.tuples(st.text(), st.text()), max_size=4)


@given(Pairs, Pairs)
def test_two_stages_have_one_hash_only_if_their_rows_are_equal(
    one: list[tuple[str, str]], two: list[tuple[str, str]]
) -> None:
    first, second = (_repaired(pairs) for pairs in (one, two))
    assert (first.sha256 == second.sha256) == (one == two)
    assert first.rows == len(one)


def _repaired(pairs: Sequence[tuple[str, str]]) -> StageHash:
    made = [(Choice(id="", text=text, label=label, source="a.csv", row=1), "") for text, label in pairs]
    return next(stage for stage in hash_stages(made, {}, {}) if stage.name == "repaired")


def test_two_runs_part_where_their_data_part() -> None:
    one, other = stages(), stages([*TEXTS[:4], "another near duplicate", *TEXTS[5:]])
    parted = [name for name in one if one[name] != other[name]]
    assert parted == ["read", "repaired", "divided"]


def test_no_rows_are_no_fault() -> None:
    empty = np.zeros(0, np.int64)
    found = hash_stages([], {"train": empty, "validation": empty, "test": empty}, {})
    assert [(stage.name, stage.rows) for stage in found] == [
        (name, 0) for name in ("read", "repaired", "divided", "train", "validation", "test")
    ]
