"""A text as plain words, and words as numbers: what equality, shingles and n-grams are made of.

Two texts are the same in their *plain form* when they differ only in case, punctuation, apostrophes, white space and
Unicode form (NFKC). Digits and symbols (`+ < = > $ ^ | ~`, emoji) stay: `C` is not `C++`, thumbs up not thumbs down.
Scripts that put no space between words (Han, Kana, Thai, Lao, Khmer, Burmese) count each character as a word.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import Row
from metier.data.input_rules import normalised

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]

BATCH_CHARACTERS = 1 << 18
"""Texts are worked through in batches of so many characters: large enough for numpy, small enough for the cache."""
BATCH_ROWS = 8192
_ASCII_WORD = re.compile(r"[0-9a-z]+|[$+<=>^`|~]")
_APOSTROPHES = re.compile("['\u2019\u02bc]")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
FRAME_TEXTS = 50
"""Fewer different texts than this may begin alike by chance: they have no frame."""
_EMPTY = "\0"
"""The one word of an empty text."""
_SPACE = 32
_BYTE_VALUES = 1
_PLACES = 2
_FINAL = 3


def plain_words(text: str) -> list[str]:
    """The words of a text in its plain form, at least one.

    A text without any word or symbol (`...`) is one word: itself without white space.
    """
    if text.isascii():
        words = _ASCII_WORD.findall(text.replace("'", "").lower())
    else:
        plain = _APOSTROPHES.sub("", normalised(text))
        if _UNSPACED.search(plain):
            plain = _spaced(plain)
        words = _any_word().findall(plain)
    return words or ["".join(text.split()) or _EMPTY]


def text_hash(text: str) -> int:
    """The first 64 bits of BLAKE2b of `text`; never 0."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def plain_hash(words: Sequence[str]) -> int:
    """The hash of a text's plain form, from its words."""
    return text_hash(" ".join(words))


def mixed(values: Hashes) -> Hashes:
    """Every bit spread over all bits: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def constants(count: int, stream: int) -> Hashes:
    """`count` fixed numbers that look random, all odd; a longer list begins with the shorter one.

    Args:
        count: How many.
        stream: Different streams have nothing in common.
    """
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return mixed(steps + np.uint64(stream * 0xD1342543DE82EF95 % (1 << 64))) | np.uint64(1)


@dataclass(frozen=True, kw_only=True)
class WordHashes:
    """Words of several texts as 64-bit hashes, one text after the other."""

    values: Hashes
    """Shape (words of all texts,)."""
    counts: Positions
    """Words of each text, at least 1."""

    @property
    def starts(self) -> Positions:
        """Where each text begins in `values`."""
        return starts_of(self.counts)

    def take(self, texts: Positions) -> WordHashes:
        """The words of these texts only."""
        return WordHashes(values=self.values[spans(self.starts[texts], self.counts[texts])], counts=self.counts[texts])

    @classmethod
    def join(cls, parts: Sequence[WordHashes]) -> WordHashes:
        """The texts of all parts, in order."""
        values = [part.values for part in parts] or [np.zeros(0, np.uint64)]
        counts = [part.counts for part in parts] or [np.zeros(0, np.int64)]
        return cls(values=np.concatenate(values), counts=np.concatenate(counts))


def starts_of(counts: Positions) -> Positions:
    """Where each of several runs begins that lie one after the other."""
    starts = np.cumsum(counts) - counts
    return starts.astype(np.int64)


def spans(starts: Positions, counts: Positions) -> Positions:
    """The places of all members of runs: `starts[0]`, `starts[0] + 1`, …, one run after the other."""
    total = int(counts.sum())
    inside = np.arange(total, dtype=np.int64) - np.repeat(starts_of(counts), counts)
    return np.repeat(starts, counts) + inside


def hash_words(texts: Sequence[Sequence[str]]) -> WordHashes:
    """Words as numbers, by multilinear hashing over their UTF-8 bytes (Carter and Wegman, 1979).

    All words of a batch are hashed by a few numpy calls: nothing is done word by word in Python.

    Args:
        texts: The words of each text, at least one each, without spaces inside.
    """
    counts = np.fromiter(map(len, texts), np.int64, len(texts))
    if not len(texts):
        return WordHashes(values=np.zeros(0, np.uint64), counts=counts)
    joined = " ".join([" ".join(words) for words in texts]) + " "
    data = np.frombuffer(joined.encode("utf-8", "surrogatepass"), np.uint8)
    ends = np.flatnonzero(data == _SPACE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1  # the space at its end counts as a byte of the word: it is the same for all
    place = np.arange(len(data)) - np.repeat(starts, lengths)
    terms = constants(256, _BYTE_VALUES)[data] * constants(int(lengths.max()), _PLACES)[place]
    return WordHashes(values=mixed(np.add.reduceat(terms, starts) + np.uint64(_FINAL)), counts=counts)


@dataclass(frozen=True, slots=True)
class Frame:
    """Words that all texts begin and end with: a template's instruction, which says nothing about any of them."""

    before: int = 0
    after: int = 0

    def inside(self, words: list[str]) -> list[str]:
        """The words between; all of them where nothing would be left."""
        inner = words[self.before : len(words) - self.after]
        return inner or words


def shared_frame(texts: Iterable[str]) -> Frame:
    """What all texts begin and end with; looks no further once there is no such thing.

    Args:
        texts: They are compared word by word, in their plain form.
    """
    before: list[str] = []
    after: list[str] = []
    shortest = sys.maxsize
    compared = 0
    first: list[str] | None = None
    for text in texts:
        words = plain_words(text)
        if first is None:
            first = before = after = words
            shortest = len(words)
            continue
        if words == first:
            continue
        compared += 1
        shortest = min(shortest, len(words))
        before = before[: _alike(before, words)]
        alike = _alike(after[::-1], words[::-1])
        after = after[len(after) - alike :]
        if not before and not after:
            return Frame()
    if compared < FRAME_TEXTS:
        return Frame()
    # A word cannot be in both: what is left of the shortest text goes to the end.
    return Frame(before=len(before), after=max(0, min(len(after), shortest - len(before))))


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in batches of bounded size, so that what is computed at once stays small."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.text)
        if size >= BATCH_CHARACTERS or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _alike(left: Sequence[str], right: Sequence[str]) -> int:
    """How many words from the start are equal."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))


def _spaced(text: str) -> str:
    return _UNSPACED.sub(lambda match: f" {match[0]} ", text)


@functools.cache
def _any_word() -> re.Pattern[str]:
    """Words of letters, digits and marks, or single symbols; `re` has no Unicode categories, so they are listed."""
    marks = _characters("M")
    return re.compile(f"(?:[^\\W_]|[{marks}])+|[{_characters('S')}]")


def _characters(category: str) -> str:
    """All characters whose category begins so, as the inside of a character class."""
    members = [code for code in range(0x20000) if unicodedata.category(chr(code)).startswith(category)]
    parts: list[str] = []
    start = previous = members[0]
    for code in [*members[1:], sys.maxunicode + 2]:
        if code != previous + 1:
            parts.append(f"{re.escape(chr(start))}-{re.escape(chr(previous))}")
            start = code
        previous = code
    return "".join(parts)
