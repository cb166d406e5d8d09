"""Label names that may be one name, and names that only look alike."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.label_names import LabelNameSettings, edit_distance, like_labels, screen_label_names
from metier.data.cleaning.rows import Row


def rows(counts: Mapping[str, int], *, labelled: bool = True) -> list[Row]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [
        Row(key=at, split="train", text="t", answer=label, labelled=labelled, group=None, source="a.csv", row=at + 1)
        for at, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Refund", "refund", "written differently"),
        ("lost_card", "Lost card", "written differently"),
        ("lostCard", "lost-card", "written differently"),
        ("café", "cafe", "written differently"),
        ("log in", "login", "written differently"),
        ("refunds", "refund", "plural"),
        ("delivery", "deliveries", "plural"),
        ("card box", "card boxes", "plural"),
        ("cancel order", "order cancel", "other word order"),
        ("complaint", "complaimt", "one letter"),
        ("payment", "paymnet", "one letter"),
        ("opening hours", "openning hour", "two letters"),
    ],
)
def test_names_that_may_be_one(one: str, other: str, why: str) -> None:
    (pair,) = like_labels({one: 10, other: 3, "something else": 5})
    assert (pair.label, pair.like, pair.why) == (other, one, why)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("level 1", "level 2"),
        ("paid", "unpaid"),
        ("activate card", "deactivate card"),
        ("import", "export"),
        ("include", "exclude"),
        ("opt in", "opt out"),
        ("C", "C++"),
        ("plan a", "plan b"),
        ("yes", "yet"),
        ("positive", "negative"),
        ("class", "clas"),
        ("thumbs 👍", "thumbs 👎"),
    ],
)
def test_names_that_only_look_alike(one: str, other: str) -> None:
    assert not like_labels({one: 10, other: 10})


def test_a_published_label_set_is_hardly_touched(real_data: Callable[[str], Path]) -> None:
    """Banking77: 77 intents, many of them nearly the same thing, none of them the same."""
    names = json.loads(real_data("customer_support/banking77/categories.json").read_text(encoding="utf-8"))
    assert len(names) == 77
    assert [(pair.label, pair.like) for pair in like_labels(dict.fromkeys(names, 10))] == []


def test_embeddings_find_names_of_one_meaning() -> None:
    vectors = {"refund": [1.0, 0.1], "money back": [0.99, 0.12], "hours": [0.0, 1.0], "null": [0.0, 0.0]}
    (pair,) = like_labels(dict.fromkeys(vectors, 2), embeddings=vectors)
    assert (pair.label, pair.like, pair.why) == ("money back", "refund", "close in meaning")
    assert pair.score < 0.6
    assert not like_labels({"level 1": 2, "level 2": 2}, embeddings={"level 1": [1.0], "level 2": [1.0]})


def test_the_finding_names_pairs_and_what_to_write() -> None:
    finding = screen_label_names(rows({"Refund": 2, "refund": 5, "complaint": 3, "complaints": 1}))
    assert finding.tables["labels that may be one"] == [
        {"label": "Refund", "rows": 2, "like": "refund", "its rows": 5, "why": "written differently", "score": 1.0},
        {"label": "complaints", "rows": 1, "like": "complaint", "its rows": 3, "why": "plural", "score": 0.95},
    ]
    assert finding.counts == {"labels": 4, "written differently": 1, "plural": 1}
    assert finding.notes[0] == (
        "labels `Refund` and `refund` differ only in how they are written; data.label_names can make them one"
    )
    assert "no encoder was given" in finding.notes[-1]
    assert finding.looked_at == 11 and not finding.doubts


def test_written_answers_are_no_labels() -> None:
    finding = screen_label_names(rows({"Yes": 2, "yes": 2}, labelled=False))
    assert finding.counts == {"labels": 0} and not finding.notes


def test_very_many_labels_are_compared_by_form_only() -> None:
    counts = {f"code {number}": 1 for number in range(1200)} | {"complaint": 1, "complaimt": 1, "Complaint": 1}
    (pair,) = like_labels(counts)
    assert pair.why == "written differently"
    assert "slips of a letter were not looked for above 1,000" in " ".join(screen_label_names(rows(counts)).notes)


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbc", 1), ("abcd", "badc", 2)],
)
def test_known_distances(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right, 5) == distance


@given(st.text("ab", max_size=7), st.text("ab", max_size=7))
def test_distance_is_symmetric_and_bounded(left: str, right: str) -> None:
    apart = edit_distance(left, right, 20)
    assert apart == edit_distance(right, left, 20) == edit_distance(left[::-1], right[::-1], 20)
    assert abs(len(left) - len(right)) <= apart <= max(len(left), len(right))
    assert (apart == 0) == (left == right)
    kept = sum(block.size for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks())
    assert apart <= len(left) + len(right) - 2 * kept
    assert min(edit_distance(left, right, 1), 2) == min(apart, 2)


def test_settings_decide() -> None:
    assert not like_labels({"complaint": 1, "complaimt": 1}, LabelNameSettings(shortest=10))
