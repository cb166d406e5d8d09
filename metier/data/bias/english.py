"""Whether a text reads as English, so that English word lists are not held against German `man` or Spanish `he`.

A guess by function words, for texts in which a listed word was found: short texts without any count as English. Where
a detector of languages was given to the screen, that decides instead.
"""

from __future__ import annotations

import re
from functools import lru_cache

from metier.data.bias.word_lists import word_list

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_LOOKED_AT = 2_000
"""Characters from the beginning: more would not change the guess."""


def reads_as_english(lowered: str) -> bool:
    """Whether no more function words of other European languages are in a text than English ones.

    Args:
        lowered: The text after `matching.small`.
    """
    english, other = _stop_words()
    words = _WORD.findall(lowered[:_LOOKED_AT])
    return sum(word in english for word in words) >= sum(word in other for word in words)


@lru_cache(maxsize=1)
def _stop_words() -> tuple[frozenset[str], frozenset[str]]:
    lists = word_list("stop_words")
    return frozenset(lists["english"]), frozenset(lists["other"])
