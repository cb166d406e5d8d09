"""What a cleaning step sees of the data, and what it says about it: frozen values without torch.

Row      one record as text, by its key
Doubt    a step's suspicion about one row
Finding  all that one step has to say: its doubts, counts and small tables
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SPLITS = ("train", "validation", "test", "unsplit")
"""Where a row may stand when a step looks; `unsplit`: splits are not drawn yet."""
CountsOfPart = Callable[[str], Mapping[str, int]]
"""How often something was seen in a part of a row, `text` or `answer`, by its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record as a step sees it."""

    key: int
    """Its place among all rows, from 0: the same through all steps."""
    split: str
    """One of `SPLITS`."""
    text: str
    """What a system is asked; of a conversation its turns before the answer, joined."""
    answer: str
    """The label of a choice, the written answer of a conversation; empty for passages."""
    labelled: bool
    """Whether `answer` is one of few labels and not written text."""
    group: str | None
    source: str
    """Name of the file that it came from."""
    row: int
    """Data row in that file, 1-based, header not counted."""


class Rows(Protocol):
    """All rows, in the order of their keys; may be gone through many times, each time read anew from disk."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Row]:
        """Every row, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What one step suspects of one row."""

    key: int
    step: str
    """A name in `STEPS`."""
    reason: str
    """Short key for counting, without numbers or names: `near duplicate`, `wrong label`."""
    detail: str
    """A sentence for a person, without text of the record: rows are named by file and number."""
    score: float | None = None
    """How sure, from 0 to 1, where the step can say that; larger is surer."""
    suggestion: str | None = None
    """What a person might decide: another label, `drop`, a repaired text's place; None: look at it."""
    others: tuple[int, ...] = ()
    """Keys of other rows that are part of it: what it repeats, what it contradicts."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one step has to say about all rows."""

    step: str
    version: int
    """Raised whenever the step's rules change: a logged decision names it."""
    looked_at: int
    doubts: tuple[Doubt, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason, and whatever else was counted."""
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    """Small tables for the page: name -> rows of cells by column; no text of records."""
    notes: tuple[str, ...] = ()
    """What was not looked at, and what the numbers cannot say, as sentences."""
    seconds: float = 0.0
