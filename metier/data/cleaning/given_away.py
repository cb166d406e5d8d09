"""The search behind the contamination screen: which rows to learn from give which evaluation items away.

Equal items are one item here; what is found holds for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.evidence import NEAR, RUNS, SAME, Best, Evidence, Reasons
from metier.data.cleaning.grams import GramIndex
from metier.data.cleaning.minhash import BandIndex, bands_for, sketch
from metier.data.cleaning.places import TEST, TRAIN, UNSPLIT, VALIDATION, Places
from metier.data.cleaning.rows import SPLITS, Row, Rows
from metier.data.cleaning.shingles import WIDER, Shares, Shingles, Values, jaccard, least_in_order, shingles_of
from metier.data.cleaning.words import (
    Frame,
    Hashes,
    Positions,
    WordHashes,
    batches,
    hash_words,
    plain_hash,
    plain_words,
    shared_frame,
)
from metier.errors import ArgumentError

SHORT, LONG = 8, 13
"""Words in the runs that decide, and in those that are counted beside them."""
FEWEST_SHARED = 16
"""Words in shared runs of 8 that an item needs as well, or all that it has: one run alone is a figure of speech."""
FEWEST_WORDS = 10
"""Items with fewer words are never nearly the same: one word is more than a tenth of them."""
WIDTH = 2
"""Words in a shingle."""
COMMON = 0.1
"""Shingles of a larger share of the items are taken for a template,"""
LEAST_OWN = 0.5
"""and nearly the same are only those that have such a Jaccard index without them, too."""


@dataclass(frozen=True, kw_only=True)
class ContaminationSettings:
    """When an evaluation item counts as given away."""

    matched_share: float = 0.5
    """Share of an item's words in runs of 8 shared with one row above which it does, 0 to 1; at least 16 words."""
    likeness: float = 0.66
    """Jaccard index of runs of two words from which on it does, above 0, at most 1; 1 word of 10 edited: 0.66."""
    most_items: int = 10
    """Runs that more than so many different items share are a template and count for nothing, 1 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.matched_share <= 1:
            raise ArgumentError("matched_share", f"is {self.matched_share}", "a share from 0 to 1")
        if not 0 < self.likeness <= 1:
            raise ArgumentError("likeness", f"is {self.likeness}", "a share above 0, at most 1")
        if self.most_items < 1:
            raise ArgumentError("most_items", f"is {self.most_items}", "1 or more")


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """What is known of every evaluation item; all arrays by its position among the items."""

    places: Places
    reason: Reasons
    """Number in `REASONS`."""
    score: Shares
    """How sure that is: 1 for the same text, the share of words or the Jaccard index else."""
    share: Shares
    """Largest share of its words in runs of 8 shared with one row."""
    long_share: Shares
    """The same for runs of 13."""
    likeness: Shares
    """Largest Jaccard index with one row, where it was near enough to be looked at; else 0."""
    row: Positions
    """Position of the row that gives it away most, -1 where there is none."""
    rows: Positions
    """How many rows give it away."""
    learned: Places
    """Of all rows."""
    learned_from: Positions
    """Positions of the rows that give an item away."""
    learned_item: Positions
    """The item that each of these gives away most."""
    learned_reason: Reasons
    learned_score: Shares
    looked_at: int
    """Rows to learn from."""
    short: int
    """Items of fewer than `FEWEST_WORDS` words."""
    template_only: int
    """Longer items with no run that is not shared by many items."""

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Which items are clean: the subset to score beside the whole."""
        clean: NDArray[np.bool_] = self.reason == 0
        return clean


