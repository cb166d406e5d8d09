"""The plain form of a text, hashes of its words, and the frame that all texts share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.words import (
    FRAME_TEXTS,
    Frame,
    constants,
    hash_words,
    plain_hash,
    plain_words,
    shared_frame,
    spans,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("My card HASN'T arrived!", ["my", "card", "hasnt", "arrived"]),
        ("my card hasn\u2019t  arrived", ["my", "card", "hasnt", "arrived"]),
        ("3.5 mg, 1,000 times", ["3", "5", "mg", "1", "000", "times"]),
        ("C++ is not C", ["c", "+", "+", "is", "not", "c"]),
        ("snake_case-words", ["snake", "case", "words"]),
        ("Straße ＡＢＣ ﬁne", ["strasse", "abc", "fine"]),
        ("我的卡丢了", ["我", "的", "卡", "丢", "了"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("great 👍", ["great", "👍"]),
        ("great 👎", ["great", "👎"]),
        ("...", ["..."]),
        ("? !", ["?!"]),
        ("", ["\0"]),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert plain_words(text) == words


@given(st.text(max_size=60))
def test_any_text_has_words_that_survive_being_asked_again(text: str) -> None:
    words = plain_words(text)
    assert words and all(words)
    assert not any(" " in word for word in words)
    assert plain_words(text) == words
    assert plain_hash(plain_words(f"  {text.strip()}\n")) == plain_hash(plain_words(text.strip()))


@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters=" "), min_size=1, max_size=9), min_size=1), max_size=9)
)
@settings(max_examples=60)
def test_equal_words_have_equal_hashes_wherever_they_stand(texts: list[list[str]]) -> None:
    hashed = hash_words(texts)
    assert hashed.counts.tolist() == [len(words) for words in texts]
    said = [word for words in texts for word in words]
    alone = [int(hash_words([[word]]).values[0]) for word in said]
    assert hashed.values.tolist() == alone
    assert len(set(alone)) == len(set(said))


def test_hashes_never_change() -> None:
    """Sketches of different runs and machines are compared."""
    assert [hex(value) for value in hash_words([["a", "card"], ["Ω"]]).values.tolist()] == WORD_HASHES
    assert hex(plain_hash(["my", "card"])) == PLAIN_HASH
    assert constants(3, 5).tolist() == constants(9, 5)[:3].tolist()
    assert not set(constants(100, 1).tolist()) & set(constants(100, 2).tolist())


def test_letters_in_another_order_are_another_word() -> None:
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"]
    words += ["x" * count for count in range(4, 200)]
    assert len(np.unique(hash_words([words]).values)) == len(words)


def test_spans_count_up_from_their_starts() -> None:
    assert spans(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_a_frame_is_what_all_texts_share() -> None:
    texts = [f"Classify this message: {word} {word[::-1]}. Answer:" for word in WORDS]
    frame = shared_frame(texts)
    assert frame == Frame(before=3, after=1)
    assert frame.inside(plain_words(texts[0])) == ["alpha0", "0ahpla"]


def test_few_texts_have_no_frame() -> None:
    assert shared_frame([f"my order {number}" for number in range(FRAME_TEXTS)]) == Frame()
    assert shared_frame(["the same"] * 500) == Frame()
    assert shared_frame([]) == Frame()


def test_a_frame_never_takes_a_word_twice() -> None:
    texts = [f"a a {word} a" for word in WORDS] + ["a a a"]
    frame = shared_frame(texts)
    assert frame.before + frame.after <= 3
    assert frame.inside(["a", "a", "a"]) == ["a", "a", "a"]


def test_a_frame_is_looked_for_no_longer_than_there_can_be_one() -> None:
    read = []

    def texts() -> object:
        for number in range(1000):
            read.append(number)
            yield f"{number} begins and ends {number}"

    assert shared_frame(texts()) == Frame()  # type: ignore[arg-type]
    assert len(read) < 5


WORD_HASHES = ["0x1d94e5ad31625f5f", "0x95d970eaf3b5b7ea", "0x928a6d0fa59923e4"]
PLAIN_HASH = "0x62606b9ee5b7c2b6"
WORDS = [f"alpha{number}" for number in range(FRAME_TEXTS + 1)]
