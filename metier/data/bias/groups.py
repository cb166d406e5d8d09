"""Who a text names: group words of seven dimensions, with rules that keep what only looks like one out.

Precision before recall: a word that often means something else counts only where it is said of a person (`black
woman`, `she is deaf`, not `black coffee`), names that are also words or places are not in the lists (`Paris`,
`Mark`), and `he or she` names nobody. So the counts are lower bounds. `they` is never counted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from metier.data.bias.english import reads_as_english
from metier.data.bias.matching import REACH, any_of, next_word, plain, previous_word, small, whole_words
from metier.data.bias.pronouns import words_of
from metier.data.bias.word_lists import given_names, word_list
from metier.errors import DataError

ANYWHERE, CAPITAL, PERSON, NAME = "words", "capital", "person", "name"
"""When a listed word counts: anywhere; capitalised; said of a person; capitalised and no part of another name."""

# Said of a person: "she is deaf", "I'm old and", but not "he is blind to it".
_IS = re.compile(
    r"\b(?:(?:i am|i'm|(?:you|we|they|who) (?:are|were)|(?:you|we|they)'re|(?:he|she|who|i) (?:is|was)|(?:he|she)'s)"
    r"(?: (?:a|an|also|not|now))?)\s\Z"
)
_END = re.compile(r"\s*(?:\Z|[.,;:!?)]|\s(?:and|or|but|because|so|from|since|by|too|as well)\b)")
# "A Canadian who": the adjective as a noun.
_ARTICLE = re.compile(r"\b(?:a|an|another|every|fellow|typical)\s\Z")
_NOUN_END = re.compile(r"(?:\Z|[.,!?;]|\s(?:who|from|with|by|\w{2,}ing)\b)")
_DETERMINER = re.compile(r"\b(?:an?|the|another|one)\s\Z")
_AGE = re.compile(r"(?<!\w)(\d{1,3})[\s-]years?[\s-]old\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of people, as the word lists divide them."""

    dimension: str
    name: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One meaning of a word: whom it names and when it counts."""

    group: int
    dimension: str
    rule: str
    own: bool = False
    """Whether the user gave it: it counts in every language."""


class GroupWords:
    """Group words, ready to be looked for."""

    def __init__(
        self,
        groups: Sequence[Group],
        entries: Mapping[str, tuple[_Entry, ...]],
        guards: Mapping[str, Mapping[str, frozenset[str]]],
    ) -> None:
        """Use `load_group_words`."""
        self.groups = tuple(groups)
        self._entries = entries
        self._guards = guards
        self._pattern = whole_words(entries) if entries else None
        ages = {group.name: number for number, group in enumerate(self.groups) if group.dimension == "age"}
        self._ages = ages if {"child", "young", "old"} <= set(ages) else {}

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions, each once."""
        return tuple(dict.fromkeys(group.dimension for group in self.groups))

    def found_in(self, text: str, english: bool | None = None) -> set[int]:
        """Numbers in `groups` of those that the text names.

        Args:
            text: Any text.
            english: Whether it is English; in other texts only the user's own words count. None: guessed from its
                function words.
        """
        found: set[int] = set()
        if self._pattern is None:
            return found
        lowered = small(text)
        for match in self._pattern.finditer(lowered):
            for entry in self._entries[plain(match.group())]:
                if entry.group in found or not self._holds(entry, match, lowered, text):
                    continue
                if not entry.own and english is None:
                    english = reads_as_english(lowered)
                if entry.own or english:
                    found.add(entry.group)
        if self._ages and "year" in lowered and english is not False:
            found.update(self._ages_in(lowered))
        return found

    def _holds(self, entry: _Entry, match: re.Match[str], lowered: str, text: str) -> bool:
        start, end = match.span()
        guards = self._guards.get("name" if entry.rule == NAME else entry.dimension)
        if guards is not None and (
            next_word(lowered, end) in guards["not_before"]
            or previous_word(lowered, start).rstrip(".") in guards["not_after"]
        ):
            return False
        if entry.rule in (CAPITAL, NAME):
            written = text[start].isupper() and not text[start + 1 : end].isupper()
            return written and (entry.rule == CAPITAL or not is_family_name(text, start))
        return entry.rule == ANYWHERE or self._said_of_a_person(entry.dimension, start, end, lowered)

    def _said_of_a_person(self, dimension: str, start: int, end: int, lowered: str) -> bool:
        if stands_before_a_person(lowered, end):
            return True
        behind = lowered[max(0, start - REACH) : start]
        if _IS.search(behind) or _person_behind().search(behind):
            return _END.match(lowered, end) is not None
        if dimension == "nationality" and _ARTICLE.search(behind):
            return _NOUN_END.match(lowered, end) is not None
        return False

    def _ages_in(self, lowered: str) -> Iterable[int]:
        for match in _AGE.finditer(lowered):
            behind = lowered[max(0, match.start() - REACH) : match.start()]
            said = _IS.search(behind) or _person_behind().search(behind)
            alone = _DETERMINER.search(behind) and next_word(lowered, match.end()) in {"", *words_of("function_words")}
            if said or alone or stands_before_a_person(lowered, match.end()):
                years = int(match.group(1))
                name = "child" if years < 18 else "young" if years < 25 else "old" if 60 <= years <= 120 else None
                if name is not None:
                    yield self._ages[name]


