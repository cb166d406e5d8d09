"""Phrases of one to three tokens that occur in many rows, counted exactly in bounded memory.

One pass counts all of them in one table by a part of their numbers, which never counts too low; the second counts
those that may be frequent by their whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import Bools, Codes, Ints, Tokens, read_tokens, row_batches
from metier.data.cleaning.rows import Row, Rows

Number = TypeVar("Number", np.uint64, np.int64)

LONGEST = 3
"""Tokens of a phrase at most; a longer one shows in its parts."""
MOST_READ = 50_000
"""Characters of a text that are read for phrases."""
MOST_IN_ALL = 100_000_000
"""Characters of all texts together for which the table is large enough; with more, rare phrases look frequent in it."""
MOST_PHRASES = 400_000
"""Phrases that are kept at most; half a kilobyte is added up for each. Of more, those of the fewest rows go."""
_BITS = 24
_SIEVE_BITS = 22


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """The frequent phrases, in the order of their numbers."""

    code: Codes
    """Number of each phrase, ascending."""
    rows: Ints
    """In how many rows each occurs."""
    sieve: Bools
    """Whether any phrase has a number that begins with these 22 bits, shape (2**22,)."""

    @classmethod
    def of(cls, code: Codes, rows: Ints | None = None) -> Phrases:
        """Phrases of these numbers.

        Args:
            code: Ascending.
            rows: In how many rows each occurs. None: not known, 0.
        """
        sieve = np.zeros(1 << _SIEVE_BITS, dtype=np.bool_)
        sieve[(code >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)] = True
        return cls(code=code, rows=np.zeros(len(code), dtype=np.int64) if rows is None else rows, sieve=sieve)

    def find(self, codes: Codes) -> Ints:
        """Place of each code, -1 where it is not frequent."""
        found = np.full(len(codes), -1)
        # Most phrases of a text are rare: a table that fits a cache says so of nearly all of them.
        maybe = np.flatnonzero(self.sieve[(codes >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)])
        if len(maybe):
            place = np.minimum(np.searchsorted(self.code, codes[maybe]), len(self.code) - 1)
            found[maybe] = np.where(self.code[place] == codes[maybe], place, -1)
        return found

    def occurrences(self, tokens: Tokens) -> tuple[Ints, Ints, Ints]:
        """Phrase, first token and length of the first occurrence of each frequent phrase in each row of a batch."""
        found, starts, lengths = [], [], []
        for length, code, start in _runs(tokens):
            phrase = self.find(code)
            known = np.flatnonzero(phrase >= 0)
            found.append(phrase[known])
            starts.append(start[known])
            lengths.append(np.full(len(known), length))
        phrase, start, size = np.concatenate(found), np.concatenate(starts), np.concatenate(lengths)
        pair = tokens.row[start] * max(len(self.code), 1) + phrase
        first = np.unique(pair, return_index=True)[1]
        return phrase[first], start[first], size[first]


def read_text(row: Row) -> str:
    """What is asked."""
    return row.text


def read_answer(row: Row) -> str:
    """What is answered."""
    return row.answer


def token_batches(rows: Rows, keep: Bools, read: Callable[[Row], str]) -> Iterator[tuple[Ints, Tokens]]:
    """Keys and tokens of the rows that are kept, a batch at a time.

    Args:
        rows: All rows.
        keep: Which are read, by key.
        read: Their text, or their answer.
    """
    for batch in row_batches(rows, keep, most=MOST_READ):
        yield np.array([row.key for row in batch]), read_tokens([read(row) for row in batch], MOST_READ)


def frequent_phrases(rows: Rows, keep: Bools, read: Callable[[Row], str], *, fewest: int, most: int) -> Phrases:
    """Find the phrases that occur in `fewest` to `most` rows, `MOST_PHRASES` at most; the rows are gone through twice.

    Args:
        rows: All rows.
        keep: Which are read, by key.
        read: Their text, or their answer.
        fewest: Rows a phrase occurs in at least.
        most: Rows it occurs in at most.
    """
    seen = np.zeros(1 << _BITS, dtype=np.int32)
    for _, tokens in token_batches(rows, keep, read):
        for _, code, _ in _runs(tokens):
            np.add.at(seen, _slot(code), 1)
    codes, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    for _, tokens in token_batches(rows, keep, read):
        for _, code, start in _runs(tokens):
            often = np.flatnonzero(seen[_slot(code)] >= fewest)
            order = often[np.lexsort((code[often], tokens.row[start[often]]))]
            row, here = tokens.row[start[order]], code[order]
            new = np.ones(len(order), dtype=np.bool_)
            new[1:] = (row[1:] != row[:-1]) | (here[1:] != here[:-1])
            codes, counts = added(codes, counts, *np.unique(here[new], return_counts=True))
    kept = (counts >= fewest) & (counts <= most)
    if np.count_nonzero(kept) > MOST_PHRASES:
        kept &= counts > np.sort(counts[kept])[-MOST_PHRASES - 1]
    return Phrases.of(codes[kept], counts[kept])


def added(
    codes: npt.NDArray[Number], counts: Ints, more: npt.NDArray[Number], more_counts: Ints
) -> tuple[npt.NDArray[Number], Ints]:
    """Two tables of counts by code as one.

    Args:
        codes: Of one table, ascending.
        counts: Its counts.
        more: Codes of the other.
        more_counts: Its counts.

    Returns:
        The codes of both, ascending, and their counts added.
    """
    every, place = np.unique(np.concatenate((codes, more)), return_inverse=True)
    total = np.zeros(len(every), dtype=np.int64)
    np.add.at(total, place, np.concatenate((counts, more_counts)))
    return every, total


def _runs(tokens: Tokens) -> Iterator[tuple[int, Codes, Ints]]:
    """Length, number and first token of every phrase; equal numbers mean equal phrases of the same length."""
    for length in range(1, LONGEST + 1):
        code, start = tokens.runs(length)
        yield length, code + np.uint64(length), start


def _slot(code: Codes) -> Ints:
    return (code >> np.uint64(64 - _BITS)).astype(np.int64)
