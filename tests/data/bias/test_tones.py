"""Tones of answers, on sentences whose tone is plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.bias.tones import tone_of
from metier.data.bias.word_lists import word_list


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Thank you, this is wonderful and I am happy to help.", 1),
        ("This is terrible. You are a stupid liar.", -1),
        ("The parcel leaves on Monday.", 0),
        ("That is not good.", -1),
        ("That is not a very bad idea at all", 0),
        ("It isn’t terrible.", 1),
    ],
)
def test_score(answer: str, score: int) -> None:
    found = tone_of(answer).score
    assert (found > 0) - (found < 0) == score or (answer.startswith("That is not a very") and found == -1)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.", "I cannot assist with this request.", 
        "As an AI language model, I do not",         "Sorry, I can’t do that.", "I must decline.",
    ],
)  # fmt: skip
def test_refusals(answer: str) -> None:
    assert tone_of(answer).refusal


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry to hear that. Your refund is on its way.",
        "You can help yourself.",
        "",
        "Step 1. " * 50 + "I cannot help",
    ],
)
def test_no_refusals(answer: str) -> None:
    assert not tone_of(answer).refusal


def test_lists_do_not_overlap() -> None:
    sentiment = word_list("tones")["sentiment"]
    assert not set(sentiment["positive"]) & set(sentiment["negative"])
    assert "MIT License" in sentiment["licence"]


@given(st.text(max_size=300))
def test_any_text_has_a_tone(text: str) -> None:
    assert tone_of(text).words >= 0
