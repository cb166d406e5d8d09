"""Which rows say the same: exactly, in plain form, or nearly. Found once, read by several screens.

Pass one hashes every row and sketches it; pass two reads only those texts again that the sketches bring together, and
compares their shingles. About 290 bytes a row are kept between the passes, and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.minhash import Bands, Sketched, bands_for, candidate_pairs, sketch
from metier.data.cleaning.places import TEST, TRAIN, UNSPLIT, VALIDATION, Places
from metier.data.cleaning.rows import SPLITS, Row, Rows
from metier.data.cleaning.shingles import WIDER, Shares, Shingles, blocks, jaccard, least_in_order, shingles_of
from metier.data.cleaning.words import (
    Frame,
    Hashes,
    Positions,
    batches,
    hash_words,
    plain_hash,
    plain_words,
    shared_frame,
    text_hash,
)
from metier.errors import ArgumentError

Numbers = NDArray[np.int32]

MOST_SHINGLES = 1 << 25
"""Shingles of each width that pass two holds at once (256 MB); more candidates mean one more reading of the rows."""
STAYS = (TEST, VALIDATION, TRAIN, UNSPLIT)
"""Whose rows represent a cluster first: test stays as it is."""


@dataclass(frozen=True, kw_only=True)
class SameSettings:
    """When two texts count as nearly the same."""

    threshold: float = 0.8
    """Jaccard index of their shingles from which on they do, above 0, at most 1."""
    width: int = 2
    """Words in a shingle, 1 to 8. Wider ones forgive less."""
    near: bool = True
    """Whether near duplicates are looked for at all; False: only exact ones and equal plain forms."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ArgumentError("threshold", f"is {self.threshold}", "a share above 0, at most 1")
        if not 1 <= self.width <= 8:
            raise ArgumentError("width", f"is {self.width}", "1 to 8 words")


@dataclass(frozen=True, kw_only=True)
class SameTexts:
    """Which rows say the same. Rows are meant by position, texts by number: one for each distinct plain form."""

    places: Places
    exact: Hashes
    """Of each row: hash of its text as it is."""
    text: Numbers
    """Of each row: number of its text."""
    answers: Hashes
    """Of each row: hash of its label, or of the plain form of its written answer; 0 without one."""
    labels: Mapping[int, str]
    """Label by hash."""
    written: bool
    """Whether any row has a written answer."""
    pairs: Positions
    """Texts nearly the same: shape (pairs, 2), the smaller number first. Checked on their shingles."""
    likeness: Shares
    """Jaccard index of each pair."""
    frame: Frame
    """Words that all texts share at both ends, left out of the comparison."""
    settings: SameSettings

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def first(self) -> Positions:
        """First row of each text in each split, -1 where it has none: shape (texts, splits)."""
        return _first_rows(self.text, self.places)

    @cached_property
    def cluster(self) -> Numbers:
        """Of each text: the number of its cluster; texts of one hang together through near pairs."""
        from scipy.sparse import coo_array  # type: ignore[import-untyped]
        from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

        count = len(self.first)
        if not len(self.pairs):
            return np.arange(count, dtype=np.int32)
        joined = coo_array((np.ones(len(self.pairs), np.int8), (self.pairs[:, 0], self.pairs[:, 1])), (count, count))
        found: Numbers = connected_components(joined, directed=False)[1].astype(np.int32)
        return found

    @cached_property
    def row_cluster(self) -> Numbers:
        """Of each row: the number of its cluster. A split that keeps clusters whole leaks no near duplicate."""
        return self.cluster[self.text]

    @cached_property
    def first_in_cluster(self) -> Positions:
        """First row of each cluster in each split, -1 where it has none: shape (clusters, splits)."""
        return _first_rows(self.row_cluster, self.places)

    @cached_property
    def representative(self) -> Positions:
        """Of each cluster: its first row in test, else in validation, else in train, else at all."""
        best = np.full(len(self.first_in_cluster), -1, np.int64)
        for split in STAYS:
            own = self.first_in_cluster[:, split]
            best = np.where(best < 0, own, best)
        return best

    @cached_property
    def _near(self) -> tuple[Positions, Positions, Shares]:
        """Pairs in both directions: where each text's begin, the other texts, the likeness, best first."""
        one = np.concatenate([self.pairs[:, 0], self.pairs[:, 1]])
        other = np.concatenate([self.pairs[:, 1], self.pairs[:, 0]])
        likeness = np.concatenate([self.likeness, self.likeness])
        order = np.lexsort((other, -likeness, one))
        starts = np.searchsorted(one[order], np.arange(len(self.first) + 1))
        return starts, other[order], likeness[order]

    def near(self, text: int) -> tuple[Positions, Shares]:
        """Texts nearly the same as this one, the most alike first, and how alike they are."""
        starts, others, likeness = self._near
        some = slice(int(starts[text]), int(starts[text + 1]))
        return others[some], likeness[some]


