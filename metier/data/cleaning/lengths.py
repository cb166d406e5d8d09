"""How long texts are: the screen that doubts those too short or too long, and their percentiles.

What to do with a text that is too long (drop, cut, split, refuse) is in `too_long.py`.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import Doubt, Finding, Row, Rows
from metier.data.table import counted

STEP = "lengths"
VERSION = 1
AT_ONCE = 512
"""Rows whose tokens are counted in one call."""

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of each text, special tokens left out."""
Counts = NDArray[np.int64]

# A letter or digit, or anything beyond ASCII: a heart alone may be an answer, `???` is not one.
_SAYS_SOMETHING = re.compile(r"[^\W_]|[^\x00-\x7f]")


@dataclass(frozen=True, kw_only=True)
class LengthSettings:
    """Which lengths are doubted; None: no limit. What is learned counts: the text and, where written, the answer."""

    shortest_characters: int = 2
    """Of the text alone."""
    shortest_words: int = 1
    """Of the text alone; words are what white space parts."""
    longest_characters: int | None = None
    longest_words: int | None = None
    longest_tokens: int | None = None
    """Looked at only where tokens can be counted."""

    def longest(self) -> Mapping[str, int | None]:
        """The upper limits by unit."""
        return {"characters": self.longest_characters, "words": self.longest_words, "tokens": self.longest_tokens}


def screen_lengths(
    rows: Rows, settings: LengthSettings | None = None, *, count_tokens: CountTokens | None = None
) -> Finding:
    """Doubt rows without text (`empty text`, `no words`), with too little (`too short`) and too much (`too long`).

    Args:
        rows: All rows.
        settings: Default: `LengthSettings()`.
        count_tokens: Counts tokens, many texts at a time. None: tokens are not looked at, and a note says so.
    """
    start = time.perf_counter()
    settings = settings or LengthSettings()
    sizes = {unit: np.zeros(len(rows), np.int64) for unit in ("characters", "words", "tokens")}
    if count_tokens is None:
        del sizes["tokens"]
    doubts: list[Doubt] = []
    position = 0
    for batch in _batches(rows):
        counts = _sizes(batch, count_tokens)
        for unit, some in sizes.items():
            some[position : position + len(batch)] = counts[unit]
        for at, row in enumerate(batch):
            doubt = _doubt(row, {unit: int(some[at]) for unit, some in counts.items()}, settings)
            if doubt is not None:
                doubts.append(doubt)
        position += len(batch)
    notes = []
    if count_tokens is None and settings.longest_tokens is not None:
        notes.append("tokens were not counted, because no tokenizer was given: nothing is too long in tokens")
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=position,
        doubts=tuple(doubts),
        counts=Counter(doubt.reason for doubt in doubts),
        tables={"lengths": [_spread(unit, some[:position]) for unit, some in sizes.items() if position]},
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _batches(rows: Rows) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _sizes(batch: Sequence[Row], count_tokens: CountTokens | None) -> dict[str, Counts]:
    answers = ["" if row.labelled else row.answer for row in batch]
    pairs = [(row.text, answer) for row, answer in zip(batch, answers, strict=True)]
    sizes = {
        "characters": np.array([len(text) + len(answer) for text, answer in pairs], np.int64),
        "words": np.array([len(text.split()) + len(answer.split()) for text, answer in pairs], np.int64),
    }
    if count_tokens is not None:
        asked = np.array(count_tokens([row.text for row in batch]), np.int64)
        sizes["tokens"] = asked + np.array(count_tokens(answers), np.int64) if any(answers) else asked
    return sizes


def _doubt(row: Row, sizes: Mapping[str, int], settings: LengthSettings) -> Doubt | None:
    reason, detail = _too_little(row, settings)
    if not reason:
        for unit, most in settings.longest().items():
            if most is not None and sizes.get(unit, 0) > most:
                reason, detail = "too long", f"it has {counted(sizes[unit], unit[:-1])}, more than {most:,}"
                break
    if not reason:
        return None
    return Doubt(key=row.key, step=STEP, reason=reason, detail=detail)


def _too_little(row: Row, settings: LengthSettings) -> tuple[str, str]:
    text = row.text.strip()
    if not text:
        return "empty text", "its text is empty"
    if not _SAYS_SOMETHING.search(text):
        return "no words", "its text has no letter and no digit"
    for unit, size, least in (
        ("characters", len(text), settings.shortest_characters),
        ("words", len(text.split()), settings.shortest_words),
    ):
        if size < least:
            return "too short", f"its text has {counted(size, unit[:-1])}, fewer than {least:,}"
    return "", ""


def _spread(unit: str, sizes: Counts) -> dict[str, object]:
    low, middle, high, very_high = np.percentile(sizes, [5, 50, 95, 99]).tolist()
    return {
        "unit": unit,
        "shortest": int(sizes.min()),
        "5 %": low,
        "median": middle,
        "mean": float(sizes.mean()),
        "95 %": high,
        "99 %": very_high,
        "longest": int(sizes.max()),
        "all": int(sizes.sum()),
    }
