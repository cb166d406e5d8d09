"""An index of the word n-grams of a small set of texts, asked with batches of a large one.

The index gives, for a text of the large set and one of the small set, which share of the small one's words lies in
n-grams that both have. N-grams that many of the small set's own texts share are a template or a figure of speech, and
count for nothing (GPT-3 left out those of more than ten documents: Brown and others, 2020, appendix C).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.shingles import blocks, grams_of
from metier.data.cleaning.words import Hashes, Positions, WordHashes, spans

_TABLE_BITS = 22
_HITS = 1 << 22
"""Places of n-grams that are looked at at once."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Pairs of texts with n-grams in common, one entry a pair."""

    asked: Positions
    """Text of the batch."""
    item: Positions
    """Text of the index."""
    words: Positions
    """Words of the item that lie in shared n-grams."""

    @classmethod
    def join(cls, parts: list[Overlap]) -> Overlap:
        """The pairs of all parts."""
        none = [np.zeros(0, np.int64)]
        return cls(
            asked=np.concatenate([part.asked for part in parts] or none),
            item=np.concatenate([part.item for part in parts] or none),
            words=np.concatenate([part.words for part in parts] or none),
        )


@dataclass(frozen=True, kw_only=True)
class GramIndex:
    """The n-grams of a small set of texts, except those that too many of them share."""

    width: int
    """Words in an n-gram."""
    grams: Hashes
    """Each n-gram once, sorted."""
    starts: Positions
    """Where the places of each n-gram begin."""
    counts: Positions
    """How many places each has."""
    items: Positions
    """Of each place: the text."""
    places: Positions
    """Of each place: the n-gram's first word in the text."""
    own: Positions
    """Of each text: words that lie in any n-gram of the index; 0: too short, or nothing but what many share."""
    table: NDArray[np.bool_]
    """Which last bits of a hash occur at all: most n-grams that are asked for fail here, cheaply."""

    @classmethod
    def build(cls, words: WordHashes, width: int, *, most_items: int) -> GramIndex:
        """Index texts.

        Args:
            words: Of the texts, each text once.
            width: Words in an n-gram.
            most_items: N-grams of more than so many texts are left out.
        """
        grams, counts, places = grams_of(words, width)
        items = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((places, items, grams))
        grams, items, places = grams[order], items[order], places[order]
        keep = _texts_of(grams, items) <= most_items
        grams, items, places = grams[keep], items[keep], places[keep]
        unique, starts, sizes = np.unique(grams, return_index=True, return_counts=True)
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[_low(unique)] = True
        own = np.zeros(len(counts), np.int64)
        covered = _covered(np.zeros_like(items), items, places, width)
        own[covered.item] = covered.words
        return cls(
            width=width,
            grams=unique,
            starts=starts.astype(np.int64),
            counts=sizes.astype(np.int64),
            items=items,
            places=places,
            own=own,
            table=table,
        )

    def overlap(self, words: WordHashes) -> Overlap:
        """Which texts of the index have n-grams in common with which of these, and how many words these cover.

        Args:
            words: Of a batch of texts.
        """
        grams, counts, _ = grams_of(words, self.width)
        asked = np.repeat(np.arange(len(counts)), counts)
        maybe = np.flatnonzero(self.table[_low(grams)])
        if not len(maybe) or not len(self.grams):
            return Overlap.join([])
        at = np.minimum(np.searchsorted(self.grams, grams[maybe]), len(self.grams) - 1)
        hit = self.grams[at] == grams[maybe]
        # An n-gram that a text repeats covers nothing new.
        found = np.unique(asked[maybe[hit]] * len(self.grams) + at[hit])
        asked, at = found // len(self.grams), found % len(self.grams)
        parts = []
        for low, high in _whole_texts(asked, list(blocks(self.counts[at], _HITS))):
            sizes = self.counts[at[low:high]]
            places = spans(self.starts[at[low:high]], sizes)
            parts.append(
                _covered(np.repeat(asked[low:high], sizes), self.items[places], self.places[places], self.width)
            )
        return Overlap.join(parts)


def _low(grams: Hashes) -> NDArray[np.int64]:
    return (grams & np.uint64((1 << _TABLE_BITS) - 1)).astype(np.int64)


def _texts_of(grams: Hashes, texts: Positions) -> Positions:
    """Of each place: how many different texts have its n-gram. Places are sorted by n-gram, then text."""
    new_gram = np.ones(len(grams), bool)
    new_gram[1:] = grams[1:] != grams[:-1]
    new_text = new_gram.copy()
    new_text[1:] |= texts[1:] != texts[:-1]
    gram = np.cumsum(new_gram) - 1
    counts = np.bincount(gram, weights=new_text).astype(np.int64)
    found: Positions = counts[gram]
    return found


def _covered(asked: Positions, items: Positions, places: Positions, width: int) -> Overlap:
    """How many words of each item the n-grams at these places cover, for each text asked about."""
    if not len(items):
        return Overlap.join([])
    order = np.lexsort((places, items, asked))
    asked, items, places = asked[order], items[order], places[order]
    new = np.ones(len(items), bool)
    new[1:] = (asked[1:] != asked[:-1]) | (items[1:] != items[:-1])
    fresh = np.full(len(items), width, np.int64)
    fresh[1:] = np.where(new[1:], width, np.minimum(width, places[1:] - places[:-1]))
    starts = np.flatnonzero(new)
    return Overlap(asked=asked[starts], item=items[starts], words=np.add.reduceat(fresh, starts))


def _whole_texts(asked: Positions, stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretches with their cuts moved to where the next text begins, so that no pair is torn."""
    edges = sorted({0, len(asked), *(int(np.searchsorted(asked, asked[low], "left")) for low, _ in stretches)})
    return list(itertools.pairwise(edges))
