"""Contradictions: all that are planted, with whom, and what is suggested."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from metier.data.cleaning.conflicts import screen_contradictions
from metier.data.cleaning.near_duplicates import screen_duplicates
from metier.data.cleaning.rows import Row
from metier.data.cleaning.same_texts import find_same_texts

LONG = "the parcel that i ordered for my mother two weeks ago has still not arrived at her house in town"


def make(pairs: Sequence[tuple[str, str]], *, labelled: bool = True, split: str = "train") -> list[Row]:
    return [
        Row(
            key=at, split=split, text=text, answer=answer, labelled=labelled, group=None,
            source="train.csv", row=at + 1,
        )
        for at, (text, answer) in enumerate(pairs)
    ]  # fmt: skip


def test_every_planted_contradiction_is_found() -> None:
    """DQ-1: recall of 100 %, exact, normalised and near (a word in thirty replaced), and nothing else."""
    rng = random.Random(3)
    texts = [" ".join(f"w{rng.randrange(4000)}" for _ in range(30)) for _ in range(600)]
    pairs = [(text, "one") for text in texts]
    expected = {}
    for at in range(300):
        copy = texts[at]
        if at % 3 == 1:
            copy = f"{copy.upper()}!"
        if at % 3 == 2:
            copy = copy.replace(copy.split()[7], "instead")
        pairs.append((copy, "two" if at < 150 else "one"))
        if at < 150:
            reason = "near contradiction" if at % 3 == 2 else "contradiction"
            expected[at] = expected[600 + at] = reason
    finding = screen_contradictions(make(pairs))
    assert {doubt.key: doubt.reason for doubt in finding.doubts} == expected
    assert finding.counts["texts with several answers"] == 100
    assert finding.counts["near pairs with other answers"] == 50
    assert all((doubt.key + 600 in doubt.others) or (doubt.key - 600 in doubt.others) for doubt in finding.doubts)


def test_the_majority_is_suggested() -> None:
    rows = make([("same", "a"), ("Same!", "a"), ("same", "b"), ("same", "a"), ("split", "a"), ("split", "b")])
    doubts = {doubt.key: doubt for doubt in screen_contradictions(rows).doubts}
    assert sorted(doubts) == [0, 1, 2, 3, 4, 5]
    assert doubts[2].suggestion == "a" and doubts[2].others == (0, 1, 3)
    assert doubts[2].detail == "same text as rows 1, 2, 4 of train.csv, with another label"
    assert {doubts[key].suggestion for key in (0, 1, 3, 4, 5)} == {None}


def test_half_is_no_majority() -> None:
    doubts = screen_contradictions(make([("x", "a"), ("x", "a"), ("x", "b"), ("x", "c")])).doubts
    assert len(doubts) == 4 and not any(doubt.suggestion for doubt in doubts)


def test_near_texts_that_are_torn_alike_are_counted() -> None:
    near = LONG.replace("two", "three")
    finding = screen_contradictions(make([(LONG, "a"), (LONG, "b"), (near, "a"), (near, "b")]))
    assert finding.counts["near pairs with other answers"] == 1
    assert {doubt.reason for doubt in finding.doubts} == {"contradiction"}


def test_neighbours_outvote_a_row() -> None:
    texts = [LONG, LONG.replace("two", "three"), LONG.replace("two", "four"), LONG.replace("two", "five")]
    rows = make([(text, label) for text, label in zip(texts, ["late", "late", "lost", "late"], strict=True)])
    doubts = {doubt.key: doubt for doubt in screen_contradictions(rows).doubts}
    assert set(doubts) == {0, 1, 2, 3}
    assert doubts[2].suggestion == "late" and doubts[0].suggestion is None
    assert doubts[2].score == pytest.approx(19 / 23)
    assert doubts[2].detail.startswith("shares up to 83% of its runs of words with rows 1, 2, 4 of train.csv")


def test_written_answers_differ_in_more_than_case() -> None:
    rows = make([("ask", "It opens at 9."), ("ask", "it opens at 9"), ("ask2", "yes"), ("ask2", "no")], labelled=False)
    finding = screen_contradictions(rows)
    assert [doubt.key for doubt in finding.doubts] == [2, 3]
    assert finding.doubts[0].suggestion is None and finding.doubts[0].detail.endswith("with another answer")
    assert "may both be right" in " ".join(finding.notes)
    assert not finding.tables


def test_labels_differ_as_they_are_written() -> None:
    assert len(screen_contradictions(make([("ask", "Refund"), ("ask", "refund")])).doubts) == 2


def test_splits_do_not_matter_and_passages_have_no_answer() -> None:
    rows = [*make([("ask", "a")]), *make([("x", "b"), ("ask", "b")], split="test")[1:]]
    assert [doubt.key for doubt in screen_contradictions(rows).doubts] == [0, 1]
    assert not screen_contradictions(make([("ask", ""), ("ask", "")])).doubts
    assert not screen_contradictions([]).doubts


def test_which_labels_contradict_each_other_is_counted() -> None:
    rows = make([("q1", "a"), ("q1", "b"), ("q2", "b"), ("q2", "a"), (LONG, "a"), (LONG.replace("two", "six"), "c")])
    assert screen_contradictions(rows).tables["labels that contradict"] == [
        {"label": "a", "other": "b", "same text": 2, "near pairs": 0},
        {"label": "a", "other": "c", "same text": 0, "near pairs": 1},
    ]


def test_one_search_serves_several_screens() -> None:
    rows = make([("ask", "a"), ("ask", "b"), ("ask", "b")])
    same = find_same_texts(rows)
    assert len(screen_contradictions([], same=same).doubts) == 3  # the rows are not read again
    assert len(screen_duplicates([], same=same).doubts) == 2


def test_no_text_is_told() -> None:
    rows = make([("secret words", "a"), ("secret words", "b")])
    finding = screen_contradictions(rows)
    assert "secret" not in f"{finding.doubts}{finding.tables}{finding.notes}{finding.counts}"
