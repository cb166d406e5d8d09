"""Quality flags under their published names and thresholds, none of them adjusted: flags, never deletions.

    gopher_*  J. Rae et al., Scaling Language Models: Methods, Analysis & Insights from Training Gopher,
              arXiv 2112.11446: appendix A.1.1, "Quality Filtering" and "Repetition Removal" (table A1)
    c4_*      C. Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer,
              arXiv 1910.10683, section 2.2

What the papers leave open: a bullet is one of `_BULLETS`; C4's paper wants three sentences, its code five: three here.
They were made for web pages. Each says from how many words (and lines) on it means something, and is not applied
below; the table counts those rows. Words are what white space parts, lines what line ends part. C4 drops lines; here a
row is flagged that has such a line. Of C4, the list of bad words is left out (it removes texts about health and
minorities: J. Dodge et al., arXiv 2104.08758), and so are lines without a full stop (titles and messages have none),
duplicates and languages, which have steps of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.measured import Measured
from metier.data.cleaning.repetition import LEAST_WORDS, REPETITION_RULES
from metier.data.cleaning.rows import Doubt, Finding, Rows

STEP = "quality"
VERSION = 1
Numbers = NDArray[np.int64]

GOPHER_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
C4_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_BULLETS = ("•", "‣", "▶", "◦", "■", "□", "▪", "●", "○", "-", "*", "–", "·")
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")
_ELLIPSES = ("...", "…")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One published rule."""

    flags: Callable[[Measured], bool]
    says: str
    """A sentence about a flagged text."""
    source: str
    least_words: int = 1
    """Below, it is not applied."""
    least_lines: int = 1
    """Lines that are not empty; below, it is not applied."""
    english: bool = False
    """Whether it knows English only."""
    documents: bool = False
    """Whether it is about documents, and not about messages."""


def too_few_words(text: Measured) -> bool:
    """Fewer than 50 words."""
    return len(text.words) < 50


def too_many_words(text: Measured) -> bool:
    """More than 100,000 words."""
    return len(text.words) > 100_000


def word_length(text: Measured) -> bool:
    """Words of fewer than 3 or more than 10 characters in the mean."""
    return not 3 <= text.characters / len(text.words) <= 10


def hash_ratio(text: Measured) -> bool:
    """More than one hash for every ten words."""
    return text.text.count("#") > 0.1 * len(text.words)


def ellipsis_ratio(text: Measured) -> bool:
    """More than one ellipsis for every ten words."""
    return text.text.count("...") + text.text.count("…") > 0.1 * len(text.words)


def bullet_lines(text: Measured) -> bool:
    """More than 90 % of lines begin with a bullet."""
    return sum(line.startswith(_BULLETS) for line in text.lines) > 0.9 * len(text.lines)


def ellipsis_lines(text: Measured) -> bool:
    """More than 30 % of lines end with an ellipsis."""
    return sum(line.endswith(_ELLIPSES) for line in text.lines) > 0.3 * len(text.lines)


def words_without_letters(text: Measured) -> bool:
    """Fewer than 80 % of words have a letter."""
    # Most words are letters throughout, which is quickly known.
    lettered = sum(word.isalpha() or any(map(str.isalpha, word)) for word in text.words)
    return lettered < 0.8 * len(text.words)


def few_stop_words(text: Measured) -> bool:
    """Fewer than two of eight English words that nearly every English page has."""
    return len(GOPHER_STOP_WORDS.intersection(text.lowered.split())) < 2


def lorem_ipsum(text: Measured) -> bool:
    """The filler text of designers."""
    return "lorem ipsum" in text.lowered


def curly_bracket(text: Measured) -> bool:
    """A curly bracket, which pages of code have."""
    return "{" in text.text


def javascript(text: Measured) -> bool:
    """A line with the word JavaScript: most say that it has to be switched on."""
    return "javascript" in text.lowered


def policy(text: Measured) -> bool:
    """A line of a site's terms, privacy policy or cookies."""
    return any(phrase in text.lowered for phrase in C4_POLICY)


