"""Personal data that has a form: found by patterns and check digits, in linear time, without any package.

Names and places have no form: `PatternDetector` does not look for them, and says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from metier.data.privacy.checks import IBAN_LENGTHS, is_card, is_ssn, mod97
from metier.data.privacy.own import OwnRecogniser
from metier.data.privacy.phones import phones
from metier.data.privacy.spans import Span, settle

# Local part and host as RFC 5322 and 1123 allow them in practice; every repetition is bounded (64 and 253 characters),
# and starts where no letter stands before it.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_][\w-]{0,22}[^\W_]"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w]|[.-]\d)")
_CARD_WORDS = re.compile(
    r"\b(?:(?:credit|debit)?cards?|credit|visa|mastercard|maestro|amex|american express|diners|discover|jcb|pan)\b",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?=[ -]?[0-9A-Za-z]{3})")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:])")
_SSN = re.compile(r"(?<![\w-])(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}|\d{3}\.\d{2}\.\d{4}|\d{9})(?![\w]|[-.]\d)")
_SSN_WORDS = re.compile(r"\b(?:ssn|social security|social insurance|tax(?:payer)? id)\b", re.IGNORECASE)
_URL = re.compile(r"(?<![\w@])(?:https?://|ftp://|www\.)[^\s<>\"'`(){}|\\^]{3,2000}", re.IGNORECASE)
_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_TIME = r"(?:[T ,]{1,2}(?:at )?\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?: ?[ap]m\b)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_DATE = re.compile(
    r"(?<![\w./-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))" + _TIME + r"(?![\w/-])"
    r"|\b\d{1,2}(?:st|nd|rd|th)? (?:of )?" + _MONTHS + r"\.?,?(?: \d{4})?\b" + _TIME
    + r"|\b" + _MONTHS + r"\.? \d{1,2}(?:st|nd|rd|th)?(?:,? \d{4})?\b" + _TIME,
    re.IGNORECASE,
)  # fmt: skip

NEAR = 40
"""Characters before a number in which a word may say what it is."""


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            start = match.start() + len(match[0]) - len(match[0].lstrip(".'`{|/=?&*"))
            yield Span(start, match.end(), "EMAIL_ADDRESS", 0.99)


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        named = _CARD_WORDS.search(text, max(0, match.start() - NEAR), match.start()) is not None
        if is_card(match[0], named=named):
            yield Span(match.start(), match.end(), "CREDIT_CARD", 1.0)


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        end = _iban_end(text, match.start(), IBAN_LENGTHS.get(match[0][:2].upper(), 0))
        if end and mod97(text[match.start() : end]):
            yield Span(match.start(), end, "IBAN_CODE", 1.0)


def _iban_end(text: str, start: int, length: int) -> int | None:
    """Where `length` letters and digits from `start` on end, single spaces and hyphens between; None if they do not."""
    count, place = 0, start
    while count < length:
        if place < len(text) and count and text[place] in " -" and text[place - 1] not in " -":
            place += 1
        if place >= len(text) or not (text[place].isascii() and text[place].isalnum()):
            return None
        count, place = count + 1, place + 1
    return None if not length or (place < len(text) and text[place].isalnum()) else place


def _addresses(text: str) -> Iterator[Span]:
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            if all(int(part) < 256 for part in match[0].split(".")):
                yield from _address(match)
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            if any(character.isdigit() for character in match[0]):
                yield from _address(match)


def _address(match: re.Match[str]) -> Iterator[Span]:
    written = match[0] if ":" in match[0] else ".".join(str(int(part)) for part in match[0].split("."))
    if written.endswith(":") and not written.endswith("::"):
        written = written[:-1]  # the colon belongs to the sentence
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return
    # The machine itself and "any address" are nobody's.
    if not (address.is_loopback or address.is_unspecified):
        end = match.end() - match[0].endswith(":") * (not match[0].endswith("::"))
        yield Span(match.start(), end, "IP_ADDRESS", 0.98)


def _ssns(text: str) -> Iterator[Span]:
    for match in _SSN.finditer(text):
        named = _SSN_WORDS.search(text, max(0, match.start() - NEAR), match.start()) is not None
        if is_ssn(match[0]) and (named or "-" in match[0]):
            yield Span(match.start(), match.end(), "US_SSN", 0.97 if named else 0.92)


def _urls(text: str) -> Iterator[Span]:
    for match in _URL.finditer(text):
        yield Span(match.start(), match.start() + len(match[0].rstrip(".,;:!?]")), "URL", 0.95)


def _dates(text: str) -> Iterator[Span]:
    for match in _DATE.finditer(text):
        yield Span(match.start(), match.end(), "DATE_TIME", 0.7)


_DIGIT_KINDS: Mapping[str, Callable[[str], Iterator[Span]]] = {
    "PHONE_NUMBER": phones,
    "CREDIT_CARD": _cards,
    "IBAN_CODE": _ibans,
    "IP_ADDRESS": _addresses,
    "US_SSN": _ssns,
    "DATE_TIME": _dates,
}
_OTHER_KINDS: Mapping[str, Callable[[str], Iterator[Span]]] = {"EMAIL_ADDRESS": _emails, "URL": _urls}
PATTERN_KINDS = (*_OTHER_KINDS, *_DIGIT_KINDS)
"""Kinds that have a form."""

_DIGIT = re.compile(r"\d")


class PatternDetector:
    """Finds the kinds that have a form, and those of the recipe's own recognisers."""

    name = "patterns"
    version = 1

    def __init__(self, kinds: Sequence[str], own: Sequence[OwnRecogniser] = ()) -> None:
        """Choose.

        Args:
            kinds: What to look for; those without a form are left out, and `notes` says so.
            own: Recognisers of the recipe.
        """
        self.kinds = (*(kind for kind in kinds if kind in PATTERN_KINDS), *(each.name for each in own))
        self._other = [_OTHER_KINDS[kind] for kind in kinds if kind in _OTHER_KINDS]
        self._digits = [_DIGIT_KINDS[kind] for kind in kinds if kind in _DIGIT_KINDS]
        self._own = tuple(own)
        left = [kind for kind in kinds if kind not in PATTERN_KINDS]
        unseen = f" ({', '.join(left)} was asked for)" if left else ""
        self.notes: tuple[str, ...] = (
            f"Only patterns were used: names of persons and places are not covered{unseen}.",
        )

    def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Settled spans of every text, in the order of the texts."""
        return [settle(text, self.found(text)) for text in texts]

    def repeat(self, parts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[tuple[Span, ...]]:
        """`spans` as they are: what has a form is found wherever it stands."""
        return [tuple(found) for found in spans]

    def found(self, text: str) -> list[Span]:
        """Every span of a text, overlaps included."""
        spans = [span for search in self._other for span in search(text)]
        if _DIGIT.search(text):
            spans.extend(span for search in self._digits for span in search(text))
        for own in self._own:
            spans.extend(own.find(text))
        return spans
