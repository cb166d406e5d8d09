"""A text with its words, lines and repeated runs, each worked out once, for rules that look at the same text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

TOP = (2, 3, 4)
DUPLICATED = (5, 6, 7, 8, 9, 10)
"""Lengths of runs of words, as in table A1 of arXiv 2112.11446."""


@dataclass(frozen=True)
class Measured:
    """A text as the rules see it."""

    text: str

    @cached_property
    def lowered(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @cached_property
    def words(self) -> list[str]:
        """What white space parts."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not empty, without white space around them."""
        return [line.strip() for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What empty lines part."""
        parts = (part.strip() for part in self.text.split("\n\n"))
        return [part for part in parts if part]

    @cached_property
    def characters(self) -> int:
        """Of all words, white space left out."""
        return sum(map(len, self.words))

    @cached_property
    def run_shares(self) -> dict[int, float]:
        """Share of characters in repeated runs of words, by the run's length: 0 where no run is repeated.

        Of 2 to 4 words: in the most frequent run (times its occurrences; the longest of equally frequent ones; at
        most 1 where it overlaps itself). Of 5 to 10: in all runs that stood before already, each character once.
        """
        shares = dict.fromkeys((*TOP, *DUPLICATED), 0.0)
        for length in shares:
            runs = list(zip(*(self.words[first:] for first in range(length)), strict=False))
            if len(set(runs)) == len(runs):
                break  # no run of this length is repeated, so no longer one is
            shares[length] = self._top_share(runs) if length in TOP else self._duplicated_share(runs, length)
        return shares

    def _top_share(self, runs: list[tuple[str, ...]]) -> float:
        counts = Counter(runs)
        most = max(counts.values())
        longest = max(sum(map(len, run)) for run, count in counts.items() if count == most)
        return min(1.0, most * longest / self.characters)

    def _duplicated_share(self, runs: list[tuple[str, ...]], length: int) -> float:
        seen: set[tuple[str, ...]] = set()
        covered = bytearray(len(self.words))
        for position, run in enumerate(runs):
            if run in seen:
                covered[position : position + length] = b"\x01" * length
            else:
                seen.add(run)
        return sum(len(word) for word, is_covered in zip(self.words, covered, strict=True) if is_covered) / (
            self.characters
        )
