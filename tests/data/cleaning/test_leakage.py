"""The gate between splits: every planted leak is found on both sides."""

from __future__ import annotations

import random

import pytest

from metier.data.cleaning.leakage import screen_leakage
from metier.data.cleaning.rows import Row

LONG = "the parcel that i ordered for my mother two weeks ago has still not arrived at her house in town"


def row(key: int, text: str, split: str = "train", *, group: str | None = None, answer: str = "a") -> Row:
    return Row(
        key=key, split=split, text=text, answer=answer, labelled=True, group=group, source=f"{split}.csv", row=key
    )


def test_each_kind_is_named_on_both_sides() -> None:
    rows = [
        row(1, "where is it"), row(2, "where is it", "test"),
        row(3, "My order!"), row(4, "my order", "validation", answer="b"),
        row(5, LONG), row(6, LONG.replace("two", "three"), "test"),
        row(7, "nothing like it"), row(8, "no twin", "test"),
    ]  # fmt: skip
    finding = screen_leakage(rows)
    doubts = {doubt.key: doubt for doubt in finding.doubts}
    assert {key: doubt.reason for key, doubt in doubts.items()} == {
        1: "exact duplicate in test", 2: "exact duplicate in train",
        3: "normalised duplicate in validation", 4: "normalised duplicate in train",
        5: "near duplicate in test", 6: "near duplicate in train",
    }  # fmt: skip
    assert doubts[1].detail == "same text as row 2 of test.csv (test)" and doubts[1].others == (2,)
    assert doubts[3].detail.endswith("row 4 of validation.csv (validation), with another answer")
    assert doubts[5].score == doubts[6].score == pytest.approx(19 / 23)
    assert {key: doubts[key].suggestion for key in doubts} == {
        1: "drop",
        2: None,
        3: "drop",
        4: None,
        5: "drop",
        6: None,
    }
    assert {"split": "train", "reason": "near duplicate in test", "rows": 1} in finding.tables["between splits"]
    assert finding.looked_at == 8 and finding.counts["exact duplicate in test"] == 1


def test_test_weighs_more_than_validation() -> None:
    rows = [row(1, "same"), row(2, "same", "validation"), row(3, "same", "test")]
    doubts = {doubt.key: doubt for doubt in screen_leakage(rows).doubts}
    assert [doubts[key].others for key in (1, 2, 3)] == [(3,), (3,), (1,)]
    assert [doubts[key].suggestion for key in (1, 2, 3)] == ["drop", "drop", None]


def test_groups_on_both_sides() -> None:
    rows = [
        row(1, "a", group="patient 7"), row(2, "b", "test", group="patient 7"), row(3, "c", "test", group="patient 7"),
        row(4, "d", group="patient 8"), row(5, "e"), row(6, "f", "test"), row(7, "g", "unsplit", group="patient 7"),
    ]  # fmt: skip
    finding = screen_leakage(rows)
    assert {doubt.key: doubt.reason for doubt in finding.doubts} == {
        1: "group also in test", 2: "group also in train", 3: "group also in train"
    }  # fmt: skip
    assert finding.doubts[0].detail == "its group has 2 rows in test, first row 2 of test.csv"
    assert "patient" not in f"{finding.doubts}{finding.tables}{finding.notes}"


def test_a_row_may_leak_by_text_and_by_group() -> None:
    rows = [row(1, "same", group="g"), row(2, "same", "test", group="g")]
    assert [doubt.key for doubt in screen_leakage(rows).doubts] == [1, 1, 2, 2]


def test_what_hangs_together_through_train_is_named_too() -> None:
    words = [f"w{at}" for at in range(40)]
    middle, far = list(words), list(words)
    for at in (3, 13):
        middle[at] = far[at] = f"x{at}"
    for at in (23, 33):
        far[at] = f"x{at}"
    rows = [row(1, " ".join(words)), row(2, " ".join(middle)), row(3, " ".join(far), "test")]
    assert {doubt.key: doubt.reason for doubt in screen_leakage(rows).doubts} == {
        1: "near duplicate in test, linked", 2: "near duplicate in test", 3: "near duplicate in train"
    }  # fmt: skip


def test_planted_leaks_are_found_and_nothing_else() -> None:
    """DQ-2 across splits: up to three words of sixty replaced."""
    rng = random.Random(6)
    texts = [[f"w{rng.randrange(5000)}" for _ in range(60)] for _ in range(800)]
    rows = [row(at, " ".join(words), "test" if at % 4 == 0 else "train") for at, words in enumerate(texts)]
    wanted = set()
    for at in range(0, 400, 4):
        copy = list(texts[at])
        for place in rng.sample(range(60), at // 4 % 4):
            copy[place] = "other"
        wanted |= {at, len(rows)}
        rows.append(row(len(rows), " ".join(copy)))
    found = {doubt.key for doubt in screen_leakage(rows).doubts}
    assert len(found & wanted) >= 0.99 * len(wanted)
    assert not found - wanted


def test_nothing_leaks_within_a_split_or_without_one() -> None:
    assert not screen_leakage([row(1, "same"), row(2, "same"), row(3, "same", "unsplit")]).doubts
    assert not screen_leakage([]).doubts
