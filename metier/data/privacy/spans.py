"""Where personal data stands in a text: frozen spans, the names of their kinds, and how overlaps are settled."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

KINDS: Mapping[str, str] = {
    "EMAIL_ADDRESS": "an email address",
    "PHONE_NUMBER": "a telephone or fax number",
    "CREDIT_CARD": "a payment card number whose check digit is right",
    "IBAN_CODE": "an international bank account number whose check digits are right",
    "IP_ADDRESS": "an IPv4 or IPv6 address",
    "US_SSN": "a social security number of the United States",
    "PERSON": "a name of a person",
    "LOCATION": "a place or a street address",
    "URL": "a web address",
    "DATE_TIME": "a date or a time",
}
"""Kinds under Presidio's names, with what each means; Presidio knows more of them, one country each."""

DEFAULT_KINDS = (
    "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "PERSON", "LOCATION",
)  # fmt: skip
"""What is looked for unless the recipe says otherwise. Not dates and web addresses: most of them are nobody's."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """One finding in one text. It holds no text, so it may be logged."""

    start: int
    """Characters from the start of the text."""
    end: int
    """First character after it."""
    kind: str
    """A name in `KINDS`, one of Presidio's others, or that of a recogniser of the recipe."""
    score: float
    """How sure, from 0 to 1: 1 where a check digit is right."""


def settle(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans that do not overlap and cover every character that any of `spans` covers, in the order of the text.

    Overlapping spans of one kind become one. Of two kinds the surer stays whole and the other keeps what is left of
    it, without white space and punctuation at its ends; a rest without two letters or digits is given up. Equally
    sure: the longer one, then the one that begins first, then the kind's name, stays whole.

    Args:
        text: What the spans stand in.
        spans: In any order, from any detectors.
    """
    settled: list[Span] = []  # in the order of the text
    for span in sorted(_joined(spans), key=lambda span: (-span.score, span.start - span.end, span.start, span.kind)):
        for rest in _rests(span, settled):
            if (kept := span if rest == span else _bare(text, rest)) is not None:
                insort(settled, kept)
    return tuple(settled)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans of one kind as one, with the larger score."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.kind, span.start, span.end)):
        last = joined[-1] if joined else None
        if last is not None and last.kind == span.kind and span.start < last.end:
            joined[-1] = replace(last, end=max(last.end, span.end), score=max(last.score, span.score))
        elif span.end > span.start:
            joined.append(span)
    return joined


def _rests(span: Span, settled: Sequence[Span]) -> list[Span]:
    """What is left of `span` between those that are settled."""
    place = bisect_right(settled, span.start, key=lambda taken: taken.end)
    start, rests = span.start, []
    while place < len(settled) and settled[place].start < span.end:
        if start < settled[place].start:
            rests.append(replace(span, start=start, end=settled[place].start))
        start = max(start, settled[place].end)
        place += 1
    if start < span.end:
        rests.append(replace(span, start=start))
    return rests


def _bare(text: str, span: Span) -> Span | None:
    """`span` without what is neither letter nor digit at its ends; None if too little is left."""
    start, end = span.start, span.end
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    if sum(character.isalnum() for character in text[start:end]) < 2:
        return None
    return replace(span, start=start, end=end)
