"""MinHash sketches of shingle sets, and the pairs of texts that they bring together.

A sketch has `SLOTS` numbers; two texts agree in a slot with the probability of their Jaccard index (Broder, 1997).
Slots are cut into bands: texts that agree in all slots of any band are candidates (locality-sensitive hashing, Indyk
and Motwani, 1998). Kept for each text are 32 bits a band and 8 bits a slot, about 200 bytes; a candidate is dropped
again where too few slots agree. What is left is checked on the shingles themselves by whoever asked, so that a pair
never rests on an estimate.

Plain numpy over hashed shingles, and not a library: signatures are the same in every version and on every machine,
and nothing but these bytes is kept, whatever the number of texts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.shingles import Shingles, Values
from metier.data.cleaning.words import Hashes, Positions, constants, mixed, spans

Sketches = NDArray[np.uint8]

SLOTS = 128
SURE = 0.97
"""Two texts exactly at the threshold become candidates with at least this probability."""
NEIGHBOURS = 6
"""In a band, a text is paired with so many that follow it: all of them unless more than seven agree."""
MOST_PAIRS = 8
"""Candidates kept for a text, its most similar ones."""
_LANES = 8
_AT_ONCE = 1 << 14
_FACTORS = 21
_MASKS = 22
_BAND = 23
BUCKET = 16
"""Where more texts of an index than this agree with a text in a band, so many next to it are looked at."""


@dataclass(frozen=True, kw_only=True)
class Bands:
    """How the slots are cut for one threshold."""

    threshold: float
    """Jaccard index from which on two texts are wanted, above 0, at most 1."""
    width: int
    """Slots in a band."""
    count: int

    @property
    def slots(self) -> int:
        """Slots that are used at all."""
        return self.width * self.count

    def chance(self, likeness: float) -> float:
        """How probable it is that two texts so alike become candidates."""
        return 1 - (1 - likeness**self.width) ** self.count

    @property
    def fewest_alike(self) -> int:
        """Slots that must agree in a candidate: four standard deviations below what the threshold lets expect."""
        chance = self.threshold + (1 - self.threshold) / 256
        deviation = math.sqrt(chance * (1 - chance) * self.slots)
        return max(1, math.ceil(chance * self.slots - 4 * deviation))


@functools.cache
def bands_for(threshold: float) -> Bands:
    """The widest bands that still find `SURE` of the pairs at the threshold: few candidates that are not alike.

    Args:
        threshold: Above 0, at most 1.
    """
    for width in range(SLOTS, 0, -1):
        bands = Bands(threshold=threshold, width=width, count=SLOTS // width)
        if bands.chance(threshold) >= SURE:
            return bands
    return Bands(threshold=threshold, width=1, count=SLOTS)


@dataclass(frozen=True, kw_only=True)
class Sketched:
    """Several texts as sketches."""

    keys: Values
    """Shape (texts, bands): equal where two texts agree in all slots of a band."""
    slots: Sketches
    """Shape (texts, slots, up to a multiple of 8): the last eight bits of each slot, then zeros."""

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def empty(cls, texts: int, bands: Bands) -> Sketched:
        """Room for so many."""
        width = -(-bands.slots // _LANES) * _LANES
        return cls(keys=np.zeros((texts, bands.count), np.uint32), slots=np.zeros((texts, width), np.uint8))

    def put(self, start: int, part: Sketched) -> None:
        """Write `part` into the rooms from `start` on."""
        self.keys[start : start + len(part)] = part.keys
        self.slots[start : start + len(part)] = part.slots

    def agreeing(self, left: Positions, right: Positions, bands: Bands) -> Positions:
        """In how many slots each pair of these texts agrees."""
        return agreeing((self, left), (self, right), bands)


def sketch(shingles: Shingles, bands: Bands) -> Sketched:
    """The sketch of each text.

    Args:
        shingles: At least one for each text.
        bands: How the slots are cut.
    """
    if not len(shingles):
        return Sketched.empty(0, bands)
    starts = shingles.starts
    smallest = np.empty((bands.slots, len(shingles)), np.uint32)
    room = np.empty_like(shingles.values)
    factors = (constants(bands.slots, _FACTORS) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    masks = (constants(bands.slots, _MASKS) >> np.uint64(32)).astype(np.uint32)
    for slot in range(bands.slots):
        np.bitwise_xor(shingles.values, masks[slot], out=room)
        np.multiply(room, factors[slot], out=room)
        np.minimum.reduceat(room, starts, out=smallest[slot])
    factors64 = constants(bands.width, _BAND)[None, :, None]
    parts: Hashes = smallest.reshape(bands.count, bands.width, -1).astype(np.uint64) * factors64
    keys = mixed(parts.sum(axis=1, dtype=np.uint64)) >> np.uint64(32)
    sketched = Sketched.empty(len(shingles), bands)
    sketched.keys[:] = keys.T
    sketched.slots[:, : bands.slots] = (smallest & np.uint32(255)).T
    return sketched


def agreeing(left: tuple[Sketched, Positions], right: tuple[Sketched, Positions], bands: Bands) -> Positions:
    """In how many slots the texts of each pair agree.

    Args:
        left: Sketches, and which of them are the first texts of the pairs.
        right: The same for the second ones; as many.
        bands: As they were sketched with.
    """
    (ours, lefts), (theirs, rights) = left, right
    found = np.zeros(len(lefts), np.int64)
    padding = ours.slots.shape[1] - bands.slots
    for start in range(0, len(lefts), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        equal = ours.slots[lefts[some]] == theirs.slots[rights[some]]
        # Eight slots at a time: their ones are added up in the bytes of one number, then these bytes.
        lanes = equal.view(np.uint64).sum(axis=1, dtype=np.uint64)
        found[some] = ((lanes * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64) - padding
    return found


def candidate_pairs(sketched: Sketched, bands: Bands, texts: Positions | None = None) -> Positions:
    """Pairs of texts that may be alike, each once, the smaller number first: shape (pairs, 2).

    Where very many texts agree in a band (a template with one word in it), a text meets those next to it in the order
    of another band, and keeps its `MOST_PAIRS` best: they hang together, though not each with each.

    Args:
        sketched: All texts.
        bands: As they were sketched with.
        texts: Which of them to look at; pairs are numbers in this list. None: all.
    """
    texts = np.arange(len(sketched)) if texts is None else texts
    pairs = np.zeros(0, np.int64)
    count = len(texts)
    for band in range(bands.count):
        key, other = sketched.keys[texts, band], sketched.keys[texts, (band + 1) % bands.count]
        order = np.lexsort((other, key))
        key = key[order]
        found = [pairs]
        for offset in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(key[offset:] == key[:-offset])
            if not len(same):
                break
            one, two = order[same], order[same + offset]
            enough = sketched.agreeing(texts[one], texts[two], bands) >= bands.fewest_alike
            low, high = np.minimum(one, two)[enough], np.maximum(one, two)[enough]
            found.append(low * count + high)
        pairs = _best(sketched, bands, texts, np.unique(np.concatenate(found)))
    return np.stack([pairs // max(1, count), pairs % max(1, count)], axis=1)


def _best(sketched: Sketched, bands: Bands, texts: Positions, pairs: Positions) -> Positions:
    """Where there are too many pairs, those that are among the best of either of their texts."""
    count = len(texts)
    if len(pairs) <= MOST_PAIRS * count:
        return pairs
    left, right = pairs // count, pairs % count
    worth = -sketched.agreeing(texts[left], texts[right], bands)
    keep = np.zeros(len(pairs), bool)
    for side in (left, right):
        order = np.lexsort((pairs, worth, side))
        place = np.arange(len(pairs))
        new = np.ones(len(pairs), bool)
        new[1:] = side[order][1:] != side[order][:-1]
        keep[order[place - np.maximum.accumulate(np.where(new, place, 0)) < MOST_PAIRS]] = True
    return pairs[keep]


@dataclass(frozen=True, kw_only=True)
class BandIndex:
    """Sketches of a small set of texts by their bands, to be asked with batches of a large one."""

    sketched: Sketched
    bands: Bands
    keys: Sequence[Hashes]
    """Of each band: the keys of all texts, sorted; those of the next band below them."""
    orders: Sequence[Positions]
    """Of each band: the texts in that order."""

    @classmethod
    def of(cls, sketched: Sketched, bands: Bands) -> BandIndex:
        """Index texts."""
        keys = [_two_keys(sketched, band) for band in range(bands.count)]
        orders = [np.argsort(key, kind="stable") for key in keys]
        ordered = [key[order] for key, order in zip(keys, orders, strict=True)]
        return cls(sketched=sketched, bands=bands, keys=ordered, orders=orders)

    def candidates(self, asked: Sketched) -> Positions:
        """Pairs of a text asked about and one of the index that may be alike, each once: shape (pairs, 2)."""
        count = max(1, len(self.sketched))
        found: list[Positions] = [np.zeros(0, np.int64)]
        for band in range(self.bands.count):
            ours, theirs = self._meet(asked, band)
            enough = agreeing((asked, ours), (self.sketched, theirs), self.bands) >= self.bands.fewest_alike
            found.append(ours[enough] * count + theirs[enough])
        pairs = np.unique(np.concatenate(found))
        return np.stack([pairs // count, pairs % count], axis=1)

    def _meet(self, asked: Sketched, band: int) -> tuple[Positions, Positions]:
        """Texts that agree in the band, at most `BUCKET` of the index for each: those nearest in the next band."""
        keys, half = self.keys[band], np.uint64(32)
        wanted = _two_keys(asked, band)
        lowest = wanted >> half << half
        low = np.searchsorted(keys, lowest)
        here = np.flatnonzero(keys[np.minimum(low, len(keys) - 1)] >> half == lowest >> half)
        low, lowest = low[here], lowest[here]
        high = np.searchsorted(keys, lowest | np.uint64(0xFFFFFFFF), "right")
        low = np.maximum(low, np.searchsorted(keys, wanted[here]) - BUCKET // 2)
        sizes = np.minimum(high, low + BUCKET) - low
        return np.repeat(here, sizes), self.orders[band][spans(low, sizes)]


def _two_keys(sketched: Sketched, band: int) -> Hashes:
    after = (band + 1) % sketched.keys.shape[1]
    return (sketched.keys[:, band].astype(np.uint64) << np.uint64(32)) | sketched.keys[:, after]
