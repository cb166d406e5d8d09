"""Everything that a report shows, read from a run folder: values of the other rooms, gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metier.data.card import DataCard
from metier.evaluation.results import Comparison, Evaluation, Overfitting
from metier.model.summary import ModelSummary
from metier.training.history import History


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """One candidate's attempt: what learned, how training went, how it did on validation."""

    name: str
    number: int
    model: ModelSummary
    history: History
    validation: Evaluation
    promoted: bool


@dataclass(frozen=True, kw_only=True)
class Example:
    """An answered test record, with its text when the recipe allows text in the report."""

    id: str
    source: str
    row: int
    text: str | None
    gold: str
    answers: Mapping[str, str | None]
    """System name to answer."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A finished run."""

    name: str
    run_id: str
    folder: str
    recipe: Mapping[str, Any]
    """The resolved recipe, as plain values."""
    lock: Mapping[str, Any]
    """Versions, fingerprints, hardware, chosen paths, seed."""
    data: DataCard
    attempts: tuple[AttemptSummary, ...]
    test: tuple[Evaluation, ...]
    """Every system on the test set, baselines first, promoted (`tuned`) last."""
    comparison: Comparison
    overfitting: Overfitting | None
    examples: tuple[Example, ...]
    seconds: float
    stage_seconds: Mapping[str, float]
    peak_memory_bytes: int | None
    promotion: str = ""
    """Why the promoted attempt was chosen, as the run wrote it down."""
