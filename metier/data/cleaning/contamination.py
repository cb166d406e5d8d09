"""Evaluation items that the rows to learn from give away: word for word, lightly edited, or inside a longer text.

An item counts as contaminated when one single row to learn from

    equals it in plain form (`same text`),
    has more than half of its words, and 16 of them, in shared runs of 8 (`shared runs`: the rule of Tülu 3, Lambert
    and others, 2024, who have no least number), or all of its words,
    or is nearly the same (`nearly the same`): two texts in which one word of ten is another one share two thirds of
    their runs of two words, so a Jaccard index of 0.66 finds every such pair that the sketches bring together. Runs
    that a tenth of the items share must not be all that makes them alike.

Runs of 13 words (GPT-3) are counted beside it. Items of fewer than 10 words count only when all of their words are
there. What all texts of one side begin or end with is left out, and so are runs of 8 that many of the items share.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from metier.data.cleaning.evidence import NEAR, REASONS, RUNS
from metier.data.cleaning.given_away import (
    FEWEST_SHARED,
    FEWEST_WORDS,
    LONG,
    SHORT,
    Contamination,
    ContaminationSettings,
    find_contamination,
)
from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.data.table import counted

STEP = "contamination"
VERSION = 1


def screen_contamination(
    rows: Rows,
    settings: ContaminationSettings | None = None,
    *,
    evaluation: Rows | None = None,
    name: str = "evaluation file",
) -> Finding:
    """Doubt the rows to learn from that give evaluation items away, and, where these are rows too, the items.

    Args:
        rows: All rows; those of train, and those of no split, are what is learned from.
        settings: Default: `ContaminationSettings()`.
        evaluation: Items of a file that the user supplies; their keys mean nothing here. None: the rows of test
            and validation.
        name: What notes call the supplied items; those of test and validation are called so.

    Returns:
        Reasons `gives away WHAT: WHY` for rows to learn from, WHAT being a split or `evaluation`, WHY a name in
        `REASONS`, and `given away: WHY` for items. The table `items given away` has a line for each item, by file and
        number, with the shares.
    """
    start = time.perf_counter()
    settings = settings or ContaminationSettings()
    found = find_contamination(rows, settings, evaluation=evaluation)
    doubts = list(_row_doubts(found, own=evaluation is None))
    if evaluation is None:
        doubts += _item_doubts(found)
    doubts.sort(key=lambda doubt: doubt.key)
    counts = Counter(f"items: {REASONS[reason]}" for reason in found.reason[found.reason > 0].tolist())
    clean = int(found.clean.sum())
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=found.looked_at,
        doubts=tuple(doubts),
        counts={
            "items": len(found.reason),
            "items clean": clean,
            "items with a shared run of 13": int((found.long_share > 0).sum()),
            **counts,
            **Counter(f"rows: {REASONS[reason]}" for reason in found.learned_reason.tolist()),
        },
        tables={"items given away": list(_table(found))},
        notes=tuple(_notes(found, name if evaluation is not None else "test and validation", settings)),
        seconds=time.perf_counter() - start,
    )


def _row_doubts(found: Contamination, *, own: bool) -> Iterator[Doubt]:
    """Doubts about the rows that give items away; `own`: the items are rows too."""
    columns = (found.learned_from, found.learned_item, found.learned_reason, found.learned_score)
    for row, item, reason, score in zip(*(column.tolist() for column in columns), strict=True):
        what = found.places.split(item) if own else "evaluation"
        yield Doubt(
            key=found.learned.key(row),
            step=STEP,
            reason=f"gives away {what}: {REASONS[reason]}",
            detail=f"{_says(reason, score, of_item=True)} {found.places.name(item)}",
            score=score,
            suggestion="drop",
            others=found.places.keys_of([item]) if own else (),
        )


def _item_doubts(found: Contamination) -> Iterator[Doubt]:
    """Doubts about the items that are given away, where they are rows too."""
    for item in np.flatnonzero(found.reason).tolist():
        reason, row, more = int(found.reason[item]), int(found.row[item]), int(found.rows[item]) - 1
        score = float(found.score[item])
        also = f", and {counted(more, 'more row')}" if more else ""
        yield Doubt(
            key=found.places.key(item),
            step=STEP,
            reason=f"given away: {REASONS[reason]}",
            detail=f"{_says(reason, score, of_item=False)} {found.learned.name(row)}{also}",
            score=score,
            others=found.learned.keys_of([row]),
        )


def _says(reason: int, score: float, *, of_item: bool) -> str:
    """What a row (and, where `of_item`, another row's words) shares with the row named next."""
    if reason == NEAR:
        return f"shares {score:.0%} of its runs of two words with"
    if reason == RUNS:
        whose = "the item's" if of_item else "its"
        return f"{score:.0%} of {whose} words lie in runs of {SHORT} shared with"
    return "same text, case and punctuation aside, as"


def _table(found: Contamination) -> Iterator[dict[str, object]]:
    """One line for each item that is given away, and for those that share a long run but are held to be clean."""
    for item in np.flatnonzero((found.reason > 0) | (found.long_share > 0)).tolist():
        row = int(found.row[item])
        yield {
            "item": found.places.name(item),
            "verdict": REASONS[found.reason[item]] or "clean",
            f"words in runs of {SHORT}": round(float(found.share[item]), 3),
            f"words in runs of {LONG}": round(float(found.long_share[item]), 3),
            "jaccard": round(float(found.likeness[item]), 3),
            "rows": int(found.rows[item]),
            "row": found.learned.name(row) if row >= 0 else "",
        }


def _notes(found: Contamination, name: str, settings: ContaminationSettings) -> Iterator[str]:
    items, clean = len(found.reason), int(found.clean.sum())
    if not items:
        yield f"{name} has no items to compare with"
        return
    yield (
        f"{clean:,} of {items:,} items of {name} are clean; a score on them alone says what the rest adds. Given away: "
        f"the same text, more than {settings.matched_share:.0%} of the words, and {FEWEST_SHARED}, in runs of {SHORT} "
        f"shared with one row, or a Jaccard index of runs of two words of {settings.likeness} or more. "
        "Paraphrases, translations and answers without their questions are not found"
    )
    if found.short:
        yield (
            f"{found.short:,} items have fewer than {FEWEST_WORDS} words: they count only where they are repeated as a "
            "whole"
        )
    if found.template_only:
        yield (
            f"{found.template_only:,} items consist of runs that more than {settings.most_items} items share: for them "
            "only equality and the Jaccard index were looked at"
        )
