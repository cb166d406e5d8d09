"""Texts as sets of shingles, and how alike two such sets are.

A shingle is a run of `width` words, with marks before the first word and after the last one, so that every word is in
`width` shingles. A shingle that occurs again in the same text is another one (`the second time of …`): likeness is the
Jaccard index of multisets, which does not take a sequence over few words for any other.

With the usual width 2 and threshold 0.8, one word more or less is *near* in texts from 12 words on, one word instead
of another from 17 on; shorter texts are alike only when their plain form is equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.words import Hashes, Positions, WordHashes, constants, mixed, spans, starts_of

Values = NDArray[np.uint32]
Shares = NDArray[np.float32]

_SHINGLE = 11
_MARKS = 12
_AGAIN = 13
_GRAM = 14
_HASH_BITS = 40
_BLOCK = 1 << 22
"""Shingles that are compared at once."""


WIDER = 6
"""Words by which the shingles are wider that say whether two texts have their words in the same order."""


@dataclass(frozen=True, kw_only=True)
class Shingles:
    """Shingles of several texts as 32-bit hashes, one text after the other, in no order within a text."""

    values: Values
    counts: Positions
    """Shingles of each text, at least 1 unless some were taken out."""

    @property
    def starts(self) -> Positions:
        """Where each text begins in `values`."""
        return starts_of(self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, texts: Positions) -> Shingles:
        """The shingles of these texts only."""
        return Shingles(values=self.values[spans(self.starts[texts], self.counts[texts])], counts=self.counts[texts])

    def without(self, values: Values) -> Shingles:
        """The texts less these shingles; a text may have none left."""
        keep = ~np.isin(self.values, values)
        text = np.repeat(np.arange(len(self)), self.counts)[keep]
        return Shingles(values=self.values[keep], counts=np.bincount(text, minlength=len(self)))

    @classmethod
    def join(cls, parts: list[Shingles]) -> Shingles:
        """The texts of all parts, in order."""
        values = [part.values for part in parts] or [np.zeros(0, np.uint32)]
        counts = [part.counts for part in parts] or [np.zeros(0, np.int64)]
        return cls(values=np.concatenate(values), counts=np.concatenate(counts))


def shingles_of(words: WordHashes, width: int) -> Shingles:
    """The shingles of each text.

    Args:
        words: At least one word for each text, fewer than 2**24 texts.
        width: Words in a shingle, 1 or more.
    """
    padded = _with_marks(words, width - 1)
    grams, counts, _ = grams_of(padded, width, stream=_SHINGLE)
    text = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    order = np.sort((text << np.uint64(_HASH_BITS)) | (grams >> np.uint64(64 - _HASH_BITS)))
    place = np.arange(len(order))
    new = np.ones(len(order), bool)
    new[1:] = order[1:] != order[:-1]
    again = place - np.maximum.accumulate(np.where(new, place, 0))
    hashes = order & np.uint64((1 << _HASH_BITS) - 1)
    numbered = mixed(hashes + again.astype(np.uint64) * constants(1, _AGAIN)[0])
    return Shingles(values=(numbered >> np.uint64(32)).astype(np.uint32), counts=counts)


def grams_of(words: WordHashes, width: int, *, stream: int = _GRAM) -> tuple[Hashes, Positions, Positions]:
    """Hashes of every run of `width` words.

    Args:
        words: Texts with fewer words than `width` have none.
        width: Words in a run, 1 or more.
        stream: Different streams have nothing in common.

    Returns:
        The hashes of all texts, how many each text has, and at which word of its text each run begins.
    """
    counts = np.maximum(words.counts - width + 1, 0)
    places = spans(words.starts, counts)
    values = np.zeros(len(places), np.uint64)
    for offset, factor in enumerate(constants(width, stream)):
        values += words.values[places + offset] * factor
    return mixed(values), counts, spans(np.zeros_like(counts), counts)


def jaccard(left: Shingles, right: Shingles, pairs: Positions) -> Shares:
    """How alike the texts of each pair are: shared shingles by all shingles of both, from 0 to 1; 0 of no shingles.

    Args:
        left: Texts that the first of a pair means.
        right: Texts that the second means; may be the same as `left`.
        pairs: Shape (pairs, 2).
    """
    found = np.zeros(len(pairs), np.float32)
    sizes = left.counts[pairs[:, 0]] + right.counts[pairs[:, 1]]
    for low, high in blocks(sizes, _BLOCK):
        some = pairs[low:high]
        shared = _shared(left, right, some)
        found[low:high] = shared / np.maximum(1, sizes[low:high] - shared)
    return found


def least_in_order(threshold: float, width: int) -> float:
    """Jaccard index that texts which are alike also have for shingles `WIDER` words wider.

    Half of what single words replaced here and there leave at the threshold: only texts that put the same few words
    in another order, such as sequences over an alphabet, have less.

    Args:
        threshold: Jaccard index from which on they are alike.
        width: Words in the shingles that it is measured with.
    """
    words_replaced = (1 - threshold) / (1 + threshold) / width
    lost = min(1.0, words_replaced * (width + WIDER))
    return (1 - lost) / (1 + lost) / 2


def blocks(sizes: Positions, budget: int) -> Iterator[tuple[int, int]]:
    """Cuts a sequence into stretches whose sizes sum to about `budget`: first member, one after the last.

    Args:
        sizes: Of the members, in order.
        budget: A stretch goes over it by one member at most.
    """
    if not len(sizes):
        return
    stretch = (np.cumsum(sizes) - sizes) // max(1, budget)
    cuts = np.flatnonzero(np.diff(stretch)) + 1
    edges = [0, *cuts.tolist(), len(sizes)]
    yield from itertools.pairwise(edges)


def _shared(left: Shingles, right: Shingles, pairs: Positions) -> Positions:
    """Shingles that both texts of a pair have."""
    keys = [_keyed(side, pairs[:, place]) for place, side in enumerate((left, right))]
    order = np.sort(np.concatenate(keys))
    twice = order[1:][order[1:] == order[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=len(pairs))


def _keyed(side: Shingles, texts: Positions) -> Hashes:
    """The shingles of `texts`, each with the number of its pair above it."""
    counts = side.counts[texts]
    pair = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)
    return (pair << np.uint64(32)) | side.values[spans(side.starts[texts], counts)].astype(np.uint64)


def _with_marks(words: WordHashes, marks: int) -> WordHashes:
    """The words with so many marks before and after each text."""
    if not marks:
        return words
    counts = words.counts + 2 * marks
    before, after = constants(2, _MARKS)
    values = np.full(int(counts.sum()), before, np.uint64)
    starts = starts_of(counts)
    values[spans(starts + marks, words.counts)] = words.values
    values[spans(starts + marks + words.counts, np.full_like(counts, marks))] = after
    return WordHashes(values=values, counts=counts)
