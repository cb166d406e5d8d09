"""What prediction leaves, as frozen values without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class AnsweredRow:
    """What is written beside one row of a file."""

    answer: str | None
    """The most probable label, or what was written; None when the row could not be answered."""
    probability: float | None
    """Of that label; None where there is no answer or the model gives none."""
    reason: str | None
    """Why there is no answer (`empty text`, `broken row: …`, `for a person: …`), or `cut` where only a part of the
    text was read, or `unfinished` where the answer reached its longest length."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A file that was answered."""

    output: Path
    rows: int
    """All rows of the input, broken ones included: as many are in the output."""
    answered: int
    cut: int
    """Answered rows whose text was too long and was cut."""
    unfinished: int
    """Written answers that reached the longest length."""
    unanswered: Mapping[str, int]
    """Rows without an answer, by reason."""
    continued: int
    """Different texts whose answers were taken over from an interrupted prediction."""
    columns: tuple[str, ...]
    """Names of the added columns: answer, probability, reason."""
    threshold: float | None = None
    """Least probability with which an answer is given. None: all are."""
    to_a_person: int = 0
    """Rows whose answer is less sure than that: their answer is empty, and the reason says so."""
