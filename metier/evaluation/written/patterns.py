"""Regular expressions with a time limit: a pattern that backtracks for ever fails one answer, not the run.

The standard library cannot stop a search that has begun, so the package `regex` does it, in its compatible mode. It
comes with transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.errors import ArgumentError, MissingPackage

SECONDS = 0.5
"""Longest search in one answer."""


@dataclass(frozen=True, eq=False)
class TimedPattern:
    """A compiled pattern."""

    pattern: str
    seconds: float = SECONDS
    where: str = "pattern"
    _compiled: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compile it, in the mode that reads patterns as Python's `re` does.

        Raises:
            ArgumentError: It is no regular expression.
            MissingPackage: The package `regex` is not there.
        """
        try:
            import regex  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingPackage(
                self.where, "the package `regex` is not installed", "", "Install it with: pip install regex"
            ) from error
        try:
            compiled = regex.compile(self.pattern, regex.VERSION0)
        except regex.error as error:
            raise ArgumentError(self.where, f"is no regular expression ({error})", "one that Python reads") from error
        object.__setattr__(self, "_compiled", compiled)

    def search(self, text: str) -> bool | None:
        """Whether the pattern is found anywhere in `text`; None when the time was up."""
        try:
            return self._compiled.search(text, timeout=self.seconds) is not None
        except TimeoutError:
            return None

    def matches(self, text: str | None) -> bool | None:
        """Whether the pattern is the whole text, white space at both ends left out; None when the time was up."""
        if text is None:
            return False
        try:
            return self._compiled.fullmatch(text.strip(), timeout=self.seconds) is not None
        except TimeoutError:
            return None


def too_slow(found: Sequence[bool | None]) -> int:
    """How many of some results are unknown because the time was up."""
    return sum(each is None for each in found)
