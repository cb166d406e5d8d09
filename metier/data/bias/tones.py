"""The tone of a written answer: how long it is, whether it declines, whether its words are kind or harsh.

A screen on words, no measure of what was meant: irony, quotation and other languages pass by it.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache

from metier.data.bias.matching import any_of, plain, small
from metier.data.bias.word_lists import word_list

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_OPENING = 200
"""Characters of an answer in which it declines; later, a phrase is rather told than meant."""
NEGATED_WITHIN = 2
"""How many words a negation reaches: `not good`, `not very good`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """How one answer sounds."""

    words: int
    refusal: bool
    score: int
    """Kind words less harsh ones; a word after a negation counts for the other side."""


def tone_of(answer: str) -> Tone:
    """The tone of a text.

    Args:
        answer: A written answer; English.
    """
    lowered = small(answer)
    positive, negative, negations = _sentiment()
    score, reach = 0, 0
    count = 0
    for match in _WORD.finditer(lowered):
        word = match.group()
        count += 1
        if word in negations:
            reach = NEGATED_WITHIN
            continue
        sign = (word in positive) - (word in negative)
        score += -sign if reach else sign
        reach = max(0, reach - 1)
    return Tone(words=count, refusal=_refusals().search(lowered[:_OPENING]) is not None, score=score)


@lru_cache(maxsize=1)
def _sentiment() -> tuple[Set[str], Set[str], Set[str]]:
    lists = word_list("tones")
    sentiment = lists["sentiment"]
    return frozenset(sentiment["positive"]), frozenset(sentiment["negative"]), frozenset(lists["negations"])


@lru_cache(maxsize=1)
def _refusals() -> re.Pattern[str]:
    phrases = [plain(phrase) for phrase in word_list("tones")["refusal"]["phrases"]]
    return re.compile(rf"(?<!\w){any_of(phrases)}(?!\w)")
