"""What to do with a text that is too long: policies as pure functions from a text to the texts that stay.

A cut falls at the end of a paragraph, else of a line, else of a sentence, where one lies in the second half of what
fits, else at the end of a word, and inside a word only where a word alone does not fit. Nothing but white space at the
cuts is lost by a split.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from metier.data.cleaning.lengths import CountTokens
from metier.errors import DataError

# The last character before a good place to cut, best first.
_ENDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\S(?=[^\S\n]*\n[^\S\n]*\n)",
        r"\S(?=[^\S\n]*\n)",
        r"[.!?…]['\"”’»)\]]*(?=\s)|[。！？][”’」』）]*",
        r"\S(?=\s)",
    )
)
_WORD_END = _ENDS[-1]
AHEAD = 100
"""Characters behind the limit that are looked at, to see whether a good place lies right on it."""
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How long a text may be."""

    most: int
    """At least 1."""
    unit: Literal["characters", "words", "tokens"]
    count_tokens: CountTokens | None = None
    """Needed for tokens."""

    def size(self, text: str) -> int:
        """How long `text` is, in this unit.

        Raises:
            DataError: Tokens are to be counted, and nothing can.
        """
        if self.unit == "characters":
            return len(text)
        if self.unit == "words":
            return len(text.split())
        if self.count_tokens is None:
            raise DataError(
                "data.lengths", "has a limit in tokens, and there is no tokenizer", "words or characters",
                "Give the limit in words, or name a model.",
            )  # fmt: skip
        return int(self.count_tokens([text])[0])


def split_text(text: str, limit: Limit) -> tuple[str, ...]:
    """`text` in pieces that fit, in order; itself alone where it fits.

    Raises:
        DataError: Tokens are to be counted, and nothing can.
    """
    pieces: list[str] = []
    start = _beginning(text, limit)
    while start < len(text):
        end = _end_of_piece(text, start, limit)
        pieces.append(text[start:end].rstrip() if end < len(text) else text[start:])
        start = _after_space(text, end)
    return tuple(pieces) or ("",)


def cut_text(text: str, limit: Limit) -> str:
    """The beginning of `text` that fits, to a good place to end.

    Raises:
        DataError: Tokens are to be counted, and nothing can.
    """
    start = _beginning(text, limit)
    end = _end_of_piece(text, start, limit)
    return text[start:] if end >= len(text) else text[start:end].rstrip()


def _refuse(text: str, limit: Limit) -> tuple[str, ...]:
    raise DataError(
        "data.lengths",
        f"has a text of {limit.size(text):,} {limit.unit}",
        f"at most {limit.most:,}",
        "Choose `drop`, `cut` or `split`, or raise the limit.",
    )


LENGTH_POLICIES: dict[str, Callable[[str, Limit], tuple[str, ...]]] = {
    "drop": lambda text, limit: (),
    "cut": lambda text, limit: (cut_text(text, limit),),
    "split": split_text,
    "refuse": _refuse,
}
"""What stays of a text that is too long, by policy. Rows of the test set are answered as they are, whatever it is."""


def _beginning(text: str, limit: Limit) -> int:
    """Where the first piece begins: a text that does not fit loses the white space before it."""
    return 0 if _FIT[limit.unit](text, 0, limit) >= len(text) else _after_space(text, 0)


def _end_of_piece(text: str, start: int, limit: Limit) -> int:
    """Where the piece that begins at `start` ends; at least one character on."""
    fits = _FIT[limit.unit](text, start, limit)
    if fits >= len(text):
        return len(text)
    end = _good_end(text, start, fits)
    # A tokenizer may need more tokens for less text, by one or two.
    while limit.unit == "tokens" and end > start + 1 and limit.size(text[start:end]) > limit.most:
        end -= 1
    return max(end, start + 1)


def _good_end(text: str, start: int, fits: int) -> int:
    half = start + (fits - start - 1) // 2
    for pattern in _ENDS:
        best = 0
        for found in pattern.finditer(text, start if pattern is _WORD_END else half, fits + AHEAD):
            if found.end() > fits:
                break
            best = found.end()
        if best:
            return best
    # Inside a word: not between a letter and its accent, nor inside an emoji of several characters.
    end = fits
    while end > start + 1 and _belongs_to_the_one_before(text, end):
        end -= 1
    return end


def _belongs_to_the_one_before(text: str, at: int) -> bool:
    return bool(unicodedata.combining(text[at])) or text[at] in "\u200d\ufe0f" or text[at - 1] == "\u200d"


def _fit_characters(text: str, start: int, limit: Limit) -> int:
    return min(start + limit.most, len(text))


def _fit_words(text: str, start: int, limit: Limit) -> int:
    end = start
    for number, found in enumerate(_WORD.finditer(text, start)):
        if number == limit.most:
            return end
        end = found.end()
    return len(text)


def _fit_tokens(text: str, start: int, limit: Limit) -> int:
    # Doubling first, so that a piece costs what it is long and not what the whole rest is.
    low, step = start, 4 * limit.most
    high = min(start + step, len(text))
    while limit.size(text[start:high]) <= limit.most:
        if high == len(text):
            return high
        step *= 2
        low, high = high, min(start + step, len(text))
    while high - low > 1:
        middle = (low + high) // 2
        if limit.size(text[start:middle]) <= limit.most:
            low = middle
        else:
            high = middle
    return max(low, start + 1)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


_FIT: dict[str, Callable[[str, int, Limit], int]] = {
    "characters": _fit_characters,
    "words": _fit_words,
    "tokens": _fit_tokens,
}
