"""Rare labels and outliers: what is suggested for planted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from metier.data.cleaning.out_of_fold import out_of_fold_chances
from metier.data.cleaning.rare_labels import (
    RareLabelSettings,
    rare_label_names,
    rejected_labels,
    screen_rare_labels,
)
from metier.data.cleaning.rows import Finding, Row
from metier.recipe.sections import DataSection


def _rows(pairs: Sequence[tuple[str, str]], split: str = "train") -> list[Row]:
    return [
        Row(key=at, split=split, text=text, answer=label, labelled=True, group=None, source="made.csv", row=at + 1)
        for at, (text, label) in enumerate(pairs)
    ]


def _made(count: int) -> list[tuple[str, str]]:
    random = np.random.default_rng(1)
    pairs = []
    for at in range(count):
        label = ("refund", "delivery", "password")[at % 3]
        words = [f"{label}{word}" for word in random.integers(0, 20, 4)]
        pairs.append((" ".join([*words, *[f"c{word}" for word in random.integers(0, 99, 5)]]), label))
    return pairs


def _advice(finding: Finding) -> dict[str, object]:
    return {str(line["label"]): line["suggestion"] for line in finding.tables["rare labels"]}


PLANTED = [
    ("refund1 refund2 refund5 refund7 refund9", "give money back"),
    ("refund3 refund2 refund8 refund4 refund6", "give money back"),
    ("delivery1 nothing else", "Delivery "),
    ("zebra giraffe", "animals"),
    ("quasar pulsar comet", "space"),
    ("quasar nebula comet", "space"),
    ("quasar galaxy moon", "space"),
]


def test_each_rare_label_gets_its_suggestion() -> None:
    rows = _rows([*_made(300), *PLANTED])
    finding = screen_rare_labels(rows, chances=out_of_fold_chances(rows))
    assert _advice(finding) == {
        "give money back": "merge into refund", "Delivery ": "merge into delivery", "animals": "reject",
        "space": "keep",
    }  # fmt: skip
    assert [doubt.key for doubt in finding.doubts] == list(range(300, 307))
    assert finding.counts == {
        "rare label": 7, "labels": 7, "rare labels": 4, "suggested: keep": 3, "suggested: merge": 3,
        "suggested: reject": 1,
    }  # fmt: skip
    assert "giraffe" not in repr(finding)
    assert finding.doubts[0].suggestion == "merge into refund"
    assert finding.doubts[0].detail.startswith("`give money back` has 2 rows to learn from; its rows read like it")


def test_without_probabilities_only_names_are_compared() -> None:
    finding = screen_rare_labels(_rows([*_made(300), *PLANTED]))
    assert _advice(finding) == {
        "give money back": "keep", "Delivery ": "merge into delivery", "animals": "reject", "space": "keep",
    }  # fmt: skip
    assert finding.notes == ("labels are compared by name only: no probabilities were made",)


def test_labels_that_differ_in_a_number_are_not_merged() -> None:
    pairs = [("a", "priority level 1")] * 20 + [("b", "priority level 2")] * 2 + [("c", "7")] * 20 + [("d", "8")] * 2
    assert _advice(screen_rare_labels(_rows(pairs))) == {"8": "keep", "priority level 2": "keep"}


def test_other_splits_are_neither_counted_nor_doubted() -> None:
    finding = screen_rare_labels([*_rows([("a", "one")] * 9, "test")])
    assert (finding.looked_at, finding.doubts) == (0, ())
    rows = _rows([("a", "one")] * 9 + [("b", "two")] * 4)
    assert len(screen_rare_labels(rows).doubts) == 4
    assert screen_rare_labels(rows, RareLabelSettings(rare=4)).doubts == ()


@pytest.mark.parametrize(
    ("fields", "names", "rejected"),
    [
        ({}, {}, ()),
        ({"rare_labels": "merge"}, {"a": "other", "b": "other"}, ()),
        ({"rare_labels": "merge", "rare_name": "a", "rare_below": 3}, {}, ()),
        ({"rare_labels": "reject", "rare_below": 3}, {}, ("a",)),
        ({"rare_labels": "reject", "rare_below": 1}, {}, ()),
    ],
)
def test_rare_labels_are_merged_or_rejected_as_the_recipe_says(
    fields: dict[str, Any], names: dict[str, str], rejected: tuple[str, ...]
) -> None:
    section = DataSection(train="d.csv", **fields)
    counts = {"b": 4, "a": 2, "c": 5}
    assert rare_label_names(counts, section) == names
    assert rejected_labels(counts, section) == rejected
