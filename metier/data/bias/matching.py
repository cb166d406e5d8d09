"""Finding many words and phrases in one pass over a text: one regular expression, shaped as a tree of letters.

An alternation of 700 words is tried word by word at every letter; the same words as nested choices of letters
cost no more than the letters that agree. Everything is matched in small letters (`small`), which keeps places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

BEFORE = r"(?<![\w@#&/\\-])(?<!\w\.)"
"""What a word may not follow: letters, `@`, `#`, `&`, slashes, a hyphen (`non-Muslim`), the dot in `www.mother`."""
AFTER = r"(?![\w@/\\]|-\w|\.\w)"
"""What may not follow a word: the same. An apostrophe may: `mother's`, `she'll`."""

_BETWEEN = re.compile(r"[\s-]+")
_NEXT_WORD = re.compile(r"[\s-]+[\"“]?([\w'.]+)")
_WORD_AHEAD = re.compile(r"([\w'.]+)[\s-]+\Z")
REACH = 40
"""How many characters before a word are looked at for what it follows."""


def small(text: str) -> str:
    """`text` in small letters, every character in its place, typographic apostrophes as plain ones."""
    lowered = text.lower()
    if len(lowered) != len(text):  # Only the Turkish capital with a dot becomes two characters.
        lowered = text.replace("\u0130", "i").lower()
    return lowered.replace("\u2019", "'")


def plain(phrase: str) -> str:
    """A phrase as it is looked up: small letters, single spaces, hyphens as spaces."""
    return _BETWEEN.sub(" ", small(phrase).strip())


def any_of(phrases: Iterable[str]) -> str:
    """A pattern for any of the phrases, the longest first; a space in a phrase also stands for a hyphen.

    Args:
        phrases: At least one, each after `plain`.
    """
    tree: dict[str, Any] = {}
    for phrase in sorted(set(phrases)):
        node = tree
        for character in phrase:
            node = node.setdefault(character, {})
        node[""] = {}
    return _choices(tree)


def whole_words(phrases: Iterable[str]) -> re.Pattern[str]:
    """The same, matching whole words only."""
    return re.compile(f"{BEFORE}{any_of(phrases)}{AFTER}")


def next_word(lowered: str, end: int) -> str:
    """The word right after a place, without a dot at its end; empty where there is none."""
    found = _NEXT_WORD.match(lowered, end)
    return found.group(1).rstrip(".") if found else ""


def previous_word(lowered: str, start: int) -> str:
    """The word right before a place; empty where there is none."""
    found = _WORD_AHEAD.search(lowered[max(0, start - REACH) : start])
    return found.group(1) if found else ""


def _choices(node: dict[str, Any]) -> str:
    options = [_literal(character) + _choices(child) for character, child in sorted(node.items()) if character]
    if not options:
        return ""
    ends = "" in node
    body = f"(?:{'|'.join(options)})" if ends or len(options) > 1 else options[0]
    return f"{body}?" if ends else body


def _literal(character: str) -> str:
    return r"[\s-]" if character == " " else re.escape(character)
