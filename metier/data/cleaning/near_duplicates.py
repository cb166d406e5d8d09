"""Rows of one split that say what an earlier row of it says: exactly, in plain form, or nearly.

What is the same across splits is the leakage gate's (`leakage.py`); other answers to the same are a contradiction
(`conflicts.py`). All three read one `SameTexts`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.places import TRAIN, UNSPLIT
from metier.data.cleaning.rows import SPLITS, Doubt, Finding, Rows
from metier.data.cleaning.same_texts import SameSettings, SameTexts, find_same_texts
from metier.data.cleaning.words import Hashes, Positions

STEP = "duplicates"
VERSION = 1
LARGEST = 10
"""Clusters in the table."""


def screen_duplicates(rows: Rows, settings: SameSettings | None = None, *, same: SameTexts | None = None) -> Finding:
    """Doubt every row whose split has an earlier row that says the same.

    Equal texts name their first row in the split. A near duplicate names a row that stays: one without doubt, or one
    that is only `linked`, which means that it is nearly the same only as rows that go or come later. A linked row has
    no score and no suggestion. Only rows to learn from are suggested to be dropped: where something is measured,
    repetition is counted, not repaired.

    Args:
        rows: All rows.
        settings: Default: `SameSettings()`.
        same: What `find_same_texts` gave for these rows, where that is known already.
    """
    start = time.perf_counter()
    same = same or find_same_texts(rows, settings)
    first_exact = _first_alike(same.exact, same)
    own = same.places.splits
    first_plain = same.first[same.text, own]
    first_near = same.first_in_cluster[same.row_cluster, own]
    stays = np.ones(len(same), bool)
    doubts = []
    for row in np.flatnonzero(first_near < np.arange(len(same))).tolist():
        if first_exact[row] < row:
            doubts.append(_doubt(same, row, "exact duplicate", "same text as", int(first_exact[row]), 1.0))
        elif first_plain[row] < row:
            says = "same text, case and punctuation aside, as"
            doubts.append(_doubt(same, row, "normalised duplicate", says, int(first_plain[row]), 1.0))
        else:
            doubts.append(_near_doubt(same, row, int(first_near[row]), stays))
        stays[row] = doubts[-1].score is None
    counts = Counter(doubt.reason for doubt in doubts)
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(same),
        doubts=tuple(doubts),
        counts={**counts, **_cluster_counts(same)},
        tables={"duplicates by split": _by_split(same, doubts), "largest clusters": _largest(same)},
        notes=tuple(what_was_compared(same)),
        seconds=time.perf_counter() - start,
    )


def what_was_compared(same: SameTexts) -> list[str]:
    """Sentences on what near means, and on what it cannot say."""
    settings = same.settings
    if not settings.near:
        return ["near duplicates were not looked for: only equal texts, and texts equal but for case and punctuation"]
    words = "single words" if settings.width == 1 else f"runs of {settings.width} words"
    notes = [
        f"near: {words} shared by two texts are at least {settings.threshold:.0%} of those in either; short texts, in "
        "which one other word is more than that, count only when equal but for case and punctuation; paraphrases and "
        "translations are not found"
    ]
    if same.frame.before or same.frame.after:
        notes.append(
            f"all texts begin with the same {same.frame.before} words and end with the same {same.frame.after}: "
            "these were left out of the comparison"
        )
    return notes


def best_near(
    same: SameTexts, row: int, splits: Sequence[int], stays: NDArray[np.bool_] | None = None
) -> tuple[int, float] | None:
    """The row of these splits whose text is nearest to a row's own, not equal to it, and how near it is.

    Args:
        same: What is the same.
        row: Position of the row.
        splits: Numbers of splits, the preferred one first.
        stays: Only rows before this one that stay, by position. None: all rows.
    """
    others, likeness = same.near(int(same.text[row]))
    for split in splits:
        firsts = same.first[others, split]
        fits = firsts >= 0 if stays is None else (firsts >= 0) & (firsts < row) & stays[firsts]
        if fits.any():
            at = int(np.argmax(fits))
            return int(firsts[at]), float(likeness[at])
    return None


def _near_doubt(same: SameTexts, row: int, first: int, stays: NDArray[np.bool_]) -> Doubt:
    found = best_near(same, row, [int(same.places.splits[row])], stays)
    if found is None:
        says = "linked through nearly the same texts with"
        return _doubt(same, row, "near duplicate, linked", says, first, None)
    other, likeness = found
    return _doubt(same, row, "near duplicate", f"shares {likeness:.0%} of its runs of words with", other, likeness)


def _doubt(same: SameTexts, row: int, reason: str, says: str, other: int, score: float | None) -> Doubt:
    answer = "" if same.answers[row] == same.answers[other] else ", with another answer"
    learned = same.places.splits[row] in (TRAIN, UNSPLIT)
    return Doubt(
        key=same.places.key(row),
        step=STEP,
        reason=reason,
        detail=f"{says} {same.places.name(other)}{answer}",
        score=score,
        suggestion="drop" if learned and not answer and score is not None else None,
        others=same.places.keys_of([other]),
    )


def _first_alike(values: Hashes, same: SameTexts) -> Positions:
    """Of each row: the first row of its split with the same value."""
    order = np.lexsort((np.arange(len(values)), values, same.places.splits))
    splits, sorted_values = same.places.splits[order], values[order]
    new = np.ones(len(order), bool)
    new[1:] = (splits[1:] != splits[:-1]) | (sorted_values[1:] != sorted_values[:-1])
    group = np.cumsum(new) - 1
    first = np.empty(len(values), np.int64)
    first[order] = order[np.flatnonzero(new)[group]] if len(order) else order
    return first


def _cluster_counts(same: SameTexts) -> dict[str, int]:
    sizes = np.bincount(same.row_cluster) if len(same) else np.zeros(0, np.int64)
    return {"clusters": int((sizes > 1).sum()), "rows in clusters": int(sizes[sizes > 1].sum())}


def _by_split(same: SameTexts, doubts: Sequence[Doubt]) -> list[dict[str, object]]:
    split_of = dict(zip(same.places.keys.tolist(), same.places.splits.tolist(), strict=True))
    counts = Counter((split_of[doubt.key], doubt.reason) for doubt in doubts)
    rows = np.bincount(same.places.splits, minlength=len(SPLITS))
    reasons = ("exact duplicate", "normalised duplicate", "near duplicate", "near duplicate, linked")
    return [
        {"split": name, "rows": int(rows[split]), **{reason: counts[split, reason] for reason in reasons}}
        for split, name in enumerate(SPLITS)
        if rows[split]
    ]


def _largest(same: SameTexts) -> list[dict[str, object]]:
    """The clusters with most rows: how many, of how many texts and answers, and the row that stands for them."""
    clusters = same.row_cluster
    sizes = np.bincount(clusters) if len(same) else np.zeros(0, np.int64)
    table: list[dict[str, object]] = []
    for cluster in np.argsort(-sizes, kind="stable")[:LARGEST]:
        if sizes[cluster] < 2:
            break
        members = np.flatnonzero(clusters == cluster)
        table.append(
            {
                "rows": len(members),
                "texts": len(np.unique(same.text[members])),
                "answers": len(np.unique(same.answers[members])),
                "for example": same.places.name(int(same.representative[cluster])),
            }
        )
    return table
