"""Everything that a report shows, read from a run folder: values of the other rooms, gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metier.data.card import DataCard
from metier.data.privacy.account import Account
from metier.data.record.summary import StepRecord
from metier.data.records import Message
from metier.evaluation.evidence import ErrorReport, Robustness, SeedStatement, SliceReport, Trust
from metier.evaluation.results import Ablation, Comparison, Evaluation, FoldReport, Overfitting
from metier.evaluation.standings import JudgeReport
from metier.evaluation.swap_values import SwapReport
from metier.model.summary import ModelSummary
from metier.planning.receipt_values import Receipt
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
class WrittenAnswer:
    """What one system wrote to one record."""

    system: str
    text: str | None
    """None when it gave no answer; the reason says why."""
    score: float | None
    """The primary metric of this answer alone."""
    stop: str | None = None
    reason: str | None = None
    is_json: bool | None = None
    """Whether it is a JSON object; None where answers need not be."""


@dataclass(frozen=True, kw_only=True)
class WrittenExample:
    """A test record with what every system wrote, the candidate first."""

    id: str
    source: str
    row: int
    turns: tuple[Message, ...]
    """What was asked: the turns before the answer."""
    gold: str
    answers: tuple[WrittenAnswer, ...]
    gain: float | None
    """The candidate's score minus that of the best baseline, turned so that positive is better."""
    tools: str | None = None
    why: tuple[str, ...] = ()
    """Why it is shown: names in `picks.WHY`."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A test document (a passage, or the passages of one group) with the score of every system."""

    name: str
    size: int
    """Bytes of its text."""
    scores: Mapping[str, float | None]
    """System name to the primary metric of this document alone."""
    gain: float | None
    why: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The test records that the page shows, by the kind of answer; all others are empty."""

    examples: tuple[Example, ...] = ()
    """Answered with a label."""
    written: tuple[WrittenExample, ...] = ()
    """Answered with a text."""
    documents: tuple[Document, ...] = ()
    """Read on."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What was found when one looked closer; each is None where nobody looked."""

    trust: Trust | None = None
    """How far its probabilities can be believed, and what it answers by itself."""
    slices: SliceReport | None = None
    """Where it is weak."""
    robustness: Robustness | None = None
    """What a change of wording costs."""
    errors: ErrorReport | None = None
    """The training rows nearest to its wrong answers."""
    seeds: SeedStatement | None = None
    """What several trainings of the recipe say."""
    folds: FoldReport | None = None
    """What each fold gave, where every row is a test row once."""
    judge: JudgeReport | None = None
    """What a judge model says of written answers."""
    swaps: SwapReport | None = None
    """What changes when records speak of another group, as a change from the base."""


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
    """Every system on the set that the verdict is about, baselines first, promoted (`tuned`) last."""
    comparison: Comparison
    overfitting: Overfitting | None
    examples: tuple[Example, ...]
    seconds: float
    stage_seconds: Mapping[str, float]
    peak_memory_bytes: int | None
    promotion: str = ""
    """Why the promoted attempt was chosen, as the run wrote it down."""
    written: tuple[WrittenExample, ...] = ()
    """Of tasks whose answers are written."""
    documents: tuple[Document, ...] = ()
    """Of the task `text`."""
    prompt: Mapping[str, Any] = field(default_factory=dict)
    """How the promoted model is asked, as it was saved with it; empty where it is not there."""
    receipt: Receipt | None = None
    """What the run took beside what was predicted; None where nothing was predicted."""
    steps: tuple[StepRecord, ...] = ()
    """The cleaning steps of the data, in their order."""
    ablation: Ablation | None = None
    """What cleaning changed; None where the recipe did not ask."""
    swaps: tuple[Evaluation, ...] = ()
    """Answers to test records with names, pronouns or group words swapped, a set each dimension, without items."""
    privacy: Account | None = None
    """What `privacy: strict` came to; None where it was not asked for."""
    looks: Looks = Looks()
    """What was found when one looked closer."""

    @property
    def task(self) -> str:
        """The recipe's task."""
        return str(self.recipe.get("task", "classification"))
