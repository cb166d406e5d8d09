"""A moving part of a long text: records are read from it, what was read is let go, more is fetched when needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from metier.data.decoding import LONG_LINE, MOST_LINE


class Window:
    """Text from `position` on.

    It grows by as much as it holds, so that a record which needs many steps is still read in linear time, and
    not beyond `MOST_LINE` characters: a quote that is never closed does not bring a whole file into memory.
    """

    def __init__(self, blocks: Iterable[str]) -> None:
        """Nothing is fetched yet.

        Args:
            blocks: A text, cut anywhere; for who reads by line, cut where lines end.
        """
        self._blocks = iter(blocks)
        self.ended = False
        """Whether the text has no more than what is here."""
        self.text = ""
        self.position = 0
        self.holds_long_line = False
        """Whether a line of the text may be `LONG_LINE`."""

    @property
    def may_grow(self) -> bool:
        """Whether more text can be fetched behind the record at `position`."""
        return not self.ended and len(self.text) - self.position < MOST_LINE

    def reaches(self) -> bool:
        """Whether there is text at `position`; fetches it if need be."""
        return self.position < len(self.text) or self.grow()

    def grow(self) -> bool:
        """Let go what lies before `position`, which becomes 0, and fetch at least as much as is left.

        Returns:
            Whether there was more.
        """
        parts = [self.text[self.position :]]
        wanted, fetched = max(len(parts[0]), 1), 0
        while fetched < wanted and not self.ended:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                break
            parts.append(block)
            fetched += len(block)
        self.text, self.position = "".join(parts), 0
        self.holds_long_line = LONG_LINE in self.text
        return fetched > 0

    def shrink(self, size: int) -> None:
        """Let go what lies before `position`, which becomes 0, and keep `size` characters; the rest is fetched again.

        Args:
            size: Characters, and those of each piece that is then fetched.
        """
        rest = self.text[self.position + size :]
        self.text, self.position = self.text[self.position : self.position + size], 0
        if rest:
            self._blocks, self.ended = chain(in_pieces([rest], size), self._blocks), False


def in_pieces(blocks: Iterable[str], size: int) -> Iterator[str]:
    """The same text in blocks of at most so many characters.

    Args:
        blocks: A text, cut anywhere.
        size: Characters of a block, at most.
    """
    return (block[start : start + size] for block in blocks for start in range(0, len(block), size))
