"""The content hash of every stage: it changes with the rows of that stage, and with no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from metier.data.card import StageHash
from metier.data.cleaning.rows import Doubt, Finding, Row
from metier.data.record.stages import hash_rows, hash_stages
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


def test_a_stage_is_the_hash_of_its_rows_alone() -> None:
    rows = [
        Row(key=place, split="train", text=TEXTS[place], answer="ab"[place % 2], labelled=True, group=None,
            source="a.csv", row=place + 1)
        for place in range(9)
    ]  # fmt: skip
    found = stages()
    assert hash_rows("repaired", rows) == found["repaired"]
    assert hash_rows("train", [rows[place] for place in (0, 1, 5)]) == found["train"]
    assert hash_rows("divided", [row for row in rows if row.key != 7]) == found["divided"]
    assert hash_rows("after outliers", [row for row in rows if row.key not in (4, 7, 8)]) == found["after outliers"]


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
