"""Telephone numbers, as people of many countries write them: by form, or by the words around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metier.data.privacy.checks import digits_of
from metier.data.privacy.spans import Span

# Digits with up to three marks between them: bounded, so that no text takes more than linear time.
_CANDIDATE = re.compile(
    r"(?<![\w@#=$€£/.-])(?<!\d[,:])(?:\+ ?)?\(?\d(?:[ ().\-–/]{0,3}\d){6,16}"
    r"(?:,? ?(?:x|ext\.?|extension) ?\d{1,6})?(?!\w|[.,:/]\d|-\d|%)",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r",? ?(?:x|ext\.?|extension) ?\d{1,6}\Z", re.IGNORECASE)

# Forms that little else has. Sources: ITU-T E.123 and E.164; numbering plans of North America, the United Kingdom
# and France; the trunk zero of most other countries.
_SURE = (
    re.compile(r"\+ ?\d(?:[ ().\-–/]{0,3}\d){6,14}\Z"),
    re.compile(r"00 ?[1-9](?:[ ().\-–/]{0,3}\d){8,13}\Z|001[ .-]\d{3}[ .-]\d{3}[ .-]\d{4}\Z"),
    re.compile(r"(?:1[-. ]?)?(?:\(\d{3}\)[ -]?|\d{3}[-. ])\d{3}[-. ]\d{4}\Z"),
    re.compile(r"0\d[ .-]\d\d(?:[ .-]\d\d){3}\Z"),
    re.compile(r"\(?0\d{1,4}\)?[ \-–/]\d{3,4}[ \-–]\d{3,4}\Z"),
    re.compile(r"\(0?\d{1,4}\) ?\d{2,4}(?:[ -]\d{2,4}){1,2}\Z"),
)
# What looks like one and is something else.
_OTHER = (
    re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,2}\Z"),
    re.compile(r"\d{1,2}([-./])\d{1,2}\1(?:\d{4}|\d{2})\Z"),
    re.compile(r"(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}) \d{1,4}\Z"),
    re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z"),
    re.compile(r"(?:1[89]|20)\d\d ?[-–/] ?(?:1[89]|20)\d\d\Z"),
    re.compile(r"\d{3}-\d{2}-\d{4}\Z"),
    re.compile(r"\d+\.\d+\Z"),
    re.compile(r"\d{1,3}(?: \d{3}){1,4}\Z(?<=000)"),
)
# Forms that a telephone number has more often than anything else: three to five groups of two to four digits with one
# mark throughout; a trunk zero; two groups as local numbers have them; ten digits that North America could dial.
_LIKELY = (
    re.compile(r"\(?\d{2,4}\)?([ .\-–])\d{2,4}(?:\1\d{2,4}){1,3}\Z"),
    re.compile(r"\(?\d{2,4}\)? ?\d{3,4}-\d{3,4}\Z"),
    re.compile(r"\d(?: \d{2,4}){3,5}\Z"),
    re.compile(r"\(?0\d{1,4}\)?[ \-/]\d{4,9}(?:-\d{2,4})?\Z"),
    re.compile(r"\(\d{2,4}\) ?\d{5,8}\Z"),
    re.compile(r"[2-9]\d{2}[ -]\d{4}\Z|\d{4} \d{4}\Z|\d{2} \d{6,7}\Z"),
    re.compile(r"[2-9]\d{2}[2-9]\d{6}\Z"),
)
_ROUND = re.compile(r"(?:\d{1,3}(?:[ .]\d{3}){1,4}|[1-9]\d{2}-\d{4}|\d+)\Z(?<=00)")
_RECKONED = re.compile(r" ?[=*×÷<>+]")
_WORDS = (
    r"tel|telephone|phone|cell|cellphone|cellular|mobile|handy|fax|facsimile|landline|whatsapp|sms|voicemail|hotline"
    r"|helpline|pager|dial|office|switchboard"
)
_BEFORE = re.compile(
    rf"(?:\b(?:{_WORDS})(?:es|s)?\b|\b(?:phone|contact|callback|mobile) (?:no|number)\b|\bcall(?:ed|ing)?\b"
    r"|\bring\b|\btext(?:ed|ing)? (?:me|him|her|us|them)\b|\breach(?:ed|able)?\b|☎|📞|\b[tpmf]:)",
    re.IGNORECASE,
)
_AFTER = re.compile(rf"\A[ ,;:(\-–]{{0,3}}(?:{_WORDS}|home|work)\b", re.IGNORECASE)

_NUMBER = re.compile(r"(?:(?<!\w)([^\W\d_]+)[ -])?\b(?:number|no\.|nr\.?|digits)(?!\w)", re.IGNORECASE)
# What has numbers that are no telephone's.
_NUMBERED = frozenset({
    "account", "bill", "card", "case", "check", "claim", "code", "contract", "customer", "draft", "file", "flight",
    "house", "id", "ids", "invoice", "invoices", "item", "licence", "license", "member", "model", "order", "orders",
    "part", "passport", "patient", "policy", "reference", "registration", "room", "routing", "row", "security",
    "serial", "tax", "ticket", "tracking", "zip",
})  # fmt: skip

NEAR = 40
"""Characters before a number in which a word may say that it is a telephone's; a line end breaks the nearness."""


def phones(text: str) -> Iterator[Span]:
    """Telephone numbers of a text.

    A number of 7 to 15 digits counts where its form is a telephone's, where a word before it (`call`, `phone`, …) or
    right after it (`office`, `fax`, …) says so, and, less surely, where it is written in groups as they are.
    """
    for match in _CANDIDATE.finditer(text):
        number = _EXTENSION.sub("", match[0])
        start = match.start()
        if number.startswith("(") and ")" not in number:  # the bracket belongs to the sentence
            number, start = number[1:], start + 1
        digits = digits_of(number)
        if not 7 <= len(digits) <= 15 or len(set(digits)) == 1 or any(form.match(number) for form in _OTHER):
            continue
        if any(form.match(number) for form in _SURE):
            yield Span(start, match.end(), "PHONE_NUMBER", 0.9)
        elif _is_named(text, match.start(), match.end()):
            yield Span(start, match.end(), "PHONE_NUMBER", 0.87)
        elif any(form.match(number) for form in _LIKELY) and not _is_something_else(text, match, number):
            yield Span(start, match.end(), "PHONE_NUMBER", 0.55)


def _is_named(text: str, start: int, end: int) -> bool:
    line = _line(text, start)
    if _BEFORE.search(text, line, start) or _AFTER.match(text[end : end + 20]):
        return True
    return any(of.casefold() not in _NUMBERED for of in _NUMBER.findall(text, line, start))


def _is_something_else(text: str, match: re.Match[str], number: str) -> bool:
    """Whether a number of a likely form is a sum, is reckoned with, or is said to be of something else."""
    if _ROUND.match(number) or _RECKONED.match(text, match.end()):
        return True
    words = re.findall(r"[^\W\d_]+", text[_line(text, match.start()) : match.start()])
    return not _NUMBERED.isdisjoint(word.casefold() for word in words[-3:])


def _line(text: str, start: int) -> int:
    """Where the words begin that are near."""
    return max(text.rfind("\n", 0, start) + 1, start - NEAR)
