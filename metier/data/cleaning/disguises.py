"""What one text alone gives away: characters that nobody sees, letters of another script in a word, orders to a model.

The look-alike letters are the Cyrillic and Greek ones that the Unicode consortium's `confusables.txt` (UTS 39) maps
to one Latin letter each; a word counts only where Latin letters stand beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ZERO_WIDTH = "\u200b\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u180e"
"""Zero-width space, word joiner, invisible operators, byte order mark, soft hyphen, Mongolian vowel separator."""
JOINERS = "\u200c\u200d"
"""Wanted in Persian, Indic scripts and emoji, out of place between Latin letters."""
DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Embeddings, overrides and isolates: they make text look other than it is (CVE-2021-42574)."""
TAGS = "\U000e0000-\U000e007f"
"""Tag characters: a whole hidden text can be written in them. Flags of regions use them after a black flag."""
_LATIN = "A-Za-z\u00c0-\u024f"
LOOKALIKES = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"  # Cyrillic, small
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408"  # Cyrillic, capital
    "\u03bf\u03bd\u03c1\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"  # Greek
)

_HIDDEN = re.compile(
    f"[{ZERO_WIDTH[:6]}]|(?<=[{_LATIN}])[{ZERO_WIDTH[6:]}{JOINERS}](?=[{_LATIN}])|[{DIRECTION}]"
    f"|(?<!\U0001f3f4)(?<![{TAGS}])[{TAGS}]+"
)
_MIXED = re.compile(f"(?=[{_LATIN}{LOOKALIKES}]*[{_LATIN}])[{_LATIN}]*[{LOOKALIKES}][{_LATIN}{LOOKALIKES}]+"
                    f"|[{_LATIN}]+[{LOOKALIKES}]")  # fmt: skip

_IDENTITY = (
    r"\b(?:ignore|disregard|forget|override|bypass) (?:all |any |every |the |your |my |of |these |those )*"
    r"(?:(?:previous|prior|above|earlier|preceding|former|foregoing|system|safety) )+"
    r"(?:instruction|prompt|rule|direction|guideline|command|order|message|context|polic)",
    r"\b(?:ignore|disregard|forget) (?:everything|all|anything) (?:\w+ ){0,4}(?:above|before|earlier|previously)\b",
    r"\byou are (?:now|no longer) (?:an? |the |my |in |bound |restricted |going to act )*(?:\w+ ){0,3}"
    r"(?:ai|assistant|model|bot|chatbot|dan|persona|character|mode|jailbroken|unrestricted|unfiltered|rules)\b",
    r"\b(?:pretend|act) (?:to be|as|as if you (?:are|were)) (?:an? |the )?(?:\w+ ){0,3}"
    r"(?:unrestricted|unfiltered|uncensored|jailbroken|evil) ",
    r"\bfrom now on,? (?:you|your) (?:\w+ ){0,3}(?:are|name|must|will|identity|role)\b",
    r"\b(?:reveal|print|show|repeat|output|leak) (?:me )?(?:your|the) (?:\w+ ){0,2}(?:system|hidden|initial|secret) "
    r"(?:prompt|instruction|message)",
    r"\b(?:developer|debug|dan|god|sudo|jailbreak) mode (?:enabled|activated|on\b)",
    r"<\|(?:im_start|start_header_id|system|endoftext|begin_of_text|eot_id)\|?>?|\[/?inst\]|<<sys>>|</?sudo>",
    r"\b(?:new|updated|real) (?:system )?(?:instructions|directive)s?\s*:",
)
IDENTITY = re.compile("|".join(f"(?:{pattern})" for pattern in _IDENTITY))
"""Orders that change who a model is or whom it obeys, in lower case with single spaces. English only."""
_HINT = re.compile(
    r"ignor|disregard|forget|overrid|bypass|you are n|from now on|pretend|act as|prompt|instruct|mode "
    r"|<\||\[/?inst|<<sys|sudo>|directive"
)
"""What every text that `IDENTITY` fits contains: most texts are done with after this."""


def disguises(text: str) -> Mapping[str, int]:
    """How often a text holds each of `hidden characters`, `look-alike letters`, `identity shift`; none that it lacks.

    Args:
        text: As it was before any repair.
    """
    found = {}
    if not text.isascii():
        hidden = len(_HIDDEN.findall(text))
        if hidden:
            found["hidden characters"] = hidden
        mixed = len(_MIXED.findall(text))
        if mixed:
            found["look-alike letters"] = mixed
    lowered = text.lower()
    if _HINT.search(lowered):
        orders = len(IDENTITY.findall(" ".join(lowered.split())))
        if orders:
            found["identity shift"] = orders
    return found
