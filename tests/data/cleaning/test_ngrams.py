"""Tokens and phrases as numbers: the same as a slow reading of the text gives."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.ngrams import character_runs, read_characters, read_tokens, row_minima, row_sums
from metier.data.cleaning.phrases import frequent_phrases, read_text
from metier.data.cleaning.rows import Row

ASCII = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=30)


def _slow(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]+", text.lower())


def _same_partition(first: list[object], second: list[object]) -> bool:
    """Whether two lists have equal entries at the same places."""
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=150, deadline=None)
@given(st.lists(ASCII, max_size=6))
def test_tokens_and_runs_are_those_of_a_slow_reading(texts: list[str]) -> None:
    tokens = read_tokens(texts)
    slow = [(row, token) for row, text in enumerate(texts) for token in _slow(text)]
    assert tokens.row.tolist() == [row for row, _ in slow]
    assert _same_partition(tokens.code.tolist(), [token for _, token in slow])
    pairs = [
        (row, tuple(words[at : at + 2]))
        for row, words in enumerate(map(_slow, texts))
        for at in range(len(words) - 1)
    ]  # fmt: skip
    code, place = tokens.runs(2)
    assert tokens.row[place].tolist() == [row for row, _ in pairs]
    assert _same_partition(code.tolist(), [pair for _, pair in pairs])
    bags = [tuple(sorted(Counter(_slow(text)).items())) for text in texts]
    assert _same_partition(tokens.bags().tolist(), bags)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_text_can_be_read(texts: list[str]) -> None:
    tokens = read_tokens(texts)
    assert tokens.rows == len(texts)
    assert np.all(np.diff(tokens.row) >= 0)
    alone = [read_tokens([text]).code.tolist() for text in texts]
    assert [code for codes in alone for code in codes] == tokens.code.tolist(), "a text's tokens depend on its batch"
    code, row = character_runs(read_characters(texts), 3)
    assert np.bincount(row, minlength=len(texts)).tolist() == [max(len(text.lower()) - 1, 0) for text in texts]
    assert len(code) == len(row)


def test_scripts_without_spaces_are_read_by_character() -> None:
    assert len(read_tokens(["日本語 ok"]).code) == 4
    assert len(read_tokens(["straße größe"]).code) == 2
    assert read_tokens(["a\u200bb"]).row.tolist() == [0, 0]


def test_sums_and_minima_by_row() -> None:
    codes, row = np.array([5, 7, 2], dtype=np.uint64), np.array([0, 0, 2])
    assert row_sums(codes, row, 3).tolist() == [12, 0, 2]
    assert row_minima(codes, row, 3).tolist() == [5, 2**64 - 1, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join), min_size=1, max_size=30))
def test_frequent_phrases_are_counted_exactly(texts: list[str]) -> None:
    rows = [_row(key, text) for key, text in enumerate(texts)]
    phrases = frequent_phrases(rows, np.ones(len(rows), dtype=np.bool_), read_text, fewest=3, most=20)
    slow: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        words = text.split()
        slow.update({tuple(words[at : at + n]) for n in (1, 2, 3) for at in range(len(words) - n + 1)})
    assert sorted(phrases.rows.tolist()) == sorted(count for count in slow.values() if 3 <= count <= 20)


def _row(key: int, text: str) -> Row:
    return Row(
        key=key, split="train", text=text, answer="a", labelled=True, group=None, source="made.csv", row=key + 1
    )  # fmt: skip
