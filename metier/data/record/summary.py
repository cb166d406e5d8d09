"""What the record says, as frozen values: gathered by `read.py`, drawn by the report room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metier.data.card import DataCard, StageHash
from metier.data.record.licences import Licences


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one cleaning step found, and what policy did about it."""

    step: str
    version: int
    looked_at: int
    """Rows."""
    doubts: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    done: Mapping[str, int] = field(default_factory=dict)
    """Rows by what was done: `dropped`, `relabelled`, `flagged`, … Empty: nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLine:
    """One row that something was found in or done to."""

    source: str
    row: int
    split: str | None
    """Where it stands now; None: in no split, or not known."""
    detail: str = ""
    others: str = ""
    """Other rows that are part of it; of a decision what was suspected."""
    suggestion: str | None = None
    score: float | None = None
    text: str | None = None
    """Its text, where the recipe allows texts in reports."""


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Rows of one kind."""

    what: str
    """`doubted`, `decided`, `rejected` or `changed`."""
    reason: str
    step: str
    """`step, version 1`; empty where that is not known."""
    count: int
    rows: tuple[RowLine, ...]
    """The first of them."""


@dataclass(frozen=True, kw_only=True)
class ToDecide:
    """Something that only a person can decide."""

    what: str
    """A sentence."""
    rows: int
    """Rows that it is about; 0: it is about no row."""
    how: str
    """A command, or a field of the recipe."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Reason -> doubts, the most frequent first; empty: it is about no doubts."""


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """What was found in a run's data, what was done, and what a person should decide."""

    name: str
    run: str
    """The run folder's name."""
    card: DataCard
    steps: tuple[StepRecord, ...]
    stages: tuple[StageHash, ...]
    licences: Licences
    groups: tuple[RowGroup, ...]
    to_decide: tuple[ToDecide, ...]
    texts: bool
    """Whether texts of rows are in it."""
    decided: int = 0
    """Decisions of a person that the run had."""