@lru_cache(maxsize=1)
def _person_behind() -> re.Pattern[str]:
    nouns = any_of(map(plain, word_list("groups")["person_nouns"]))
    return re.compile(rf"(?<!\w){nouns} (?:is|was|are|were)(?: (?:a|an|also|not|now|only))?\s\Z")


@lru_cache(maxsize=1)
def _person_ahead() -> re.Pattern[str]:
    lists = word_list("groups")
    nouns, adjectives = (any_of(map(plain, lists[name])) for name in ("person_nouns", "person_adjectives"))
    return re.compile(rf"[\s-]+(?:(?:{adjectives}|and|or),?\s+){{0,3}}{nouns}(?!\w)")


def stands_before_a_person(lowered: str, end: int) -> bool:
    """Whether a person noun follows a word, other adjectives of persons between them allowed.

    Args:
        lowered: The text after `matching.small`.
        end: Where the word ends.
    """
    return _person_ahead().match(lowered, end) is not None


def is_family_name(text: str, start: int) -> bool:
    """Whether a name follows a capitalised word that opens no sentence or greeting: `LeBron James`, `Mr. James`.

    Args:
        text: As it was written.
        start: Where the name begins.
    """
    before = previous_word(text, start)
    if not before[:1].isupper() or (before.endswith(".") and before.lower() not in ("mr.", "mrs.", "ms.")):
        return False  # no name before it, or the end of a sentence
    word = before.rstrip(".").lower()
    return not any(
        word in allowed for allowed in (words_of("function_words"), words_of("opens_before_a_name"), _given())
    )


@lru_cache(maxsize=1)
def _given() -> frozenset[str]:
    return frozenset(name.lower() for names in given_names().values() for name in names)


