"""Names of persons by what stands around them: a question for a name, a verb of speech, an enumeration of names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from metier.data.privacy.names import Known, name_lists
from metier.data.privacy.spans import Span

_NAME = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
_MORE = rf"(?: (?:[^\W\d_]\. ?)?{_NAME}){{0,2}}"
_ASKED = (
    r"\b(?:first |last |sur|full |user|given |family |maiden |middle )?names?(?: is|\?|:| =)"
    r"|\b(?:call|called|calls) (?:me|him|her|myself|himself|herself)"
)
_GREETED = r"\b(?:signed|sincerely|regards|cheers|yours)(?: by|,|:)|\b(?:dear|hello|hi|hey)|\bi(?:'|’| a)m|\bthis is"
_AFTER = re.compile(rf"(?:(?P<asked>{_ASKED})|{_GREETED})[ \t]{{1,4}}(?P<name>{_NAME}{_MORE})", re.IGNORECASE)
_BEFORE = re.compile(
    rf"(?<![\w.@])({_NAME}) (?:said|says|asked|asks|told|tells|wrote|writes|began|lives|lived|works|worked|shouted"
    r"|shouts|thinks|thought|replied|answered|explained|laughed|smiled|whispered"
    r"|had (?:given|said|told|asked|been told))\b"
)
_LIST = re.compile(rf"{_NAME}(?:, {_NAME}){{0,40}}(?:,? (?:and|or|&) {_NAME})?")
_WORD = re.compile(_NAME)


def cued_names(text: str, is_word: Known) -> Iterator[Span]:
    """Words that no everyday use explains, where a name is expected.

    Args:
        text: Any text.
        is_word: Whether a word in lower case is known to be an everyday word.
    """
    for match in _AFTER.finditer(text):
        asked, end = match["asked"] is not None, 0
        for word in _WORD.finditer(text, match.start("name"), match.end("name")):
            # In small letters only after a question, and only one word: what follows is the sentence going on.
            small = not word[0][0].isupper()
            if (small and (end or not asked)) or not _may_name(word[0], is_word, expected=asked):
                break
            end = word.end()
        if end:
            yield Span(match.start("name"), end, "PERSON", 0.87 if asked else 0.7)
    for match in _BEFORE.finditer(text):
        subject = str(match[1])
        if subject[0].isupper() and not subject.isupper() and _may_name(subject, is_word, expected=False):
            yield Span(match.start(1), match.end(1), "PERSON", 0.7)


def _may_name(word: str, is_word: Known, *, expected: bool) -> bool:
    """Whether a word is a name, or capitalised and no everyday word; `expected`: so do names that are also words."""
    lists = name_lists()
    if len(word) < 2:
        return False
    if not word[0].isupper():
        return (lists.is_only_a_name(word) or not lists.is_name(word)) and not is_word(word.casefold())
    if lists.is_name(word):
        return expected or not lists.is_word(word)
    return not is_word(word.casefold()) and not word.isupper()


def names_in_small_letters(text: str, is_word: Known) -> Iterator[Span]:
    """First names that are nothing else, of five letters or more, as hasty writers put them.

    Args:
        text: Any text.
        is_word: Whether a word in lower case is known to be an everyday word.
    """
    lists = name_lists()
    for match in _WORD.finditer(text):
        word = match[0]
        first = len(word) >= 5 and word.islower() and lists.is_first(word) and lists.is_only_a_name(word)
        if first and not is_word(word):
            yield Span(match.start(), match.end(), "PERSON", 0.5)


def names_beside(text: str, found: Sequence[Span], is_word: Known) -> Iterator[Span]:
    """Single words in an enumeration with a single-word name that was found: `Efimiya, Mary and Hleb`.

    Args:
        text: Any text.
        found: Its spans of names.
        is_word: Whether a word in lower case is known to be an everyday word.
    """
    single = {(span.start, span.end) for span in found if span.kind == "PERSON"}
    for match in _LIST.finditer(text) if single else ():
        words = [word for word in _WORD.finditer(text, match.start(), match.end()) if word[0] not in ("and", "or")]
        if len(words) < 2 or not any((word.start(), word.end()) in single for word in words):
            continue
        for word in words:
            if word[0][0].isupper() and _may_name(word[0], is_word, expected=False):
                yield Span(word.start(), word.end(), "PERSON", 0.7)
