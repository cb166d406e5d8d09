"""Words and runs of words or characters as 64-bit numbers, a batch of texts at a time and without a Python loop.

A token is a run of letters and digits, a run of symbols, or one character of a script that is written without
spaces. Its number is a polynomial of its characters modulo 2**64 (Rabin and Karp 1987), the characters mixed first,
the sum mixed after (the finaliser of SplitMix64, Steele et al. 2014). Equal tokens always have equal numbers; two
different ones share theirs by an accident of about one in 2**64 a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.rows import Row, Rows

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that it has an inverse modulo 2**64."""
MOST_CHARACTERS = 4_000
"""Characters of a text that most screens read: enough to know what it is about."""
BATCH = 500_000
"""Characters of a batch; about forty bytes are kept for each while it is looked at."""
_INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
_SPACE, _WORD, _SYMBOL, _ALONE = 0, 1, 2, 3

_SYMBOLS: tuple[tuple[int, int], ...]
_SYMBOLS = ((0x80, 0xA0), (0xA1, 0xAA), (0xAB, 0xB5), (0xB6, 0xBA), (0xBB, 0xC0), (0x2010, 0x2028), (0x2030, 0x205F))
_SYMBOLS += ((0x2190, 0x2C00), (0x3001, 0x3005), (0x3008, 0x3021), (0xFE30, 0xFE70), (0xFF01, 0xFF10), (0xFF1A, 0xFF21))
_SPACES = ((0xA0, 0xA1), (0x2000, 0x2010), (0x2028, 0x2030), (0x205F, 0x2070), (0x3000, 0x3001), (0xFEFF, 0xFF00))
_ALONE_RANGES = ((0x0E00, 0x0E80), (0x3040, 0x3100), (0x3400, 0xA000), (0xF900, 0xFB00))
"""Thai, kana, Han: a run of them is a sentence, not a word. Ranges [from, to) of Unicode code points."""


def _kinds() -> npt.NDArray[np.uint8]:
    """What kind of character each code point below 2**16 is."""
    kinds = np.full(1 << 16, _WORD, dtype=np.uint8)
    for code in range(128):
        character = chr(code)
        kinds[code] = _WORD if character.isalnum() else _SPACE if code <= 32 or code == 127 else _SYMBOL
    for ranges, kind in ((_SYMBOLS, _SYMBOL), (_SPACES, _SPACE), (_ALONE_RANGES, _ALONE)):
        for first, end in ranges:
            kinds[first:end] = kind
    return kinds


_KINDS = _kinds()


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters of a batch of texts, one after the other."""

    points: npt.NDArray[np.uint32]
    """Code points of the lower-case texts; a line feed after each text."""
    row: Ints
    """Place in the batch of each character."""
    sums: Codes
    """Running sum of mixed character x BASE**place; one longer than `points`."""
    rows: int

    def span(self, start: Ints, end: Ints) -> Codes:
        """The number of each span of characters [start, end)."""
        return mixed((self.sums[end] - self.sums[start]) * _powers(_INVERSE, len(self.points) + 1)[start])


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of texts, in order."""

    code: Codes
    row: Ints
    """Place in the batch of each token."""
    symbol: Bools
    """Whether it is a run of symbols."""
    number: Bools
    """Whether it begins with a digit."""
    rows: int

    def runs(self, length: int) -> tuple[Codes, Ints]:
        """The number of every run of `length` tokens within one text, and the place of its first token."""
        code = self.code
        for step in range(1, length):
            code = mixed(code[:-1] * BASE + self.code[step:]) if len(code) else code
        if length == 1:
            return code, np.arange(len(code))
        inside = np.flatnonzero(self.row[: len(code)] == self.row[length - 1 :][: len(code)])
        return code[inside], inside

    def only(self, keep: Bools) -> Tokens:
        """Those tokens where `keep` is true, as if the others were not there."""
        return Tokens(self.code[keep], self.row[keep], self.symbol[keep], self.number[keep], self.rows)

    def bags(self) -> Codes:
        """One number a text: equal for texts with the same tokens, whatever their order."""
        return row_sums(mixed(self.code + np.uint64(1)), self.row, self.rows)