def few_sentences(text: Measured) -> bool:
    """Fewer than three sentences: ends of sentences, counted at the ends of words."""
    if sum(map(text.text.count, _SENTENCE_ENDS)) < 3:
        return True
    found = 0
    for word in text.words:
        found += word.rstrip("\"'”’)").endswith(_SENTENCE_ENDS)
        if found == 3:
            return False
    return True


_GOPHER = "arXiv 2112.11446, A.1.1"
_C4 = "arXiv 1910.10683, 2.2"
QUALITY_RULES: dict[str, Rule] = {
    "gopher_too_few_words": Rule(
        flags=too_few_words, says="it has fewer than 50 words", source=_GOPHER, documents=True
    ),
    "gopher_too_many_words": Rule(flags=too_many_words, says="it has more than 100,000 words", source=_GOPHER),
    "gopher_word_length": Rule(
        flags=word_length, says="it has words of fewer than 3 or more than 10 characters in the mean", source=_GOPHER,
        least_words=10,
    ),
    "gopher_hash_ratio": Rule(
        flags=hash_ratio, says="it has more than one # for every ten words", source=_GOPHER, least_words=10
    ),
    "gopher_ellipsis_ratio": Rule(
        flags=ellipsis_ratio, says="it has more than one ellipsis for every ten words", source=_GOPHER, least_words=10
    ),
    "gopher_bullet_lines": Rule(
        flags=bullet_lines, says="more than 90 % of its lines begin with a bullet", source=_GOPHER, least_lines=3
    ),
    "gopher_ellipsis_lines": Rule(
        flags=ellipsis_lines, says="more than 30 % of its lines end with an ellipsis", source=_GOPHER, least_lines=3
    ),
    "gopher_words_without_letters": Rule(
        flags=words_without_letters, says="fewer than 80 % of its words have a letter", source=_GOPHER, least_words=10
    ),
    "gopher_few_stop_words": Rule(
        flags=few_stop_words, says="it has fewer than two of the, be, to, of, and, that, have, with", source=_GOPHER,
        least_words=LEAST_WORDS, english=True,
    ),
    **{
        name: Rule(flags=flags, says=says, source="arXiv 2112.11446, table A1", least_words=words, least_lines=lines)
        for name, (flags, says, words, lines) in REPETITION_RULES.items()
    },
    "c4_lorem_ipsum": Rule(flags=lorem_ipsum, says="it has `lorem ipsum`", source=_C4),
    "c4_curly_bracket": Rule(flags=curly_bracket, says="it has a curly bracket", source=_C4, documents=True),
    "c4_javascript": Rule(flags=javascript, says="it has the word JavaScript", source=_C4, documents=True),
    "c4_policy": Rule(
        flags=policy, says="it has a line of terms, privacy policy or cookies", source=_C4, documents=True
    ),
    "c4_few_sentences": Rule(flags=few_sentences, says="it has fewer than three sentences", source=_C4, documents=True),
}  # fmt: skip
"""By name, in the order in which they are looked at."""


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """Which rules are applied."""

    rules: tuple[str, ...] = tuple(QUALITY_RULES)
    """Names in `QUALITY_RULES`."""
    documents: bool | None = None
    """Whether rows are documents; None: they are if half of them have 50 words or more. Otherwise rules about
    documents (`Rule.documents`) are not applied: every short message would break them."""
    part: Literal["text", "answer"] = "text"
    """What of a row is looked at: what is asked, or the written answer, which is what is learned."""
    english: bool = True
    """Whether most rows are English; otherwise rules that know English only are not applied."""
    most_doubts: int = 100_000
    """Doubts given at most, of the first rows; the rest is only counted."""


