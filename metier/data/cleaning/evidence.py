"""Pairs of a row and an evaluation item, why the one gives the other away, and the strongest of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.shingles import Shares
from metier.data.cleaning.words import Positions

Reasons = NDArray[np.int8]

NEAR, RUNS, SAME = 1, 2, 3
REASONS = ("", "nearly the same", "shared runs", "same text")
"""By how strong the evidence is; 0: clean."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Pairs of a row of the batch and a distinct item: why, and how sure."""

    rows: Positions
    items: Positions
    reasons: Positions
    scores: Shares

    @classmethod
    def of(cls, rows: Positions, items: Positions, reason: int, scores: Shares) -> Evidence:
        """Pairs with one reason."""
        return cls(rows=rows, items=items, reasons=np.full(len(rows), reason, np.int64), scores=scores)

    @classmethod
    def join(cls, parts: Sequence[Evidence]) -> Evidence:
        """The pairs of all parts."""
        parts = [cls.of(np.zeros(0, np.int64), np.zeros(0, np.int64), NEAR, np.zeros(0, np.float32)), *parts]
        return cls(
            rows=np.concatenate([part.rows for part in parts]),
            items=np.concatenate([part.items for part in parts]),
            reasons=np.concatenate([part.reasons for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )

    def first_of(self, group: Positions) -> Evidence:
        """The strongest of each group; of equally strong ones that of the earlier row and item."""
        order = np.lexsort((self.items, self.rows, -self.scores, -self.reasons, group))
        keep = order[np.unique(group[order], return_index=True)[1]]
        return Evidence(
            rows=self.rows[keep], items=self.items[keep], reasons=self.reasons[keep], scores=self.scores[keep]
        )


@dataclass(kw_only=True)
class Best:
    """The strongest evidence about each distinct item so far."""

    reason: Reasons
    score: Shares
    share: Shares
    long_share: Shares
    likeness: Shares
    row: Positions
    rows: Positions

    @classmethod
    def empty(cls, items: int) -> Best:
        """Nothing known of so many."""
        return cls(
            reason=np.zeros(items, np.int8),
            score=np.zeros(items, np.float32),
            share=np.zeros(items, np.float32),
            long_share=np.zeros(items, np.float32),
            likeness=np.zeros(items, np.float32),
            row=np.full(items, -1, np.int64),
            rows=np.zeros(items, np.int64),
        )

    def note(self, evidence: Evidence, positions: Positions) -> None:
        """Take in the evidence of a batch, one entry for each pair; what came earlier wins a tie."""
        np.add.at(self.rows, evidence.items, 1)
        first = evidence.first_of(evidence.items)
        now = self.reason[first.items]
        better = (first.reasons > now) | ((first.reasons == now) & (first.scores > self.score[first.items]))
        items = first.items[better]
        self.reason[items] = first.reasons[better]
        self.score[items] = first.scores[better]
        self.row[items] = positions[first.rows[better]]
