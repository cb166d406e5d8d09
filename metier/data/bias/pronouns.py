"""`her` and `his` in English: which of two words each one is, decided by what stands around it.

`her` is `him` (object) or `his` (possessive); `his` is `her` (before its noun) or `hers` (alone). A part-of-speech
tagger knows best; without one, the next word decides: what cannot begin a noun phrase makes `her` an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from metier.data.bias.matching import next_word, previous_word
from metier.data.bias.word_lists import word_list

Tagger = Callable[[str], Mapping[int, str]]
"""From a text to the Penn Treebank tag of each token by where it begins (`tagger.spacy_tagger`)."""

_LAST_TIMES = re.compile(
    r"\s(?:last|next|this|every|first) (?:night|week|month|year|time|morning|evening|summer|monday|tuesday|wednesday|"
    r"thursday|friday|saturday|sunday)\b(?!')"
)
_END = re.compile(r"['’\"]?\s*(?:\Z|[.,;:!?)\]…–—]|\s-\s)")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "ten", "twenty", "more", "money", "permission")
"""What is given to her, rather than hers, after `gave`."""
_COMPARED = re.compile(
    r"\s(?:more|less|most|best|better|first|much)\s*(?:\Z|[.,;:!?]|\s(?:than|and|but|when|because)\b)"
)


@lru_cache(maxsize=16)
def words_of(kind: str) -> frozenset[str]:
    """One of the closed lists that decide.

    Args:
        kind: `function_words`: words that begin no noun phrase after a possessive, so that `her` before them is an
            object; `begins_anyway`: those of them that also do (`her very own`, `her home`); `letting` and
            `bare_verbs`: `let her go`, `made her happy`; `noticing`: `saw her leaving`; `giving`: `gave her money`;
            `opens_before_a_name`: what is capitalised before a first name and no part of it (`Dear Mary`); `degrees`,
            `hurting`, `auxiliaries`: what tells `loves her very much`, `hurt her back`, `her home is` apart.
    """
    return frozenset(word_list("pronouns")[kind])


def is_possessive(lowered: str, start: int, end: int) -> bool:
    """Whether `her` between two places belongs to a noun after it (`her book`) and is no object (`told her that`).

    Args:
        lowered: The text after `matching.small`.
        start: Where `her` begins.
        end: Where it ends.
    """
    if _END.match(lowered, end) or _COMPARED.match(lowered, end):
        return False
    word = next_word(lowered, end)
    before = previous_word(lowered, start)
    if _LAST_TIMES.match(lowered, end) and before and before not in words_of("function_words"):
        return False
    if not word or (before in words_of("letting") and word in words_of("bare_verbs")):
        return False
    if before in words_of("noticing") and word.endswith("ing"):  # "saw her leaving"
        return False
    if before in words_of("giving") and (word[0].isdigit() or word in _NUMBERS):
        return False
    if word in words_of("function_words") and word not in words_of("begins_anyway"):
        return False
    if word in words_of("begins_anyway"):
        return not _is_place_or_degree(lowered, lowered.index(word, end) + len(word), word, before)
    return not (word.endswith("ly") and len(word) > 5 and word not in ("family", "friendly", "elderly", "lovely"))


def _is_place_or_degree(lowered: str, end: int, word: str, before: str) -> bool:
    """Whether a word after `her` says where or how much (`drove her home`), and not what is hers (`her home is`)."""
    following = next_word(lowered, end)
    if word == "off":
        return True
    if word == "very":
        return following in words_of("degrees")
    if not before or before in words_of("function_words") or before in words_of("hurting"):
        return False
    ends = _END.match(lowered, end) is not None or following in words_of("function_words")
    return ends and following not in words_of("auxiliaries")


def stands_alone(lowered: str, end: int) -> bool:
    """Whether `his` that ends here has no noun after it: `a friend of his.`, `the car is his and`.

    Args:
        lowered: The text after `matching.small`.
        end: Where `his` ends.
    """
    if _END.match(lowered, end):
        return True
    word = next_word(lowered, end)
    return not word or (word in words_of("function_words") and word not in words_of("begins_anyway"))


def swapped_pronoun(lowered: str, start: int, end: int, tag: str | None) -> str | None:
    """The other gender's word for the pronoun between two places; None where it is none of `her hers him his`.

    Args:
        lowered: The text after `matching.small`.
        start: Where the word begins.
        end: Where it ends.
        tag: Its Penn Treebank tag, where a tagger gave one.
    """
    word = lowered[start:end]
    if word == "him":
        return "her"
    if word == "hers":
        return "his"
    if word == "his":
        return "hers" if stands_alone(lowered, end) else "her"
    if word == "her":
        possessive = tag == "PRP$" if tag in ("PRP", "PRP$") else is_possessive(lowered, start, end)
        return "his" if possessive else "him"
    return None
