"""Who is named in which row, and what else divides the rows: a few bytes a row, gathered in one pass.

Arrays are by key (N,) unless they say otherwise; -1 stands for nothing known.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.bias.groups import Group, GroupWords
from metier.data.bias.tones import tone_of
from metier.data.cleaning.rows import SPLITS, Row, Rows
from metier.errors import DataError

Codes = npt.NDArray[np.int32]
NONE, SEVERAL = -1, -2
"""Codes of a row that names no group of a dimension, and of one that names more than one."""
LENGTHS = (10, 50, 200, 1000)
"""Words at which the next bucket of lengths begins."""
LENGTH_NAMES = ("under 10 words", "10 to 49 words", "50 to 199 words", "200 to 999 words", "1,000 words and more")


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A column of few values as numbers."""

    name: str
    values: tuple[str, ...]
    codes: Codes
    """Place in `values`, shape (N,); negative: none of them."""


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """Which groups are named in which rows: pairs of a key and a group, sorted by key."""

    groups: tuple[Group, ...]
    rows: int
    """How many rows were looked at, named or not: N."""
    keys: npt.NDArray[np.uint32]
    """Shape (M,)."""
    numbers: npt.NDArray[np.uint16]
    """Place in `groups`, shape (M,)."""

    def per_group(self, among: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
        """Rows that name each group, shape (G,).

        Args:
            among: Which rows count, shape (N,); None: all.
        """
        numbers = self.numbers if among is None else self.numbers[among[self.keys]]
        return np.bincount(numbers, minlength=len(self.groups)).astype(np.int64)

    def coded(self, dimension: str) -> Coded:
        """The one group of a dimension that a row names; `NONE` or `SEVERAL` where it is not one.

        Args:
            dimension: A name among the groups'.
        """
        places = [place for place, group in enumerate(self.groups) if group.dimension == dimension]
        local = np.full(len(self.groups), NONE, np.int32)
        local[places] = np.arange(len(places), dtype=np.int32)
        chosen = local[self.numbers]
        keys = self.keys[chosen >= 0]
        codes = np.full(self.rows, NONE, np.int32)
        codes[keys] = chosen[chosen >= 0]
        codes[np.bincount(keys, minlength=self.rows) > 1] = SEVERAL
        return Coded(name=dimension, values=tuple(self.groups[place].name for place in places), codes=codes)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that one pass over the rows keeps, about 40 bytes a row and 6 a mention."""

    asked: Mentions
    """Who is named in what is asked."""
    answered: Mentions
    """Who is named in written answers."""
    labels: Coded
    splits: npt.NDArray[np.int8]
    """Place in `rows.SPLITS`."""
    written: npt.NDArray[np.bool_]
    """Rows with a written answer."""
    lengths: npt.NDArray[np.int32]
    """Words of what is asked."""
    answer_lengths: npt.NDArray[np.int32]
    refusals: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.int32]
    """Kind words less harsh ones, of written answers."""
    clusters: npt.NDArray[np.uint64]
    """A number for each group of rows that vary together."""
    languages: Coded | None

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """Rows of the test split: counted, never compared."""
        return self.in_split("test")

    def in_split(self, name: str) -> npt.NDArray[np.bool_]:
        """Rows of one split, shape (N,).

        Args:
            name: One of `rows.SPLITS`.
        """
        return np.asarray(self.splits == SPLITS.index(name), np.bool_)


def gather(rows: Rows, words: GroupWords, language_of: Callable[[str], str | None] | None = None) -> Gathered:
    """Go through the rows once.

    Args:
        rows: All of them.
        words: Whom to look for.
        language_of: The language of a text (`en`, `de`, …), None where it cannot be told; None: languages are not
            looked at.

    Raises:
        DataError: The keys are not 0, 1, 2, ….
    """
    pass_ = _Pass(words, language_of)
    for row in rows:
        pass_.add(row)
    return pass_.result()


def coded_column(name: str, values: Iterable[str | None], *, most: int = 50, fewest: int = 5) -> Coded:
    """A column of the user's that divides people, as codes; only its frequent values keep their name.

    Args:
        name: Of the column.
        values: One for each key, in order; None or empty: unknown.
        most: How many values may keep their name.
        fewest: Rows below which a value is pooled: a rare one could point at a person.

    Returns:
        Codes by key; pooled values are called `(other)`.
    """
    found: dict[str, int] = {}
    codes = array("i", (found.setdefault(value, len(found)) if value else NONE for value in values))
    raw = np.frombuffer(codes, np.int32) if codes else np.zeros(0, np.int32)
    counts = np.bincount(raw[raw >= 0], minlength=len(found))
    texts = list(found)
    order = sorted(range(len(texts)), key=lambda place: (-counts[place], texts[place]))
    kept = [place for place in order[:most] if counts[place] >= fewest]
    names = [texts[place] for place in kept]
    other = len(kept)
    if other < len(texts):
        names.append("(other)")
    local = np.full(len(texts) + 1, other, np.int32)
    local[kept] = np.arange(len(kept), dtype=np.int32)
    local[-1] = NONE  # what code -1 reads
    return Coded(name=name, values=tuple(names), codes=local[raw])


def length_buckets(lengths: npt.NDArray[np.int32]) -> Coded:
    """Lengths in words as a column."""
    codes = np.searchsorted(np.array(LENGTHS), lengths, side="right").astype(np.int32)
    return Coded(name="length", values=LENGTH_NAMES, codes=codes)


class _Pass:
    """Growing arrays, row by row."""

    def __init__(self, words: GroupWords, language_of: Callable[[str], str | None] | None) -> None:
        self._words, self._language_of = words, language_of
        self._asked, self._answered = _Pairs(), _Pairs()
        self._labels: dict[str, int] = {}
        self._label, self._language = array("i"), array("i")
        self._languages: dict[str, int] = {}
        self._split, self._written, self._refusal = array("b"), array("b"), array("b")
        self._length, self._answer_length, self._score = array("i"), array("i"), array("i")
        self._cluster = array("Q")

    def add(self, row: Row) -> None:
        if row.key != len(self._label):
            raise DataError("rows", f"key {row.key} stands at place {len(self._label)}", "keys 0, 1, 2, … in order")
        written = bool(row.answer) and not row.labelled
        language = self._language_of(row.text) if self._language_of is not None else None
        english = None if language is None else language == "en"
        self._asked.add(row.key, self._words.found_in(row.text, english))
        self._label.append(
            self._labels.setdefault(row.answer, len(self._labels)) if row.labelled and row.answer else NONE
        )
        self._split.append(SPLITS.index(row.split))
        self._written.append(written)
        self._length.append(len(row.text.split()))
        self._cluster.append(_number(f"group {row.group}" if row.group is not None else f"row {row.key}"))
        if self._language_of is not None:
            self._language.append(
                self._languages.setdefault(language, len(self._languages)) if language is not None else NONE
            )
        if written:
            self._answered.add(row.key, self._words.found_in(row.answer, english))
            tone = tone_of(row.answer)
        self._answer_length.append(tone.words if written else 0)
        self._refusal.append(written and tone.refusal)
        self._score.append(tone.score if written else 0)

    def result(self) -> Gathered:
        count = len(self._label)
        languages = None
        if self._language_of is not None:
            languages = Coded(name="language", values=tuple(self._languages), codes=_ints(self._language))
        return Gathered(
            asked=self._asked.mentions(self._words.groups, count),
            answered=self._answered.mentions(self._words.groups, count),
            labels=Coded(name="label", values=tuple(self._labels), codes=_ints(self._label)),
            splits=np.array(self._split, np.int8),
            written=np.array(self._written, np.bool_),
            lengths=_ints(self._length),
            answer_lengths=_ints(self._answer_length),
            refusals=np.array(self._refusal, np.bool_),
            scores=_ints(self._score),
            clusters=np.array(self._cluster, np.uint64),
            languages=languages,
        )


class _Pairs:
    """Pairs of a key and a group's number."""

    def __init__(self) -> None:
        self._keys, self._numbers = array("I"), array("H")

    def add(self, key: int, numbers: Iterable[int]) -> None:
        for number in sorted(numbers):
            self._keys.append(key)
            self._numbers.append(number)

    def mentions(self, groups: Sequence[Group], rows: int) -> Mentions:
        return Mentions(
            groups=tuple(groups),
            rows=rows,
            keys=np.array(self._keys, np.uint32),
            numbers=np.array(self._numbers, np.uint16),
        )


def share_table(column: Coded, among: npt.NDArray[np.bool_] | None = None) -> Mapping[str, int]:
    """Rows by value, the most frequent first; `(unknown)` for rows without one.

    Args:
        column: Any.
        among: Which rows count, shape (N,); None: all.
    """
    codes = column.codes if among is None else column.codes[among]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.values))
    found = {column.values[place]: int(counts[place]) for place in np.argsort(-counts, kind="stable") if counts[place]}
    unknown = int((codes < 0).sum())
    return {**found, **({"(unknown)": unknown} if unknown else {})}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _ints(values: array[int]) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)
