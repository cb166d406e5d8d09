"""Labels whose names look like two names for one thing: two spellings, singular and plural, a slip of the hand.

Two labels for one thing tear its examples apart: half of each class then counts as wrong. Names that only look alike
are left alone where the difference is the point: other digits, or a prefix that negates (`paid`, `unpaid`).
"""

from __future__ import annotations

import itertools
import math
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metier.data.cleaning.rows import Finding, Rows
from metier.data.cleaning.words import plain_words

STEP = "label names"
VERSION = 1
MOST_LABELS = 1000
"""With more labels than this only equal forms are compared: slips would be looked for among half a million pairs."""
NEGATIONS = ("un", "in", "im", "il", "ir", "non", "not", "no", "de", "dis", "mis", "anti", "re")
"""Beginnings that turn a word into its opposite, or into another act."""
_WORD_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s_\-./]+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class LabelNameSettings:
    """When two label names are taken for one."""

    shortest: int = 5
    """Letters that both names need before a slip of one letter is believed; of two letters at twice as many."""
    closest: float = 0.9
    """Cosine of two given embeddings from which on their labels are named, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class LikeLabels:
    """Two labels that may be one."""

    label: str
    """The rarer one: what could be renamed."""
    like: str
    """The more frequent one: what it could be called."""
    why: str
    """`written differently`, `other word order`, `plural`, `one letter`, `two letters`, `close in meaning`."""
    score: float
    """How sure, from 0 to 1."""


def screen_label_names(
    rows: Rows,
    settings: LabelNameSettings | None = None,
    *,
    embeddings: Mapping[str, Sequence[float]] | None = None,
) -> Finding:
    """Name pairs of labels that look like one, each with the name that most rows have as the suggestion.

    No row is doubted: what may be renamed is the label, in `data.label_names`.

    Args:
        rows: All rows; only labelled ones are counted.
        settings: Default: `LabelNameSettings()`.
        embeddings: A vector for each label name, from any encoder, where there is one.
    """
    start = time.perf_counter()
    counts = Counter(row.answer for row in rows if row.labelled and row.answer)
    pairs = like_labels(counts, settings, embeddings=embeddings)
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=counts.total(),
        counts={"labels": len(counts), **Counter(pair.why for pair in pairs)},
        tables={
            "labels that may be one": [
                {
                    "label": pair.label,
                    "rows": counts[pair.label],
                    "like": pair.like,
                    "its rows": counts[pair.like],
                    "why": pair.why,
                    "score": round(pair.score, 2),
                }
                for pair in pairs
            ]
        },
        notes=tuple(_notes(pairs, counts, with_embeddings=embeddings is not None)),
        seconds=time.perf_counter() - start,
    )


def like_labels(
    counts: Mapping[str, int],
    settings: LabelNameSettings | None = None,
    *,
    embeddings: Mapping[str, Sequence[float]] | None = None,
) -> list[LikeLabels]:
    """Pairs of labels that may be one, the surest first.

    Args:
        counts: Rows of each label.
        settings: Default: `LabelNameSettings()`.
        embeddings: A vector for each label name, where there is one.
    """
    settings = settings or LabelNameSettings()
    found: dict[tuple[str, str], LikeLabels] = {}
    for one, other, why, score in itertools.chain(
        _same_form(counts), _slips(counts, settings), _close(counts, settings, embeddings or {})
    ):
        rare, frequent = sorted((one, other), key=lambda label: (counts[label], label))
        found.setdefault((rare, frequent), LikeLabels(label=rare, like=frequent, why=why, score=score))
    return sorted(found.values(), key=lambda pair: (-pair.score, pair.label, pair.like))


Pair = tuple[str, str, str, float]


def _same_form(labels: Iterable[str]) -> Iterator[Pair]:
    """Labels that are equal in a simpler form, each form less sure than the one before."""
    labels = sorted(labels)
    forms = {label: _words(label) for label in labels}
    kinds: list[tuple[str, float, dict[str, str]]] = [
        ("written differently", 1.0, {label: "".join(words) for label, words in forms.items()}),
        ("plural", 0.95, {label: " ".join(map(_singular, words)) for label, words in forms.items()}),
        ("other word order", 0.9, {label: " ".join(sorted(map(_singular, words))) for label, words in forms.items()}),
    ]
    for why, score, form_of in kinds:
        by_form: dict[str, list[str]] = {}
        for label in labels:
            by_form.setdefault(form_of[label], []).append(label)
        for same in by_form.values():
            for one, other in itertools.combinations(same, 2):
                yield one, other, why, score


def _slips(labels: Iterable[str], settings: LabelNameSettings) -> Iterator[Pair]:
    """Labels one or two letters apart."""
    labels = sorted(labels)
    if len(labels) > MOST_LABELS:
        return
    forms = {label: " ".join(_words(label)) for label in labels}
    for one, other in itertools.combinations(labels, 2):
        left, right = forms[one], forms[other]
        shortest = min(len(left), len(right))
        most = 2 if shortest >= 2 * settings.shortest else 1
        if shortest < settings.shortest or abs(len(left) - len(right)) > most or _meant(left, right):
            continue
        apart = edit_distance(left, right, most)
        if 0 < apart <= most:
            yield one, other, "one letter" if apart == 1 else "two letters", 0.8 if apart == 1 else 0.6


def _close(
    labels: Iterable[str], settings: LabelNameSettings, embeddings: Mapping[str, Sequence[float]]
) -> Iterator[Pair]:
    """Labels whose embeddings point the same way."""
    known = sorted(label for label in labels if label in embeddings and any(embeddings[label]))
    lengths = {label: math.hypot(*embeddings[label]) for label in known}
    for one, other in itertools.combinations(known, 2):
        product = math.fsum(a * b for a, b in zip(embeddings[one], embeddings[other], strict=True))
        cosine = product / (lengths[one] * lengths[other])
        if cosine >= settings.closest and not _meant(" ".join(_words(one)), " ".join(_words(other))):
            yield one, other, "close in meaning", min(0.5, cosine / 2)


def edit_distance(left: str, right: str, most: int) -> int:
    """Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).

    Args:
        left: One text.
        right: The other.
        most: Any result above it means: more than that.
    """
    before: list[int] = []
    last = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        now = [row]
        for column, other in enumerate(right, 1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != other))
            swapped = row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other
            now.append(min(cost, before[column - 2] + 1) if swapped else cost)
        if min(now) > most:
            return most + 1
        before, last = last, now
    return last[-1]


def _words(label: str) -> list[str]:
    """The words of a name, without accents; `camelCase` and `snake_case` are two words each."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c))
    return plain_words(_WORD_BREAK.sub(" ", bare))


