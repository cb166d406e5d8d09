"""The same question, another answer: rows that contradict each other.

Answers differ when labels do, or when written answers do in their plain form (case and punctuation aside).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from metier.data.cleaning.near_duplicates import what_was_compared
from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.data.cleaning.same_texts import SameSettings, SameTexts, find_same_texts
from metier.data.cleaning.words import Positions

STEP = "contradictions"
VERSION = 1
NAMED = 10
"""Other rows that a doubt names."""


def screen_contradictions(
    rows: Rows, settings: SameSettings | None = None, *, same: SameTexts | None = None
) -> Finding:
    """Doubt every row whose text, or nearly the same text, has another answer elsewhere, in whichever split.

    Every row of a text with several answers is doubted (`contradiction`): which one is right, only a person knows.
    Where nearly the same texts have other answers, the rows of both are (`near contradiction`): with a short text
    the difference may be the point. A label is suggested where it is that of more than half of the rows that say
    (nearly) the same, itself included, and of two at least. Rows without an answer are not looked at.

    Args:
        rows: All rows.
        settings: Default: `SameSettings()`.
        same: What `find_same_texts` gave for these rows, where that is known already.
    """
    start = time.perf_counter()
    same = same or find_same_texts(rows, settings)
    answered = np.flatnonzero(same.answers)
    torn = _torn_texts(same, answered)
    apart = _pairs_apart(same, answered)
    members = _members(same, answered, np.union1d(torn, np.unique(apart)))
    doubts = list(_contradictions(same, torn, members))
    doubts += _near_contradictions(same, apart, set(torn.tolist()), members)
    doubts.sort(key=lambda doubt: doubt.key)
    notes = what_was_compared(same)
    if same.written:
        notes.append("two written answers to the same question may both be right: a contradiction there is a question")
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(answered),
        doubts=tuple(doubts),
        counts={
            **Counter(doubt.reason for doubt in doubts),
            "texts with several answers": len(torn),
            "near pairs with other answers": len(apart),
        },
        tables={"labels that contradict": _label_pairs(same, torn, apart, members)} if same.labels else {},
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _torn_texts(same: SameTexts, answered: Positions) -> Positions:
    """Texts with more than one answer."""
    if not len(answered):
        return np.zeros(0, np.int64)
    text, answer = same.text[answered], same.answers[answered]
    order = np.lexsort((answer, text))
    text, answer = text[order], answer[order]
    other = (text[1:] == text[:-1]) & (answer[1:] != answer[:-1])
    return np.unique(text[1:][other]).astype(np.int64)


def _pairs_apart(same: SameTexts, answered: Positions) -> Positions:
    """Near pairs of texts, both answered, whose rows do not all have one answer: shape (pairs, 2)."""
    low = np.full(len(same.first), np.iinfo(np.uint64).max, np.uint64)
    high = np.zeros(len(same.first), np.uint64)
    np.minimum.at(low, same.text[answered], same.answers[answered])
    np.maximum.at(high, same.text[answered], same.answers[answered])
    one, two = same.pairs[:, 0], same.pairs[:, 1]
    both = (high[one] > 0) & (high[two] > 0)
    differ = (low[one] != low[two]) | (high[one] != high[two]) | (low[one] != high[one])
    apart: Positions = same.pairs[both & differ]
    return apart


def _members(same: SameTexts, answered: Positions, texts: Positions) -> dict[int, list[int]]:
    """Answered rows of these texts."""
    wanted = np.zeros(len(same.first), bool)
    wanted[texts] = True
    found: dict[int, list[int]] = {int(text): [] for text in texts}
    for row in answered[wanted[same.text[answered]]].tolist():
        found[int(same.text[row])].append(row)
    return found


def _contradictions(same: SameTexts, torn: Iterable[int], members: dict[int, list[int]]) -> Iterable[Doubt]:
    for text in torn:
        rows = members[int(text)]
        votes = Counter(int(same.answers[row]) for row in rows)
        by_answer: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            by_answer[int(same.answers[row])].append(row)
        for row in rows:
            own = int(same.answers[row])
            # A few rows of each other answer are enough to name.
            others = sorted(other for answer in votes if answer != own for other in by_answer[answer][:NAMED])
            yield _doubt(same, row, "contradiction", others, votes, None)


def _near_contradictions(
    same: SameTexts, apart: Positions, torn: set[int], members: dict[int, list[int]]
) -> Iterable[Doubt]:
    """Doubts about rows that only nearly the same texts contradict."""
    for text in np.unique(apart).tolist():
        if text in torn:
            continue
        others, likeness = same.near(text)
        voters = [row for other in others.tolist() for row in members.get(other, ())]
        own = int(same.answers[members[text][0]])
        against = [row for row in voters if int(same.answers[row]) != own]
        best = max(
            float(alike)
            for other, alike in zip(others.tolist(), likeness.tolist(), strict=True)
            if any(int(same.answers[row]) != own for row in members.get(other, ()))
        )
        votes = Counter(int(same.answers[row]) for row in (*voters, *members[text]))
        for row in members[text]:
            yield _doubt(same, row, "near contradiction", against, votes, best)


def _doubt(
    same: SameTexts, row: int, reason: str, others: Sequence[int], votes: Counter[int], likeness: float | None
) -> Doubt:
    says = "same text as" if likeness is None else f"shares up to {likeness:.0%} of its runs of words with"
    what = "label" if int(same.answers[row]) in same.labels else "answer"
    return Doubt(
        key=same.places.key(row),
        step=STEP,
        reason=reason,
        detail=f"{says} {same.places.names_of(others[: NAMED * 10])}, with another {what}",
        score=1.0 if likeness is None else likeness,
        suggestion=_majority(same, row, votes),
        others=same.places.keys_of(others[:NAMED]),
    )


def _majority(same: SameTexts, row: int, votes: Counter[int]) -> str | None:
    answer, count = votes.most_common(1)[0]
    if answer == int(same.answers[row]) or count < 2 or 2 * count <= votes.total():
        return None
    return same.labels.get(answer)


def _label_pairs(
    same: SameTexts, torn: Iterable[int], apart: Positions, members: dict[int, list[int]]
) -> list[dict[str, object]]:
    """Which labels the same texts, and nearly the same ones, have: the most frequent pairs."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for text in torn:
        labels = sorted({same.labels.get(int(same.answers[row]), "") for row in members[int(text)]})
        counts.update((one, two, "same") for at, one in enumerate(labels) for two in labels[at + 1 :] if one)
    for one_text, two_text in apart.tolist():
        ones, twos = ({same.labels.get(int(same.answers[r]), "") for r in members[t]} for t in (one_text, two_text))
        met = {(min(one, two), max(one, two)) for one in ones for two in twos if one != two and one and two}
        counts.update((one, two, "near") for one, two in met)
    pairs: Counter[tuple[str, str]] = Counter()
    for (one, two, _), count in counts.items():
        pairs[one, two] += count
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:20]
    return [
        {"label": one, "other": two, "same text": counts[one, two, "same"], "near pairs": counts[one, two, "near"]}
        for (one, two), _ in ranked
    ]
