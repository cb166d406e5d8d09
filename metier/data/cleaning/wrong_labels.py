"""Wrong labels: rows whose text reads like another label to models that have not seen them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metier.data.cleaning.confident import Doubted, doubt_labels
from metier.data.cleaning.ngrams import Ints
from metier.data.cleaning.out_of_fold import Chances
from metier.data.cleaning.rows import Doubt, Finding
from metier.data.table import counted

STEP = "wrong_labels"
VERSION = 1
REASON = "wrong label"
LARGEST_TABLE = 30
"""Pairs of labels that the table shows."""


@dataclass(frozen=True, kw_only=True)
class WrongLabelSettings:
    """What counts as doubtful."""

    surest: float = 0.0
    """Smallest score of a doubt, 0 to 1; at 0 all that confident learning doubts."""
    fewest: int = 1
    """Rows of each label that are never doubted together."""
    most_doubts: int = 20_000
    """Doubts given at most, the surest; the rest is only counted."""


def screen_wrong_labels(chances: Chances, settings: WrongLabelSettings | None = None) -> Finding:
    """Doubt the labels that out-of-fold probabilities speak against (confident learning).

    Args:
        chances: From `out_of_fold_chances`; rare labels and outliers can use the same.
        settings: What counts.
    """
    settings = settings or WrongLabelSettings()
    started = time.perf_counter()
    if not len(chances.key):
        return Finding(step=STEP, version=VERSION, looked_at=0, notes=chances.notes)
    doubted = doubt_labels(chances, fewest=settings.fewest)
    found = np.flatnonzero(doubted.wrong & (doubted.score >= settings.surest))
    found = found[np.lexsort((chances.key[found], -doubted.score[found]))]
    shown = np.sort(found[: settings.most_doubts])
    notes = [*chances.notes, "a doubt is a model's opinion: of the surest most are right, of the last many are not"]
    if len(shown) < len(found):
        notes.append(f"{counted(len(found) - len(shown), 'doubt')} beyond the surest {len(shown):,} only counted")
    agree = int(np.count_nonzero((chances.likely[:, 0] == chances.given) & (chances.given >= 0)))
    judged = int(np.count_nonzero(chances.given >= 0))
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=judged,
        doubts=tuple(_doubt(chances, doubted, place) for place in shown),
        counts={REASON: len(found), "own label most probable": agree, "labels learned": len(chances.names)},
        tables={
            "labels that are taken for each other": _pairs(chances, doubted, found),
            "labels by share of doubts": _labels(chances, found),
        },
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


def _doubt(chances: Chances, doubted: Doubted, place: np.intp) -> Doubt:
    given, better = chances.names[chances.given[place]], chances.names[doubted.better[place]]
    return Doubt(
        key=int(chances.key[place]),
        step=STEP,
        reason=REASON,
        detail=(
            f"reads like `{better}` (probability {doubted.chance[place]:.2f}), not like `{given}` "
            f"({chances.own[place]:.2f}), to a model that learned from other rows"
        ),
        score=round(float(doubted.score[place]), 4),
        suggestion=better,
    )


def _pairs(chances: Chances, doubted: Doubted, found: Ints) -> Sequence[Mapping[str, object]]:
    """Which label is taken for which, most rows first."""
    pairs = chances.given[found].astype(np.int64) * len(chances.names) + doubted.better[found]
    each, rows = np.unique(pairs, return_counts=True)
    order = np.lexsort((each, -rows))[:LARGEST_TABLE]
    return [
        {
            "label": chances.names[each[at] // len(chances.names)],
            "reads like": chances.names[each[at] % len(chances.names)],
            "rows": int(rows[at]),
        }
        for at in order
    ]


def _labels(chances: Chances, found: Ints) -> Sequence[Mapping[str, object]]:
    """Each label's rows and how many of them are doubted, the largest share first."""
    rows = np.bincount(chances.given[chances.given >= 0], minlength=len(chances.names))
    doubts = np.bincount(chances.given[found], minlength=len(chances.names))
    share = doubts / np.maximum(rows, 1)
    order = np.lexsort((np.arange(len(rows)), -share))[:LARGEST_TABLE]
    return [
        {
            "label": chances.names[at],
            "rows": int(rows[at]),
            "doubted": int(doubts[at]),
            "share": round(float(share[at]), 4),
        }
        for at in order
        if doubts[at]
    ]