def _singular(word: str) -> str:
    """An English word without the ending of its plural, as far as three rules go."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _meant(left: str, right: str) -> bool:
    """Whether the difference is surely meant: other digits, a negation, one word that is another word's beginning."""
    if _DIGITS.findall(left) != _DIGITS.findall(right):
        return True
    ours, theirs = left.split(), right.split()
    if len(ours) != len(theirs):
        return {*ours} ^ {*theirs} <= {*NEGATIONS, "on", "off", "in", "out", "up", "down", "to", "from"}
    differing = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    return any(
        _negates(one, other) or _negates(other, one) or len(min(one, other, key=len)) < 4 for one, other in differing
    )


def _negates(longer: str, shorter: str) -> bool:
    return any(longer == f"{prefix}{shorter}" for prefix in NEGATIONS) or any(
        longer.startswith(one) and shorter.startswith(other) and longer[len(one) :] == shorter[len(other) :]
        for one, other in (("in", "ex"), ("im", "ex"), ("en", "de"), ("en", "dis"), ("in", "de"), ("up", "down"))
    )


def _notes(pairs: Sequence[LikeLabels], counts: Mapping[str, int], *, with_embeddings: bool) -> Iterator[str]:
    same = [pair for pair in pairs if pair.why == "written differently"]
    for pair in same:
        yield (
            f"labels `{pair.label}` and `{pair.like}` differ only in how they are written; "
            "data.label_names can make them one"
        )
    if len(pairs) > len(same):
        yield "labels that may be one stand in the table; data.label_names can make them one"
    if len(counts) > MOST_LABELS:
        yield f"{len(counts):,} labels: slips of a letter were not looked for above {MOST_LABELS:,}"
    if counts and not with_embeddings:
        yield "labels of one meaning and different words were not looked for: no encoder was given"
