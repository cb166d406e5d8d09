"""What can be known before a run, as frozen values without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class PayingJudgement(Protocol):
    """What is said about whether training can pay: a frozen value of the evaluation room."""

    @property
    def verdict(self) -> str:
        """`can pay`, `can hardly pay`, `cannot tell`."""

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""


@dataclass(frozen=True, kw_only=True)
class RowPlace:
    """Where a record stands in the user's files."""

    source: str
    row: int


@dataclass(frozen=True, kw_only=True)
class RejectedRows:
    """Rows that will not be used, for one reason."""

    reason: str
    count: int
    first: tuple[RowPlace, ...]
    """The first few of them."""


@dataclass(frozen=True, kw_only=True)
class SplitFindings:
    """One split. Of the test set nothing but its size."""

    name: str
    rows: int
    labels: int | None
    groups: int | None
    official: bool
    """Whether it is a file of its own."""


@dataclass(frozen=True, kw_only=True)
class DataFindings:
    """What preparation found and did."""

    sources: tuple[str, ...]
    """Files with format and rows, in words."""
    text_columns: tuple[str, ...]
    template: str | None
    label_column: str
    group_column: str | None
    found_by_itself: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[SplitFindings, ...]
    rejected: tuple[RejectedRows, ...]
    rejected_file: str
    """Where a run writes all of them, with their content."""
    changed: Mapping[str, int]
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ShownToken:
    """One token of a record as the model meets it."""

    id: int
    text: str | None
    """None where the recipe keeps texts out of reports."""
    trained: bool
    """Whether the model is trained to say it; otherwise it is only read."""
    end_of_turn: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenView:
    """One training record, token by token."""

    place: RowPlace
    label: str | None
    """None where the recipe keeps texts out of reports."""
    tokens: tuple[ShownToken, ...]
    target_class: int | None
    """Number of the class that a head is trained to choose; None for a model that answers in words."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the texts of one split are for one candidate, in tokens of its model."""

    split: str
    rows: int
    median: int
    longest: int
    limit: int
    cut: int
    """Records whose text is longer than the limit allows."""
    cut_first: tuple[RowPlace, ...]
    """The first ten of them."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What may learn."""

    method: str
    trainable: int
    parameters: int
    trunk_layers: int
    layers: int
    groups: Mapping[str, int]
    """Trainable parameters by group of names."""
    steps: int
    """Optimiser steps at most; 0 where the head is solved in closed form."""
    validations: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class CandidateFindings:
    """One candidate before its training."""

    name: str
    model: str
    kind: str
    """`decoder` or `encoder`."""
    source: str
    licence: str
    notes: tuple[str, ...]
    in_words: bool
    """Whether it answers in words; otherwise with a head."""
    learning: Learning
    views: tuple[TokenView, ...]
    trained_part: str
    """What is trained, as a sentence; for an answer in words, that end of turn is."""
    lengths: tuple[Lengths, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """One part of a run: what is computed, and how long that may take."""

    stage: str
    what: str
    tokens: int
    """Tokens computed: shared beginnings count once."""
    logical_tokens: int
    """Tokens of the same work without sharing."""
    flops: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the most expensive moment, by what they hold."""

    program: int
    weights: int
    learning: int
    """What learns: gradients and the optimiser's state, and adapters themselves."""
    activations: int
    logits: int
    trunk: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.program + self.weights + self.learning + self.activations + self.logits + self.trunk


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Memory and time of the whole run, estimated."""

    stages: tuple[StageEstimate, ...]
    seconds: float
    factor: float
    """Real times are expected between `seconds / factor` and `seconds * factor`."""
    memory: MemoryEstimate
    memory_bytes: int
    """Its total."""
    memory_available: int | None
    """Free on this machine now; None where the device's own memory is not known."""
    cache_bytes: int
    """Boundary states and features in the cache folder."""
    disk_bytes: int
    """Checkpoints and models in the run folder."""
    flops_per_second: float
    """Matrix products of this model's shapes and type, as measured now."""
    assumptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything that can be known without training."""

    name: str
    task: str
    recipe_hash: str
    folder: str
    """Where the run would go."""
    device: str
    dtype: str
    threads: int
    hardware_reason: str
    data: DataFindings
    candidates: tuple[CandidateFindings, ...]
    plan: Plan
    paying: PayingJudgement | None
    """None where it was not asked for or could not be judged."""
    paying_reason: str | None
    """Why it could not."""
    warnings: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes the run pointless, of all candidates."""
        return tuple(f"{candidate.name}: {fault}" for candidate in self.candidates for fault in candidate.faults)
