"""Sketches estimate the Jaccard index, and bring together what is alike."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from metier.data.cleaning import minhash
from metier.data.cleaning.minhash import BandIndex, Sketched, bands_for, candidate_pairs, sketch
from metier.data.cleaning.shingles import Shingles, jaccard, shingles_of
from metier.data.cleaning.words import hash_words


def _pairs(likeness: float, count: int, size: int = 100) -> Shingles:
    """Texts of which the first and second, third and fourth, … are about so alike."""
    rng = random.Random(7)
    texts = []
    for pair in range(count):
        words = [f"p{pair}w{at}" for at in range(size)]
        changed = list(words)
        for at in rng.sample(range(size), round(size * (1 - likeness) / (1 + likeness))):
            changed[at] = f"{words[at]}x"
        texts += [words, changed]
    return shingles_of(hash_words(texts), 1)


def test_slots_agree_as_often_as_shingles_do() -> None:
    bands = bands_for(0.8)
    for wanted in (0.2, 0.5, 0.8, 0.95):
        shingles = _pairs(wanted, 150)
        sketched = sketch(shingles, bands)
        first, second = np.arange(0, 300, 2), np.arange(1, 300, 2)
        true = jaccard(shingles, shingles, np.stack([first, second], axis=1)).mean()
        shares = sketched.agreeing(first, second, bands) / bands.slots
        expected = true + (1 - true) / 256
        # The mean of 150 sketches lies within four of its standard errors, and one sketch spreads as slots
        # that are independent would.
        assert abs(shares.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / (bands.slots * 150))
        assert shares.std() == pytest.approx(np.sqrt(expected * (1 - expected) / bands.slots), rel=0.25)


@pytest.mark.parametrize("threshold", [0.3, 0.66, 0.8, 1.0])
def test_agreeing_slots_are_counted_right(threshold: float) -> None:
    bands = bands_for(threshold)
    sketched = sketch(_pairs(0.7, 20), bands)
    first, second = np.arange(0, 40, 2), np.arange(1, 40, 2)
    plain = (sketched.slots[first, : bands.slots] == sketched.slots[second, : bands.slots]).sum(axis=1)
    assert sketched.agreeing(first, second, bands).tolist() == plain.tolist()
    assert (sketched.agreeing(first, first, bands) == bands.slots).all()


def test_bands_promise_what_they_keep() -> None:
    bands = bands_for(0.8)
    assert (bands.width, bands.count) == (7, 18)
    assert bands.chance(0.8) > 0.98 and bands.chance(0.9) > 0.9999 and bands.chance(0.4) < 0.03
    shingles = _pairs(0.9, 400)
    found = {tuple(pair) for pair in candidate_pairs(sketch(shingles, bands), bands).tolist()}
    assert sum((at, at + 1) in found for at in range(0, 800, 2)) >= 399


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.66, 0.8, 0.9, 1.0])
def test_every_threshold_has_bands(threshold: float) -> None:
    bands = bands_for(threshold)
    assert bands.slots <= minhash.SLOTS
    assert bands.chance(threshold) >= minhash.SURE or bands.width == 1
    assert 1 <= bands.fewest_alike <= bands.slots


def test_unlike_texts_are_no_candidates() -> None:
    rng = random.Random(3)
    texts = [[str(rng.randrange(2000)) for _ in range(60)] for _ in range(600)]
    bands = bands_for(0.8)
    assert len(candidate_pairs(sketch(shingles_of(hash_words(texts), 2), bands), bands)) == 0


def test_sketches_do_not_depend_on_the_batch() -> None:
    bands = bands_for(0.8)
    texts = [[f"w{at % 7}" for at in range(start, start + 20)] for start in range(9)]
    together = sketch(shingles_of(hash_words(texts), 2), bands)
    room = Sketched.empty(9, bands)
    for at, words in enumerate(texts):
        room.put(at, sketch(shingles_of(hash_words([words]), 2), bands))
    assert (together.keys == room.keys).all() and (together.slots == room.slots).all()
    assert len(sketch(shingles_of(hash_words([]), 2), bands)) == 0


def test_a_crowd_hangs_together_with_few_pairs() -> None:
    """Thousands of texts that differ in one word of forty: linear in their number, one cluster."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    count = 1500
    template = [f"t{at}" for at in range(40)]
    texts = [[*template[:20], f"n{number}", *template[20:]] for number in range(count)]
    bands = bands_for(0.8)
    pairs = candidate_pairs(sketch(shingles_of(hash_words(texts), 2), bands), bands)
    assert len(pairs) <= 2 * minhash.MOST_PAIRS * count
    joined = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    assert connected_components(joined, directed=False)[0] == 1
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_agrees_with_a_library() -> None:
    """Against rensa's full-set sketches of the same size, whose slots are drawn without replacement and err less."""
    rensa = pytest.importorskip("rensa", reason="needs the package rensa")
    errors: dict[str, list[float]] = {"ours": [], "rensa": []}
    bands = bands_for(0.8)
    for wanted in (0.3, 0.6, 0.8, 0.9):
        shingles = _pairs(wanted, 100)
        sketched = sketch(shingles, bands)
        starts = shingles.starts
        for at in range(0, 200, 2):
            true = float(jaccard(shingles, shingles, np.array([[at, at + 1]]))[0])
            errors["ours"].append(
                abs(sketched.agreeing(np.array([at]), np.array([at + 1]), bands)[0] / bands.slots - true)
            )
            theirs = []
            for text in (at, at + 1):
                values = shingles.values[starts[text] : starts[text] + shingles.counts[text]]
                theirs.append(rensa.RMinHash(num_perm=128, seed=1))
                theirs[-1].update([str(value) for value in values.tolist()])
            errors["rensa"].append(abs(theirs[0].jaccard(theirs[1]) - true))
    assert np.mean(errors["ours"]) < 1.6 * np.mean(errors["rensa"])
    assert np.mean(errors["ours"]) < 0.033


def test_small_bands_are_complete() -> None:
    """Up to seven texts that agree in a band are all paired with each other."""
    texts = [[*(f"t{at}" for at in range(60)), f"n{number}"] for number in range(7)]
    bands = bands_for(0.8)
    pairs = candidate_pairs(sketch(shingles_of(hash_words(texts), 2), bands), bands)
    assert {tuple(pair) for pair in pairs.tolist()} == set(itertools.combinations(range(7), 2))


def test_an_index_gives_all_of_a_small_crowd() -> None:
    bands = bands_for(0.66)
    words = [f"t{at}" for at in range(20)]
    index = BandIndex.of(sketch(shingles_of(hash_words([words] * 12), 2), bands), bands)
    asked = sketch(shingles_of(hash_words([["other"], words]), 2), bands)
    assert index.candidates(asked).tolist() == [[1, item] for item in range(12)]