def read_characters(texts: Sequence[str], most: int | None = None) -> Characters:
    """The characters of texts, lower case.

    Args:
        texts: A batch; some megabytes at most, as about forty bytes are kept for each character.
        most: Characters of each text that are read. None: all.
    """
    lowered = [(text if most is None else text[:most]).lower() for text in texts]
    lengths = np.fromiter((len(text) + 1 for text in lowered), dtype=np.int64, count=len(lowered))
    joined = "\n".join([*lowered, ""]) if lowered else ""
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32, copy=False)
    sums = np.zeros(len(points) + 1, dtype=np.uint64)
    np.cumsum(mixed(points.astype(np.uint64)) * _powers(BASE, len(points)), out=sums[1:])
    return Characters(points, np.repeat(np.arange(len(lowered)), lengths), sums, len(lowered))


def read_tokens(texts: Sequence[str], most: int | None = None) -> Tokens:
    """The tokens of texts.

    Args:
        texts: A batch.
        most: Characters of each text that are read. None: all.
    """
    return tokens_of(read_characters(texts, most))


def tokens_of(characters: Characters) -> Tokens:
    """The same of characters that were read already."""
    points = characters.points
    if not len(points):
        nothing = np.zeros(0, dtype=np.int64)
        return Tokens(nothing.astype(np.uint64), nothing, nothing > 0, nothing > 0, characters.rows)
    kind = np.where(points < (1 << 16), _KINDS[np.minimum(points, 0xFFFF)], _WORD).astype(np.uint8)
    kind[(points >= 0xE0000) & (points < 0xE0080)] = _SPACE  # tag characters: nobody sees them
    before = np.concatenate(([np.uint8(_SPACE)], kind[:-1]))
    border = np.flatnonzero((kind != before) | (kind == _ALONE))
    is_token = kind[border] != _SPACE
    start, end = border[is_token], np.append(border[1:], len(points))[is_token]
    first = points[start]
    return Tokens(
        code=characters.span(start, end),
        row=characters.row[start],
        symbol=kind[start] == _SYMBOL,
        number=(first >= ord("0")) & (first <= ord("9")),
        rows=characters.rows,
    )


def character_runs(characters: Characters, length: int) -> tuple[Codes, Ints]:
    """The number of every run of `length` characters within one text, spaces included, and the text's place."""
    count = len(characters.points) - length + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    start = np.arange(count)
    # A text's own line feed belongs to it: a run may end with it, never begin the next text.
    start = start[characters.row[:count] == characters.row[length - 1 :]]
    return characters.span(start, start + length), characters.row[start]


def mixed(codes: Codes) -> Codes:
    """Every bit of the result depends on every bit of the number (finaliser of SplitMix64)."""
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Codes = codes ^ (codes >> np.uint64(31))
    return result


def row_sums(codes: Codes, row: Ints, rows: int) -> Codes:
    """Sum modulo 2**64 of each text's codes; `row` ascends."""
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes, out=sums[1:])
    edges = np.searchsorted(row, np.arange(rows + 1))
    result: Codes = sums[edges[1:]] - sums[edges[:-1]]
    return result


def row_minima(codes: Codes, row: Ints, rows: int) -> Codes:
    """Smallest code of each text, the largest number of all where it has none; `row` ascends."""
    smallest = np.full(rows, np.iinfo(np.uint64).max, dtype=np.uint64)
    if len(codes):
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        smallest[row[starts]] = np.minimum.reduceat(codes, starts)
    return smallest


def row_batches(rows: Rows, keep: Bools | None = None, *, most: int = MOST_CHARACTERS) -> Iterator[list[Row]]:
    """Rows in lists whose texts and answers together have some hundred thousand characters.

    Args:
        rows: All rows.
        keep: Which to give, by key. None: all.
        most: Characters of each text that count.
    """
    batch: list[Row] = []
    characters = 0
    for row in rows:
        if keep is not None and not keep[row.key]:
            continue
        batch.append(row)
        characters += min(len(row.text), most) + min(len(row.answer), most)
        if characters >= BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


_POWERS: dict[int, Codes] = {}


def _powers(base: np.uint64, count: int) -> Codes:
    """base**0, base**1, … modulo 2**64; made once, as every batch needs the same ones."""
    known = _POWERS.get(int(base))
    if known is None or len(known) < count:
        known = np.ones(max(count, 1 << 16), dtype=np.uint64)
        np.cumprod(np.full(len(known) - 1, base, dtype=np.uint64), out=known[1:])
        _POWERS[int(base)] = known
    return known[:count]
