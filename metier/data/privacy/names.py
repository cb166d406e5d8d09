"""Names of persons by lists, titles and neighbours: what a small language model misses.

The lists (`names.tsv`) are those of the package Faker (MIT licence): first names and surnames of some 50 countries
that are written in Latin letters. A word of them counts as a name only where it stands as one: in capitals, beside
another name, after a title. Words that are also everyday words (`Will`, `Young`) never count alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from metier.data.privacy.spans import Span

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*\.?")
_WHOLE = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
PARTICLES = frozenset({
    "van", "von", "der", "den", "de", "del", "della", "di", "da", "dos", "das", "du", "la", "le", "ten", "ter", "al",
    "el", "bin", "ibn", "af", "av", "zu", "y", "e",
})  # fmt: skip
TITLES = frozenset({
    "mr", "mrs", "ms", "miss", "mx", "dr", "doctor", "prof", "professor", "sir", "madam", "mme", "mlle", "herr",
    "frau", "señor", "señora", "signor", "signora",
})  # fmt: skip
# Words of organisations and streets: beside them a name is not a person's.
_NOT_PERSONS = frozenset({
    "inc", "llc", "ltd", "corp", "corporation", "company", "co", "gmbh", "plc", "group", "university", "college",
    "institute", "hospital", "clinic", "bank", "church", "school", "foundation", "association", "international",
    "street", "st", "road", "rd", "avenue", "ave", "lane", "drive", "boulevard", "blvd", "square", "court", "apt",
    "suite", "airport", "station", "bridge", "river", "county", "city", "park", "hotel", "museum", "prize", "award",
    "via", "rue", "rua", "strada", "strasse", "calle", "plaza", "piazza", "box", "north", "south", "east",
    "west", "new", "san", "santa", "saint", "port",
})  # fmt: skip
_LONGEST = 4
"""Words of one name."""

Known = Callable[[str], bool]


@dataclass(frozen=True)
class NameLists:
    """First names and surnames by their letters in lower case."""

    uses: Mapping[str, str]
    """Letters of use by name: m and f (first names of men, women), u (first names of either), l (surname), w (also an
    everyday word), p (also a place), s (among the most frequent of the United States)."""

    def is_first(self, word: str) -> bool:
        """Whether it is a first name."""
        return not set("mfu").isdisjoint(self.uses.get(word.casefold(), ""))

    def is_name(self, word: str) -> bool:
        """Whether it is either."""
        return word.casefold() in self.uses

    def is_only_a_name(self, word: str) -> bool:
        """Whether it is one and neither an everyday word nor a place."""
        return self.is_name(word) and set("wp").isdisjoint(self.uses[word.casefold()])

    def is_word(self, word: str) -> bool:
        """Whether a name is an everyday word as well."""
        return "w" in self.uses.get(word.casefold(), "")

    def gender(self, word: str) -> str | None:
        """`m` or `f` where a first name is only one of them."""
        found = {letter for letter in self.uses.get(word.casefold(), "") if letter in "mf"}
        return found.pop() if len(found) == 1 else None

    def frequent(self, use: str) -> tuple[str, ...]:
        """The most frequent names of a use (m, f, l) that are nothing else, in alphabetical order, capitalised."""
        others = set("mfulwp") - {use, "u" if use in "mf" else use}
        return tuple(
            name.capitalize()
            for name, letters in sorted(self.uses.items())
            if "s" in letters and use in letters and others.isdisjoint(letters)
        )


@cache
def name_lists() -> NameLists:
    """The lists that come with metier, read once."""
    uses: dict[str, str] = {}
    content = files("metier.data.privacy").joinpath("names.tsv").read_text(encoding="utf-8")
    for line in content.splitlines():
        if not line.startswith("#"):
            name, letters = line.split("\t")
            key = name.casefold()
            uses[key] = "".join(sorted({*uses.get(key, ""), *letters}))
    return NameLists(uses)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int

    @property
    def capital(self) -> bool:
        return self.text[0].isupper()

    @property
    def initial(self) -> bool:
        return self.capital and len(self.text.rstrip(".")) == 1

    @property
    def folded(self) -> str:
        return self.text.rstrip(".").casefold()


def listed_names(text: str, is_word: Known) -> Iterator[Span]:
    """Names of persons that the lists and titles give away.

    Args:
        text: Any text.
        is_word: Whether a word in lower case is known to be an everyday word; names of two unlisted words count only
            where neither is.
    """
    lists = name_lists()
    for run in _runs(text):
        place = 0
        while place < len(run):
            words, score = _name_at(run, place, lists, is_word)
            if words and score:
                last = run[place + words - 1]
                end = last.end if last.initial else last.start + len(last.text.rstrip("."))
                yield Span(run[place].start, end, "PERSON", score)
            place += max(words, 1)


def _runs(text: str) -> Iterator[list[_Word]]:
    """Words that stand beside each other with one space between: capitalised ones, and particles among them."""
    run: list[_Word] = []
    for match in _WORD.finditer(text):
        word = match[0]
        # A full stop ends a sentence, unless it follows an initial or a title.
        if word.endswith(".") and len(word) > 2 and word[:-1].casefold() not in TITLES:
            word = word[:-1]
        if word.endswith(("'s", "’s")):
            word = word[:-2]
        made = _Word(word, match.start(), match.start() + len(word))
        beside = bool(run) and text[run[-1].end : made.start] in (" ", "  ", "\u00a0")
        if run and not (beside and (made.capital or made.folded in PARTICLES)):
            yield run
            run = []
        if run or made.capital:
            run.append(made)
    if run:
        yield run


def _name_at(run: Sequence[_Word], place: int, lists: NameLists, is_word: Known) -> tuple[int, float]:
    """How many words from `place` on are a name, and how sure; 0 for none."""
    word = run[place]
    if not word.capital or word.folded in TITLES or (not lists.is_name(word.text) and is_word(word.folded)):
        return 0, 0.0
    titled = place > 0 and run[place - 1].folded in TITLES
    words = _extent(run, place, lists, is_word)
    name = run[place : place + words]
    after = run[place + words].folded if place + words < len(run) else ""
    if after in _NOT_PERSONS or any(each.folded in _NOT_PERSONS for each in name):
        return 0, 0.0
    if titled:
        return words, 0.95
    full = [each for each in name if each.folded not in PARTICLES and not each.initial]
    if len(full) > 1 or (full and len(name) > 1):
        return words, _sureness(full, lists, is_word)
    if lists.is_first(word.text) and not lists.is_word(word.text) and not (word.text.isupper() and len(word.text) < 5):
        return 1, 0.86 if lists.is_only_a_name(word.text) else 0.5
    return 0, 0.0


def _sureness(full: Sequence[_Word], lists: NameLists, is_word: Known) -> float:
    """How surely several words, particles and initials left out, are one name; 0: not."""
    listed = [each for each in full if lists.is_name(each.text)]
    if lists.is_first(full[0].text) and len(listed) > 1 and not all(lists.is_word(each.text) for each in listed):
        return 0.9
    if any(lists.is_only_a_name(each.text) for each in full):
        return 0.88
    return 0.0 if any(_is_everyday(each, lists, is_word) for each in full) else 0.6


def _is_everyday(word: _Word, lists: NameLists, is_word: Known) -> bool:
    return lists.is_word(word.text) or (not lists.is_name(word.text) and is_word(word.folded))


def _extent(run: Sequence[_Word], place: int, lists: NameLists, is_word: Known) -> int:
    """How many words from `place` on may be one name."""
    words = 1
    while place + words < len(run) and words < _LONGEST:
        word = run[place + words]
        follows = any(each.capital for each in run[place + words :])
        if word.folded in TITLES or not (
            word.initial
            or (word.folded in PARTICLES and not word.capital and follows)
            or lists.is_name(word.text)
            or not is_word(word.folded)
        ):
            break
        words += 1
    while words > 1 and not run[place + words - 1].capital:
        words -= 1
    return words


def is_telling(word: str, is_word: Known) -> bool:
    """Whether a word alone can be taken for a name wherever it stands: capitalised, and of no everyday use."""
    lists = name_lists()
    if not word[0].isupper() or len(word) < 3 or word.casefold() in _NOT_PERSONS:
        return False
    if lists.is_name(word):
        return not lists.is_word(word)
    return not is_word(word.casefold()) and not (word.isupper() and len(word) < 6)


def repeated_names(parts: Sequence[str], spans: Sequence[Sequence[Span]], is_word: Known) -> list[list[Span]]:
    """The same names again: where the parts of a record repeat a name that was found, or one word of a full one.

    Args:
        parts: Texts of one record.
        spans: What was found in each.
        is_word: Whether a word in lower case is known to be an everyday word.

    Returns:
        Further spans for each part; those that were found already may be among them.
    """
    words: set[str] = set()
    for part, found in zip(parts, spans, strict=True):
        for span in found:
            if span.kind == "PERSON":
                value = part[span.start : span.end]
                words.update(word for word in _WHOLE.findall(value) if is_telling(word, is_word))
                if " " in value:
                    words.add(value)
    if not words:
        return [[] for _ in parts]
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return [[Span(found.start(), found.end(), "PERSON", 0.8) for found in pattern.finditer(part)] for part in parts]
