"""From free text to a label: whole answers, marked ones, one mention; nothing guessed."""

from __future__ import annotations

import pytest

from metier.errors import DataError
from metier.evaluation.labels.label_reading import LabelReader, plain

READER = LabelReader(labels=("card_arrival", "card", "refund"), texts=("card arrival", "card", "money back"))


@pytest.mark.parametrize(
    ("text", "label", "how"),
    [
        ("card_arrival", "card_arrival", "whole"),
        ("Card arrival.", "card_arrival", "whole"),
        ("  **Money back**\n", "refund", "whole"),
        ('{"label": "refund"}', "refund", "whole"),
        ('```json\n{"intent": "card", "why": "it says card"}\n```', "card", "whole"),
        ("<think>refund or card?</think>\ncard", "card", "whole"),
        ("The answer is: refund", "refund", "marked"),
        ("It could be a card.\nFinal answer: money back", "refund", "marked"),
        ("I think this is about card-arrival, surely", "card_arrival", "mentioned"),
        ("refund, because they want a refund", "refund", "mentioned"),
        ("card or refund", None, "invalid answer: several labels"),
        ("cardboard", None, "invalid answer: no label"),
        ("", None, "invalid answer: empty"),
        ("I don't know.", None, "abstained"),
        (None, None, "no answer"),
    ],
)
def test_what_a_text_means(text: str | None, label: str | None, how: str) -> None:
    found = READER.read(text)
    assert (found.label, found.how) == (label, how)


def test_without_mentions_the_text_has_to_be_the_label() -> None:
    strict = LabelReader(labels=("a", "b"), mentions=False)
    assert strict.read("b").label == "b"
    assert strict.read("surely b").how == "invalid answer: no label"


def test_a_label_that_is_an_abstaining_word_is_a_label() -> None:
    assert LabelReader(labels=("unknown", "known")).read("Unknown").label == "unknown"


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(DataError, match="two labels differ only in case, spaces or punctuation"):
        LabelReader(labels=("Card", "card")).read("card")
    with pytest.raises(DataError, match="label texts: 1 for 2 labels"):
        LabelReader(labels=("a", "b"), texts=("a",)).read("a")


def test_many_texts_and_plain_names() -> None:
    assert [READER.read(text).label for text in ("card", None)] == ["card", None]
    assert plain("  Card-Arrival! ") == "card arrival"