def load_group_words(
    *,
    dimensions: Sequence[str] | None = None,
    more: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    without: Sequence[str] = (),
    names: bool = True,
) -> GroupWords:
    """The packaged lists with the user's own words.

    Args:
        dimensions: Those to look for; None: all.
        more: Words to add, dimension -> group -> words; a new dimension or group is made. They count anywhere.
        without: Packaged words that mean something else in this data.
        names: Whether common first names count for a gender. A proxy: the note of the screen says so.

    Raises:
        DataError: An unknown dimension, an empty word, a word in two groups of one dimension, or a word to leave out
            that is in no list.
    """
    packaged = word_list("groups")["dimensions"]
    more = more or {}
    wanted = _wanted(dimensions, [*packaged, *(name for name in more if name not in packaged)])
    left_out = {plain(word) for word in without}
    gathered = _Gathered(left_out)
    for dimension in wanted:
        given = packaged.get(dimension, {"groups": {}})
        for name, rules in given["groups"].items():
            for rule, words in rules.items():
                gathered.add(dimension, name, rule, words)
        if dimension == "gender" and names:
            for sex, firsts in given_names().items():
                gathered.add(dimension, sex, NAME, firsts)
        for name, words in more.get(dimension, {}).items():
            gathered.add(dimension, name, ANYWHERE, words, own=True)
        gathered.nobody(dimension, given.get("nobody", ()))
    unknown = sorted(left_out - gathered.left_out_found)
    if unknown and dimensions is None:
        raise DataError("data.bias.without", f"`{unknown[0]}` is in no list", "words of the lists")
    return GroupWords(gathered.groups, gathered.entries_with_parts(), _guards(wanted))


class _Gathered:
    """Words on their way into a `GroupWords`."""

    def __init__(self, left_out: set[str]) -> None:
        self.groups: list[Group] = []
        self.left_out_found: set[str] = set()
        self._left_out = left_out
        self._entries: dict[str, list[_Entry]] = {}
        self._nobody: dict[str, set[str]] = {}

    def add(self, dimension: str, name: str, rule: str, words: Iterable[str], own: bool = False) -> None:
        where = f"data.bias.words.{dimension}.{name}"
        group = Group(dimension=dimension, name=name)
        if group not in self.groups:
            self.groups.append(group)
        number = self.groups.index(group)
        for word in words:
            key = plain(word)
            if not key:
                raise DataError(where, "has an empty word", "a word or a phrase")
            if key in self._left_out:
                self.left_out_found.add(key)
                continue
            same = [entry for entry in self._entries.get(key, ()) if entry.dimension == dimension]
            if any(entry.group != number for entry in same):
                other = self.groups[same[0].group].name
                fix = "Name it in data.bias.without first, or drop it from one of them."
                raise DataError(where, f"`{key}` is already a word of `{other}`", "one group of a dimension", fix)
            if not same:
                self._entries.setdefault(key, []).append(_Entry(number, dimension, rule, own))

    def nobody(self, dimension: str, phrases: Iterable[str]) -> None:
        for phrase in phrases:
            self._nobody.setdefault(plain(phrase), set()).add(dimension)
            self._entries.setdefault(plain(phrase), [])

    def entries_with_parts(self) -> dict[str, tuple[_Entry, ...]]:
        """Entries by phrase; a phrase also means what the words in it mean in other dimensions (`old lady`)."""
        complete: dict[str, tuple[_Entry, ...]] = {}
        for phrase, own in self._entries.items():
            settled = {entry.dimension for entry in own} | self._nobody.get(phrase, set())
            parts = [
                entry
                for word in (phrase.split() if " " in phrase else ())
                for entry in self._entries.get(word, ())
                if entry.rule == ANYWHERE and entry.dimension not in settled
            ]
            complete[phrase] = tuple(dict.fromkeys([*own, *parts]))
        return complete


def _wanted(dimensions: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    for name in dimensions or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            fix = f"Did you mean `{near[0]}`?" if near else ""
            wanted = f"one of {', '.join(known)}"
            raise DataError("data.bias.dimensions", f"`{name}` is no dimension of the word lists", wanted, fix)
    return known if dimensions is None else tuple(dict.fromkeys(dimensions))


def _guards(dimensions: Iterable[str]) -> dict[str, Mapping[str, frozenset[str]]]:
    packaged: Mapping[str, Any] = word_list("groups")["dimensions"]
    listed = {name: packaged[name] for name in dimensions if name in packaged}
    listed["name"] = word_list("names")
    return {
        name: {key: frozenset(plain(word).rstrip(".") for word in given[key]) for key in ("not_before", "not_after")}
        for name, given in listed.items()
    }