def find_same_texts(rows: Rows, settings: SameSettings | None = None) -> SameTexts:
    """Find rows that say the same.

    Pairs at a Jaccard index of 0.9 are found with a probability of 99.99 %, at the threshold itself with more than
    97 %; every pair given is truly that alike.

    Args:
        rows: Read twice, and once more for every further `MOST_SHINGLES` shingles of candidates; before that so far as
            all texts begin or end alike.
        settings: Default: `SameSettings()`.
    """
    settings = settings or SameSettings()
    bands = bands_for(settings.threshold)
    frame = shared_frame(row.text for row in rows) if settings.near else Frame()
    looked = _Look.over(rows, settings, bands, frame)
    _, firsts, text = np.unique(looked.plain, return_index=True, return_inverse=True)
    # Texts are numbered by their first row, so that a larger number is a later text.
    order = np.argsort(firsts)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    firsts = firsts[order].astype(np.int64)
    pairs, likeness = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    if settings.near:
        pairs = candidate_pairs(looked.sketched, bands, firsts)
        alike, likeness = _check(rows, firsts, pairs, looked.counts[firsts], (settings, frame))
        pairs, likeness = pairs[alike], likeness[alike]
    return SameTexts(
        places=looked.places,
        exact=looked.exact,
        text=rank[text].astype(np.int32),
        answers=looked.answers,
        labels=looked.labels,
        written=looked.written,
        pairs=pairs,
        likeness=likeness,
        frame=frame,
        settings=settings,
    )


@dataclass(kw_only=True)
class _Look:
    """What pass one keeps of every row."""

    places: Places
    exact: Hashes
    plain: Hashes
    answers: Hashes
    counts: Positions
    sketched: Sketched
    labels: dict[int, str] = field(default_factory=dict)
    written: bool = False

    @classmethod
    def over(cls, rows: Rows, settings: SameSettings, bands: Bands, frame: Frame) -> _Look:
        count = len(rows)
        look = cls(
            places=Places.empty(count),
            exact=np.zeros(count, np.uint64),
            plain=np.zeros(count, np.uint64),
            answers=np.zeros(count, np.uint64),
            counts=np.zeros(count, np.int64),
            sketched=Sketched.empty(count if settings.near else 0, bands),
        )
        start = 0
        for batch in batches(rows):
            look._put(start, batch)
            words = [plain_words(row.text) for row in batch]
            some = slice(start, start + len(batch))
            look.plain[some] = [plain_hash(each) for each in words]
            if settings.near:
                shingles = shingles_of(hash_words([frame.inside(each) for each in words]), settings.width)
                look.counts[some] = shingles.counts
                look.sketched.put(start, sketch(shingles, bands))
            start += len(batch)
        return look

    def _put(self, start: int, batch: list[Row]) -> None:
        self.places.put(start, batch)
        some = slice(start, start + len(batch))
        self.exact[some] = [text_hash(row.text) for row in batch]
        self.answers[some] = [self._answer(row) for row in batch]

    def _answer(self, row: Row) -> int:
        if not row.answer:
            return 0
        if not row.labelled:
            self.written = True
            return plain_hash(plain_words(row.answer))
        hashed = text_hash(row.answer)
        self.labels.setdefault(hashed, row.answer)
        return hashed


def _check(
    rows: Rows, firsts: Positions, pairs: Positions, counts: Positions, form: tuple[SameSettings, Frame]
) -> tuple[NDArray[np.bool_], Shares]:
    """Which pairs of texts are nearly the same, and how alike they are, from the texts themselves.

    Args:
        rows: Read once for every `MOST_SHINGLES` shingles.
        firsts: The row of each text.
        pairs: Numbers of texts, ordered by the first.
        counts: Shingles of each text.
        form: What counts as near, and what texts share at their ends.
    """
    settings, _ = form
    alike, found = np.zeros(len(pairs), bool), np.zeros(len(pairs), np.float32)
    new = np.ones(len(pairs), bool)
    new[1:] = pairs[1:, 0] != pairs[:-1, 0]
    needed = counts[pairs[:, 1]] + np.where(new, counts[pairs[:, 0]], 0)
    for low, high in blocks(needed, MOST_SHINGLES):
        texts, inverse = np.unique(pairs[low:high], return_inverse=True)
        narrow, wide = _read_again(rows, firsts[texts], form)
        inside = inverse.reshape(-1, 2)
        found[low:high] = jaccard(narrow, narrow, inside)
        near = np.flatnonzero(found[low:high] >= settings.threshold)
        alike[low + near] = jaccard(wide, wide, inside[near]) >= least_in_order(settings.threshold, settings.width)
    return alike, found


def _read_again(rows: Rows, wanted: Positions, form: tuple[SameSettings, Frame]) -> tuple[Shingles, Shingles]:
    """The shingles, and the wider ones, of the rows at these positions, which are in order."""
    settings, frame = form
    mask = np.zeros(len(rows), bool)
    mask[wanted] = True
    narrow, wide = [], []
    for batch in batches(row for position, row in enumerate(rows) if mask[position]):
        words = hash_words([frame.inside(plain_words(row.text)) for row in batch])
        narrow.append(shingles_of(words, settings.width))
        wide.append(shingles_of(words, settings.width + WIDER))
    return Shingles.join(narrow), Shingles.join(wide)


def _first_rows(number: Numbers, places: Places) -> Positions:
    """First row of each number in each split, -1 where it has none."""
    count = int(number.max()) + 1 if len(number) else 0
    first = np.full((count, len(SPLITS)), -1, np.int64)
    backwards = np.arange(len(number) - 1, -1, -1)
    first[number[backwards], places.splits[backwards]] = backwards  # the last one written is the first row
    return first
