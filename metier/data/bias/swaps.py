"""Swaps between two groups: one text as it would read of the other group, grammar kept.

A swap goes both ways at once (`he` and `she` trade places), so that doing it twice gives the text back; where a word
has no single partner (`Mrs`, `mum`) it does not, and the copy says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from metier.data.bias.groups import is_family_name, stands_before_a_person
from metier.data.bias.matching import next_word, plain, previous_word, small, whole_words
from metier.data.bias.pronouns import swapped_pronoun, words_of
from metier.data.bias.word_lists import given_names, word_list

PRONOUNS = ("her", "hers", "him", "his")
_NOUN_AHEAD = re.compile(r"\b(?:a|an|the|every|another|each|one|fellow|no)\s(?:[\w-]+\s)?\Z")
_ARTICLE = re.compile(r"(?<!\w)(an?)(\s+)\Z", re.IGNORECASE)
_VOWEL = re.compile(r"(?:[aeio]|u(?!ni|kr|ga|s\b|sa\b)|heir)(?!u)", re.IGNORECASE)
"""How a word must begin to take `an`: by sound, for the words of the lists."""
_SENTENCE_START = re.compile(r"(?:\A|[.!?:\n]\W*|[\"“‘(]\s*)\Z")
QUOTES = "\"'“”‘’«»`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a word becomes."""

    written: str
    """In its usual case: `Muslim`, `woman`."""
    natural: str
    """The word that is replaced, in its usual case."""
    noun: str | None = None
    """What it becomes where it is a noun, if that differs: `a Christian` becomes `a Jew`."""
    of_a_person: bool = False
    """Replaced only directly before a person noun."""
    name: bool = False
    """Replaced only where it is written as a first name."""


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Two groups that trade places."""

    dimension: str
    """A key of `words/swaps.json`, or `names by ethnicity`."""
    groups: tuple[str, str]
    targets: Mapping[str, Target]
    """By word or phrase after `matching.plain`."""
    pattern: re.Pattern[str] = field(repr=False)
    untouched: frozenset[str] = frozenset()
    """Phrases in which nothing is replaced: `he or she`."""

    @property
    def name(self) -> str:
        """For reports: `gender: male and female`."""
        return f"{self.dimension}: {self.groups[0]} and {self.groups[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What became of one text."""

    text: str
    words: int
    """How many were replaced."""
    replaced: frozenset[str] = frozenset()
    """The words that were, as keys of `Swap.targets`."""
    kept: frozenset[str] = frozenset()
    """Words of the swap that stand somewhere where they are not said of a person, and stayed."""
    about_the_word: bool = False
    """A word to be replaced stands alone in quotation marks: the text speaks about it, and stays as it was."""


def swapped(text: str, swap: Swap, tags: Mapping[int, str] | None = None) -> Swapped:
    """`text` with the two groups in each other's place.

    Args:
        text: Any text.
        swap: Which groups.
        tags: Penn Treebank tags of `text` by offset, for `her`; None: the rule of `pronouns.py` decides.
    """
    lowered = small(text)
    parts: list[str] = []
    done = count = 0
    replaced: set[str] = set()
    kept: set[str] = set()
    for match in swap.pattern.finditer(lowered):
        start, end = match.span()
        key = plain(match.group())
        if key in swap.untouched:
            continue
        word = _replacement(text, lowered, match, swap, tags or {})
        (kept if word is None else replaced).add(key)
        if word is None:
            continue
        if text[start - 1 : start] in QUOTES and text[end : end + 1] in QUOTES and start and end < len(text):
            return Swapped(text=text, words=0, about_the_word=True)
        ahead = text[done:start]
        parts += [_with_article(ahead, text[start:end], word), word]
        done = end
        count += 1
    return Swapped(text="".join([*parts, text[done:]]), words=count, replaced=frozenset(replaced), kept=frozenset(kept))


def is_partial(swap: Swap, found: Sequence[Swapped]) -> bool:
    """Whether texts would be swapped in some places only, and contradict themselves.

    `A straight and a gay couple` would become `a straight and a straight couple`: the first adjective stands before no
    person, and stays. So would a name that is somebody's family name elsewhere.

    Args:
        swap: Which groups.
        found: What became of each text that belongs together.
    """
    replaced = frozenset[str]().union(*(one.replaced for one in found))
    kept = frozenset[str]().union(*(one.kept for one in found))
    said_of_persons = any(swap.targets[key].of_a_person for key in kept)
    return bool(replaced and (said_of_persons or replaced & kept))


def packaged_swaps() -> dict[str, tuple[Swap, ...]]:
    """Every swap of the packaged lists, by dimension."""
    lists = word_list("swaps")
    found: dict[str, tuple[Swap, ...]] = {"gender": (_gender_swap(lists["gender"]),)}
    for dimension, given in lists.items():
        if isinstance(given, dict) and "columns" in given:
            found[dimension] = tuple(_column_swaps(dimension, given))
    names = word_list("names")["names_by_ethnicity"]
    pairs = [*zip(names["white"], names["black"], strict=True)]
    found["names by ethnicity"] = (
        _swap("names by ethnicity", ("white", "black"), dict(_both_ways(pairs, name=True)), ()),
    )
    return found