def screen_quality(rows: Rows, settings: QualitySettings | None = None) -> Finding:
    """Flag texts by the rules; one doubt for each row and rule, whose reason is the rule's name.

    Args:
        rows: All rows; of written answers, where these are looked at, rows with labels are left out.
        settings: Default: `QualitySettings()`.
    """
    start = time.perf_counter()
    settings = settings or QualitySettings()
    wanted = [name for name in settings.rules if settings.english or not QUALITY_RULES[name].english]
    bits = {name: 1 << number for number, name in enumerate(wanted)}
    broken, skipped = np.zeros((2, len(rows)), np.int64)
    keys, words = np.zeros((2, len(rows)), np.int64)
    seen = 0
    for row in rows:
        if settings.part == "answer" and row.labelled:
            continue
        text = Measured(row.text if settings.part == "text" else row.answer)
        position, seen = seen, seen + 1
        keys[position], words[position] = row.key, len(text.words)
        for name, bit in bits.items():
            rule = QUALITY_RULES[name]
            if not _applies(rule, text):
                skipped[position] |= bit
            elif rule.flags(text):
                broken[position] |= bit
    keys, words, broken, skipped = keys[:seen], words[:seen], broken[:seen], skipped[:seen]
    used = _used(bits, words, settings)
    flagged = np.flatnonzero(broken & sum(used.values()))
    every = (
        Doubt(key=int(keys[position]), step=STEP, reason=name, detail=QUALITY_RULES[name].says)
        for position in flagged.tolist()
        for name, bit in used.items()
        if broken[position] & bit
    )
    doubts = tuple(islice(every, settings.most_doubts))
    table = [_counted(name, bit, broken, skipped) for name, bit in used.items()]
    counts = {name: int(np.count_nonzero(broken & bit)) for name, bit in used.items()}
    notes = list(_notes(settings, used, table))
    if len(doubts) < sum(counts.values()):
        notes.append(f"{sum(counts.values()) - len(doubts):,} doubts beyond the first {len(doubts):,} only counted")
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=seen,
        doubts=doubts,
        counts={**{name: count for name, count in counts.items() if count}, "rows flagged": len(flagged)},
        tables={"quality": table},
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _used(bits: Mapping[str, int], words: Numbers, settings: QualitySettings) -> dict[str, int]:
    """The rules that say something about these rows, known once all were seen."""
    documents = settings.documents
    if documents is None:
        documents = len(words) > 0 and float(np.median(words)) >= LEAST_WORDS
    return {name: bit for name, bit in bits.items() if documents or not QUALITY_RULES[name].documents}


def _counted(name: str, bit: int, broken: Numbers, skipped: Numbers) -> dict[str, object]:
    flagged, left_out = int(np.count_nonzero(broken & bit)), int(np.count_nonzero(skipped & bit))
    rule = QUALITY_RULES[name]
    applied = len(broken) - left_out
    return {
        "rule": name,
        "means": rule.says,
        "source": rule.source,
        "applied to": applied,
        "not applied to": left_out,
        "flagged": flagged,
        "share": flagged / applied if applied else None,
    }


def _notes(settings: QualitySettings, used: Mapping[str, int], table: Sequence[Mapping[str, object]]) -> Iterator[str]:
    about_documents = [name for name in settings.rules if QUALITY_RULES[name].documents and name not in used]
    if about_documents:
        yield (
            f"rules about documents were not applied ({', '.join(about_documents)}): half the rows have fewer than "
            f"{LEAST_WORDS} words, or the recipe says that they are no documents"
        )
    foreign = [name for name in settings.rules if QUALITY_RULES[name].english and not settings.english]
    if foreign:
        yield f"rules that know English only were not applied: {', '.join(foreign)}"
    short = [str(cells["rule"]) for cells in table if cells["not applied to"]]
    if short:
        yield (
            f"{len(short)} rules were not applied to texts too short for them "
            "(the table of rules says to how many); they say nothing there"
        )
    yield "the thresholds are those of web pages: a flag is a reason to look, not a fault"


def _applies(rule: Rule, text: Measured) -> bool:
    return len(text.words) >= rule.least_words and len(text.lines) >= rule.least_lines