def find_contamination(
    rows: Rows, settings: ContaminationSettings | None = None, *, evaluation: Rows | None = None
) -> Contamination:
    """Compare every row to learn from with every evaluation item.

    The items are held as hashes (about 4 kB for 100 words); the rows are read once and nothing but their places is
    kept of them, so their number does not matter.

    Args:
        rows: All rows.
        settings: Default: `ContaminationSettings()`.
        evaluation: Items of another file. None: the rows of test and validation.
    """
    settings = settings or ContaminationSettings()
    items = _Items.read(rows if evaluation is None else evaluation, settings, own=evaluation is None)
    learned = Places.empty(len(rows))
    frame = shared_frame(row.text for row in rows if _learned(row))
    looked = start = 0
    for batch in batches(rows):
        learned.put(start, batch)
        inside = np.array([place for place, row in enumerate(batch) if _learned(row)], np.int64)
        if len(inside) and len(items.plain):
            items.meet([batch[place] for place in inside], start + inside, frame)
        looked += len(inside)
        start += len(batch)
    return items.result(learned, looked)


def _learned(row: Row) -> bool:
    return SPLITS.index(row.split) in (TRAIN, UNSPLIT)


@dataclass(kw_only=True)
class _Items:
    """The distinct evaluation items as hashes, and what has been found about them so far."""

    settings: ContaminationSettings
    places: Places
    """Of all items."""
    number: Positions
    """Of all items: which distinct one it is."""
    plain: Hashes
    """Of the distinct items, sorted, from here on."""
    words: Positions
    short_grams: GramIndex
    long_grams: GramIndex
    shingles: Shingles
    wide: Shingles
    """Wider ones, to see whether words stand in the same order."""
    template: Values
    """Shingles of more than a tenth of the items."""
    index: BandIndex
    found: Best
    pairs: list[Evidence] = field(default_factory=list)
    """For each batch: the rows that give an item away, each with the item that it gives away most."""

    @classmethod
    def read(cls, rows: Rows, settings: ContaminationSettings, *, own: bool) -> _Items:
        def wanted(row: Row) -> bool:
            return not own or SPLITS.index(row.split) in (TEST, VALIDATION)

        frame = shared_frame(row.text for row in rows if wanted(row))
        places = Places.empty(sum(map(wanted, rows)))
        plain: list[int] = []
        parts = []
        for batch in batches(row for row in rows if wanted(row)):
            places.put(len(plain), batch)
            texts = [plain_words(row.text) for row in batch]
            parts.append(hash_words([frame.inside(words) for words in texts]))
            plain += [plain_hash(words) for words in texts]
        distinct, firsts, number = np.unique(np.array(plain, np.uint64), return_index=True, return_inverse=True)
        words = WordHashes.join(parts).take(firsts)
        bands = bands_for(settings.likeness)
        shingles = shingles_of(words, WIDTH)
        return cls(
            settings=settings,
            places=places,
            number=number,
            plain=distinct,
            words=words.counts,
            short_grams=GramIndex.build(words, SHORT, most_items=settings.most_items),
            long_grams=GramIndex.build(words, LONG, most_items=settings.most_items),
            shingles=shingles,
            wide=shingles_of(words, WIDTH + WIDER),
            template=_of_many(shingles, settings.most_items),
            index=BandIndex.of(sketch(shingles, bands), bands),
            found=Best.empty(len(distinct)),
        )

    def meet(self, batch: Sequence[Row], positions: Positions, frame: Frame) -> None:
        """Compare rows to learn from with the items.

        Args:
            batch: The rows.
            positions: Where they stand among all rows.
            frame: What all of them begin and end with.
        """
        texts = [plain_words(row.text) for row in batch]
        words = hash_words([frame.inside(each) for each in texts])
        self._runs_of_13(words)
        found = [
            self._equal(np.array([plain_hash(each) for each in texts], np.uint64)),
            self._shared_runs(words),
            self._alike(words),
        ]
        self._note(Evidence.join(found), positions)

    def _equal(self, hashes: Hashes) -> Evidence:
        """Rows and items with one plain form."""
        at = np.minimum(np.searchsorted(self.plain, hashes), len(self.plain) - 1)
        rows = np.flatnonzero(self.plain[at] == hashes)
        return Evidence.of(rows, at[rows], SAME, np.ones(len(rows), np.float32))

    def _runs_of_13(self, words: WordHashes) -> None:
        overlap = self.long_grams.overlap(words)
        shares = (overlap.words / self.long_grams.own[overlap.item]).astype(np.float32)
        np.maximum.at(self.found.long_share, overlap.item, shares)

    def _shared_runs(self, words: WordHashes) -> Evidence:
        """Rows and items of which enough words lie in shared runs."""
        overlap = self.short_grams.overlap(words)
        shares = (overlap.words / self.short_grams.own[overlap.item]).astype(np.float32)
        np.maximum.at(self.found.share, overlap.item, shares)
        fewest = np.minimum(FEWEST_SHARED, self.short_grams.own[overlap.item])
        enough = (shares > self.settings.matched_share) & (overlap.words >= fewest)
        return Evidence.of(overlap.asked[enough], overlap.item[enough], RUNS, shares[enough])

    def _alike(self, words: WordHashes) -> Evidence:
        """Rows and items that the sketches bring together and that are truly alike."""
        shingles = shingles_of(words, WIDTH)
        both = self.index.candidates(sketch(shingles, self.index.bands))
        likeness = jaccard(shingles, self.shingles, both)
        np.maximum.at(self.found.likeness, both[:, 1], likeness)
        near = np.flatnonzero((likeness >= self.settings.likeness) & (self.words[both[:, 1]] >= FEWEST_WORDS))
        if len(near):
            near = near[self._alike_in_order(words, shingles, both[near])]
        return Evidence.of(both[near, 0], both[near, 1], NEAR, likeness[near])

    def _alike_in_order(self, words: WordHashes, shingles: Shingles, pairs: Positions) -> NDArray[np.bool_]:
        """Which of these pairs are also alike without what makes a template, and have their words in one order."""
        rows, place = np.unique(pairs[:, 0], return_inverse=True)
        within = np.stack([place, pairs[:, 1]], axis=1)
        wide = shingles_of(words.take(rows), WIDTH + WIDER)
        alike = jaccard(wide, self.wide, within) >= least_in_order(self.settings.likeness, WIDTH)
        if len(self.template):
            own = jaccard(shingles.take(rows).without(self.template), self.shingles.without(self.template), within)
            alike &= own >= LEAST_OWN
        return alike

    def _note(self, evidence: Evidence, positions: Positions) -> None:
        if not len(evidence.rows):
            return
        strongest = evidence.first_of(evidence.rows * len(self.plain) + evidence.items)
        self.found.note(strongest, positions)
        best = strongest.first_of(strongest.rows)
        self.pairs.append(replace(best, rows=positions[best.rows]))

    def result(self, learned: Places, looked: int) -> Contamination:
        """All that was found, for each item and not only for the distinct ones."""
        pairs = Evidence.join(self.pairs)
        first = np.zeros(len(self.plain), np.int64)
        first[self.number[::-1]] = np.arange(len(self.number) - 1, -1, -1)
        words = self.words[self.number]
        own = self.short_grams.own[self.number]
        return Contamination(
            places=self.places,
            reason=self.found.reason[self.number],
            score=self.found.score[self.number],
            share=self.found.share[self.number],
            long_share=self.found.long_share[self.number],
            likeness=self.found.likeness[self.number],
            row=self.found.row[self.number],
            rows=self.found.rows[self.number],
            learned=learned,
            learned_from=pairs.rows,
            learned_item=first[pairs.items],
            learned_reason=pairs.reasons.astype(np.int8),
            learned_score=pairs.scores,
            looked_at=looked,
            short=int((words < FEWEST_WORDS).sum()),
            template_only=int(((words >= SHORT) & (own == 0)).sum()),
        )


def _of_many(shingles: Shingles, most_items: int) -> Values:
    """Shingles of more than a tenth of the items, and of more than `most_items`."""
    values, counts = np.unique(shingles.values, return_counts=True)
    return values[counts > max(most_items, COMMON * len(shingles))]