def bound_words(dimension: str) -> tuple[str, ...]:
    """Words that tie a text to its group, so that it is not copied: `pregnant`, `mosque`.

    Args:
        dimension: A key of `packaged_swaps`.
    """
    return tuple(word_list("swaps").get(dimension, {}).get("bound", ()))


def _gender_swap(given: Mapping[str, Any]) -> Swap:
    targets = dict(_both_ways(given["pairs"]))
    targets |= {plain(word): Target(written=other, natural=word) for word, other in given["one_way"].items()}
    targets |= {word: Target(written="", natural=word) for word in PRONOUNS}
    names = given_names()
    targets |= dict(_both_ways(zip(names["male"], names["female"], strict=True), name=True))
    untouched = word_list("groups")["dimensions"]["gender"]["nobody"]
    return _swap("gender", ("male", "female"), targets, untouched)


def _column_swaps(dimension: str, given: Mapping[str, Any]) -> Iterator[Swap]:
    for one, other in combinations(range(len(given["columns"])), 2):
        targets: dict[str, Target] = {}
        for row, words in given["rows"].items():
            of_a_person = bool(given.get("said_of_a_person")) and row != "plural"
            for source, target in ((words[one], words[other]), (words[other], words[one])):
                known = targets.get(plain(source))
                if known is None:
                    targets[plain(source)] = Target(written=target, natural=source, of_a_person=of_a_person)
                elif row == "noun" and known.written != target:
                    targets[plain(source)] = Target(written=known.written, natural=source, noun=target)
        untouched = word_list("groups")["dimensions"].get(dimension, {}).get("nobody", ())
        yield _swap(dimension, (given["columns"][one], given["columns"][other]), targets, untouched)


def _swap(dimension: str, groups: tuple[str, str], targets: dict[str, Target], untouched: Iterable[str]) -> Swap:
    left = frozenset(plain(phrase) for phrase in untouched)
    return Swap(
        dimension=dimension,
        groups=groups,
        targets=targets,
        pattern=whole_words([*targets, *left]),
        untouched=left - targets.keys(),
    )


def _both_ways(pairs: Iterable[tuple[str, str]], *, name: bool = False) -> Iterator[tuple[str, Target]]:
    for one, other in pairs:
        yield plain(one), Target(written=other, natural=one, name=name)
        yield plain(other), Target(written=one, natural=other, name=name)


def _replacement(text: str, lowered: str, match: re.Match[str], swap: Swap, tags: Mapping[int, str]) -> str | None:
    """What stands in the place of a match; None where it stays."""
    start, end = match.span()
    key = plain(match.group())
    target = swap.targets[key]
    if target.name and not _is_first_name(text, lowered, start, end):
        return None
    if target.of_a_person and not stands_before_a_person(lowered, end):
        return None
    if key in PRONOUNS and swap.dimension == "gender":
        written = swapped_pronoun(lowered, start, end, tags.get(start)) or ""
    else:
        written = target.noun if target.noun is not None and _is_noun(lowered, start, end) else target.written
    if " " in text[start:end]:
        written = written.replace("-", " ")
    return _in_case(text, start, end, target.natural, written)


def _is_first_name(text: str, lowered: str, start: int, end: int) -> bool:
    guards = word_list("names")
    if not text[start].isupper() or text[start + 1 : end].isupper() or is_family_name(text, start):
        return False
    return (
        next_word(lowered, end) not in guards["not_before"] and previous_word(lowered, start) not in guards["not_after"]
    )


def _is_noun(lowered: str, start: int, end: int) -> bool:
    word = next_word(lowered, end)
    ends = not word or word in words_of("function_words") or not lowered[end].isspace()
    return ends and _NOUN_AHEAD.search(lowered[max(0, start - 40) : start]) is not None


def _in_case(text: str, start: int, end: int, natural: str, written: str) -> str:
    source = text[start:end]
    if len(source) > 1 and source.isupper():
        return written.upper()
    first = written[:1]
    if source[0].islower():
        # A name of a people in small letters is the writer's way; the partner is written that way too.
        first = first.lower() if natural[:1].isupper() else first
    elif natural[:1].islower() or _SENTENCE_START.search(text[max(0, start - 5) : start]):
        first = first.upper()
    return first + written[1:]


def _with_article(ahead: str, before: str, after: str) -> str:
    """What stands before a replaced word, its article changed where the two words ask for another one."""
    found = _ARTICLE.search(ahead)
    wants_n = _VOWEL.match(after) is not None
    if found is None or wants_n == (_VOWEL.match(before) is not None):
        return ahead
    article = found.group(1)
    capitals = article == "AN" or (article == "A" and after.isupper())
    fitting = article[0] + ("" if not wants_n else "N" if capitals else "n")
    return f"{ahead[: found.start(1)]}{fitting}{found.group(2)}"
