"""What one split knows of another: the same or nearly the same texts, and groups, on both sides.

A row of train that says what a row of test says makes the test easier than the world; so does a row of the same
patient, author or ticket. What may be done about it is decided elsewhere: test rows stay, train rows may leave.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from metier.data.cleaning.near_duplicates import best_near, what_was_compared
from metier.data.cleaning.places import TEST, TRAIN, VALIDATION, Places
from metier.data.cleaning.rows import SPLITS, Doubt, Finding, Rows
from metier.data.cleaning.same_texts import SameSettings, SameTexts, find_same_texts
from metier.data.cleaning.words import Hashes
from metier.data.table import counted

STEP = "leakage"
VERSION = 1
AGAINST = {TRAIN: (TEST, VALIDATION), VALIDATION: (TEST, TRAIN), TEST: (TRAIN, VALIDATION)}
"""Which splits a row of each is compared with, the weightier one first."""


def screen_leakage(rows: Rows, settings: SameSettings | None = None, *, same: SameTexts | None = None) -> Finding:
    """Doubt every row whose text, nearly the same text, or group is also in another split.

    Rows of both sides are doubted, each naming the other side: those of train can leave it, those of test can be
    scored apart. For each row only the weightiest other split is named: for train test, else validation.

    Args:
        rows: All rows; those of no split are not looked at.
        settings: Default: `SameSettings()`.
        same: What `find_same_texts` gave for these rows, where that is known already.

    Returns:
        Doubts with the reasons `exact duplicate in SPLIT`, `normalised duplicate in SPLIT`, `near duplicate in
        SPLIT`, `near duplicate in SPLIT, linked` and `group also in SPLIT`; a row may have one for its text and one
        for its group.
    """
    start = time.perf_counter()
    same = same or find_same_texts(rows, settings)
    doubts = [*_texts(same), *_groups(same.places)]
    doubts.sort(key=lambda doubt: doubt.key)
    counts = Counter(doubt.reason for doubt in doubts)
    splits = np.bincount(same.places.splits, minlength=len(SPLITS))
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=int(splits[list(AGAINST)].sum()),
        doubts=tuple(doubts),
        counts=counts,
        tables={"between splits": _between(same, doubts)},
        notes=tuple(what_was_compared(same)),
        seconds=time.perf_counter() - start,
    )


def _texts(same: SameTexts) -> Iterator[Doubt]:
    """Doubts about rows whose text is on both sides."""
    exact = _other_sides(same.exact, same.places)
    for split, against in AGAINST.items():
        clusters = same.row_cluster
        shared = (same.first_in_cluster[clusters][:, list(against)] >= 0).any(axis=1)
        for row in np.flatnonzero(shared & (same.places.splits == split)).tolist():
            yield _text_doubt(same, row, against, exact)


def _text_doubt(same: SameTexts, row: int, against: tuple[int, ...], exact: dict[tuple[int, int], int]) -> Doubt:
    for split in against:
        other = exact.get((int(same.exact[row]), split))
        if other is not None:
            return _doubt(same, row, ("exact duplicate in {}", "same text as"), other, 1.0)
        other = int(same.first[same.text[row], split])
        if other >= 0:
            says = "same text, case and punctuation aside, as"
            return _doubt(same, row, ("normalised duplicate in {}", says), other, 1.0)
        found = best_near(same, row, (split,))
        if found is not None:
            other, likeness = found
            says = f"shares {likeness:.0%} of its runs of words with"
            return _doubt(same, row, ("near duplicate in {}", says), other, likeness)
        other = int(same.first_in_cluster[same.row_cluster[row], split])
        if other >= 0:
            says = "linked through nearly the same texts with"
            return _doubt(same, row, ("near duplicate in {}, linked", says), other, None)
    raise AssertionError("a row without another side has no doubt")


def _doubt(same: SameTexts, row: int, words: tuple[str, str], other: int, score: float | None) -> Doubt:
    reason, says = words
    places = same.places
    away = places.split(other)
    answer = "" if same.answers[row] == same.answers[other] else ", with another answer"
    return Doubt(
        key=places.key(row),
        step=STEP,
        reason=reason.format(away),
        detail=f"{says} {places.name(other)} ({away}){answer}",
        score=score,
        suggestion=_suggestion(int(places.splits[row]), int(places.splits[other])),
        others=places.keys_of([other]),
    )


def _suggestion(own: int, away: int) -> str | None:
    """Train leaves for both, validation for test; test stays."""
    return "drop" if own == TRAIN or (own == VALIDATION and away == TEST) else None


def _other_sides(values: Hashes, places: Places) -> dict[tuple[int, int], int]:
    """First row of each value and split, for values that stand in several splits."""
    order = np.lexsort((np.arange(len(values)), places.splits, values))
    sorted_values, splits = values[order], places.splits[order]
    if not len(order):
        return {}
    new = np.ones(len(order), bool)
    new[1:] = sorted_values[1:] != sorted_values[:-1]
    group = np.cumsum(new) - 1
    crossing = np.zeros(int(group[-1]) + 1, bool)
    crossing[group[1:][(splits[1:] != splits[:-1]) & ~new[1:]]] = True
    firsts: dict[tuple[int, int], int] = {}
    for at in np.flatnonzero(crossing[group]).tolist():
        firsts.setdefault((int(sorted_values[at]), int(splits[at])), int(order[at]))
    return firsts


def _groups(places: Places) -> Iterator[Doubt]:
    """Doubts about rows whose group is on both sides."""
    firsts = _other_sides(places.groups, places)
    torn = sorted({group for group, _ in firsts if group})
    rows = np.flatnonzero(np.isin(places.groups, np.array(torn, np.uint64))).tolist()
    counts = Counter((int(places.groups[row]), int(places.splits[row])) for row in rows)
    for row in rows:
        group, own = int(places.groups[row]), int(places.splits[row])
        for split in AGAINST.get(own, ()):
            other = firsts.get((group, split))
            if other is None:
                continue
            size = counted(counts[group, split], "row")
            yield Doubt(
                key=places.key(row),
                step=STEP,
                reason=f"group also in {SPLITS[split]}",
                detail=f"its group has {size} in {SPLITS[split]}, first {places.name(other)}",
                score=1.0,
                suggestion=_suggestion(own, split),
                others=places.keys_of([other]),
            )
            break


def _between(same: SameTexts, doubts: list[Doubt]) -> list[dict[str, object]]:
    """For each split and the one that it shares something with: rows by reason."""
    position = dict(zip(same.places.keys.tolist(), range(len(same)), strict=True))
    counts: Counter[tuple[str, str]] = Counter()
    for doubt in doubts:
        counts[same.places.split(position[doubt.key]), doubt.reason] += 1
    return [
        {"split": split, "reason": reason, "rows": count}
        for (split, reason), count in sorted(counts.items(), key=lambda item: (SPLITS.index(item[0][0]), item[0][1]))
    ]
