"""Street addresses as English texts have them: a house number and a street, or what follows `lives at` and its like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metier.data.privacy.spans import Span

_ROOM = r"(?:[ ,]{1,2}\s?(?:Apt|Apartment|Suite|Ste|Unit|Flat|Room|Floor|Box|#)\.? ?#?[A-Za-z]?\d{1,6}[A-Za-z]?)"
_CAPITAL = r"[^\W\d_a-z][\w'’.-]{0,30}"
_STREET = re.compile(
    rf"(?<![\w.,$€£-])\d{{1,6}}[A-Za-z]?(?: \d{{1,6}})? (?:{_CAPITAL} ){{0,4}}"
    r"(?:Street|Str|St|Road|Rd|Avenue|Ave|Av|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Place|Pl|Square|Sq|Terrace"
    r"|Parkway|Pkwy|Highway|Hwy|Close|Crescent|Circle|Row|Walk|Gardens|Grove|Mews|Trail|Pass|Loop|Plaza)\b"
    rf"\.?{_ROOM}?"
)
_BOX = re.compile(r"\b(?:P\.? ?O\.? Box|PSC|CMR|Unit) \d{1,6}(?:,? Box \d{1,6})?")
_WITH_ROOM = re.compile(rf"(?<![\w.,$€£-])\d{{1,6}} (?:{_CAPITAL} ){{1,4}}\d{{0,5}}{_ROOM}")
_CUED = re.compile(
    r"(?i:\baddress(?: is|:| of [^\n.]{1,40} is)|\b(?:lives?|lived|living|located|residing|resides|arrived|delivered"
    r"|shipped|moved|works?) (?:at|to))[ \t]{1,8}"
    rf"(\d{{1,6}}[A-Za-z]?(?:,? (?:{_CAPITAL}|\d{{1,6}}[A-Za-z]?"
    rf"|(?:de|do|da|of|la|le|del|der|van|den) {_CAPITAL})){{1,9}})"
)
# An address over several lines, as on a letter: it is known by the line of its room.
_LINES = re.compile(
    r"(?<![\w.,$€£-])\d{1,6} [^\n]{3,60}\n[> \t]{0,8}(?:Apt|Suite|Unit|Flat|Ste)\.? \d{1,5}"
    rf"(?:,?\n[> \t]{{0,8}}(?:, ?)?(?:{_CAPITAL} ?){{1,4}}(?:,? ?\d{{4,6}})?(?=\n|[.?!]|\Z)){{0,3}}"
    r"(?:\n[> \t]{0,8}\d{4,6}(?=\n|[.?!]|\Z))?"
)


def street_addresses(text: str) -> Iterator[Span]:
    """Street addresses and post boxes of a text; towns and countries are left to the model of names."""
    for pattern in (_STREET, _BOX, _WITH_ROOM, _LINES):
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), "LOCATION", 0.88)
    for match in _CUED.finditer(text):
        yield Span(match.start(1), match.start(1) + len(match[1].rstrip(".,'’-")), "LOCATION", 0.88)
