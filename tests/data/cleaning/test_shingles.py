"""Shingles and their likeness, against sets and counters in plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.shingles import Shingles, blocks, grams_of, jaccard, shingles_of
from metier.data.cleaning.words import hash_words

Texts = list[list[str]]
TEXTS = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), min_size=1, max_size=8)


def _reference(words: list[str], width: int) -> Counter[tuple[str, ...]]:
    padded = [*["<"] * (width - 1), *words, *[">"] * (width - 1)]
    return Counter(tuple(padded[at : at + width]) for at in range(len(padded) - width + 1))


def _likeness(one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]]) -> float:
    return (one & other).total() / (one | other).total()


@given(TEXTS, st.integers(1, 4))
@settings(max_examples=150)
def test_likeness_is_that_of_multisets(texts: Texts, width: int) -> None:
    shingles = shingles_of(hash_words(texts), width)
    counted = [_reference(words, width) for words in texts]
    assert shingles.counts.tolist() == [each.total() for each in counted]
    pairs = [(one, other) for one in range(len(texts)) for other in range(len(texts))]
    found = jaccard(shingles, shingles, np.array(pairs))
    wanted = [_likeness(counted[one], counted[other]) for one, other in pairs]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@given(TEXTS, st.integers(1, 4))
@settings(max_examples=60)
def test_grams_stay_within_their_text(texts: Texts, width: int) -> None:
    grams, counts, places = grams_of(hash_words(texts), width)
    said = [tuple(words[at : at + width]) for words in texts for at in range(len(words) - width + 1)]
    assert len(grams) == len(said) == counts.sum()
    assert places.tolist() == [at for words in texts for at in range(len(words) - width + 1)]
    assert len(np.unique(grams)) == len(set(said))


def test_texts_can_be_taken_and_joined() -> None:
    texts = [["a", "b"], ["c"], ["d", "e", "f"]]
    shingles = shingles_of(hash_words(texts), 2)
    alone = [shingles_of(hash_words([words]), 2) for words in texts]
    joined = Shingles.join([alone[2], alone[0]])
    taken = shingles.take(np.array([2, 0]))
    assert taken.counts.tolist() == joined.counts.tolist() == [4, 3]
    assert sorted(taken.values.tolist()) == sorted(joined.values.tolist())
    assert len(Shingles.join([])) == 0


def test_shingles_can_be_left_out() -> None:
    shingles = shingles_of(hash_words([["a", "b"], ["a"], ["c"]]), 1)
    a = shingles.values[1]
    left = shingles.without(np.array([a]))
    assert left.counts.tolist() == [1, 0, 1] and a not in left.values
    assert jaccard(left, left, np.array([[0, 0], [1, 1], [0, 2]])).tolist() == [1, 0, 0]


def test_what_one_word_costs() -> None:
    """The rule for short texts, as the module states it: with width 2 and a threshold of 0.8."""
    words = [f"w{at}" for at in range(30)]

    def likeness(one: list[str], other: list[str]) -> float:
        both = shingles_of(hash_words([one, other]), 2)
        return float(jaccard(both, both, np.array([[0, 1]]))[0])

    def longer(count: int) -> float:
        return likeness(words[:count], [*words[: count // 2], "x", *words[count // 2 : count]])

    def other(count: int) -> float:
        return likeness(words[:count], [*words[: count // 2], "x", *words[count // 2 + 1 : count]])

    assert longer(11) < 0.8 <= longer(12)
    assert other(16) < 0.8 <= other(17)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100))
def test_blocks_hold_every_member_once(sizes: list[int], budget: int) -> None:
    found = list(blocks(np.array(sizes, np.int64), budget))
    assert [at for low, high in found for at in range(low, high)] == list(range(len(sizes)))
    assert all(sum(sizes[low:high]) <= budget + max(sizes) for low, high in found)
