"""What can be known before a run, as frozen values without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from metier.planning.outlook import Plan


class PayingJudgement(Protocol):
    """What is said about whether training can pay: a frozen value of the evaluation room."""

    @property
    def verdict(self) -> str:
        """`can pay`, `can hardly pay`, `cannot tell`."""

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""

    @property
    def smallest_gain(self) -> float | None:
        """Smallest gain that the test set shows with 80 % power; None where no gain could."""


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
    """None of the test set and of tasks without labels."""
    groups: int | None
    official: bool
    """Whether it is a file of its own."""


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What the conversations, passages or preferences of train and validation are like; the test set stays sealed."""

    records: int
    turns: tuple[int, int] | None
    """Median and most turns of a record, system prompts aside; None for passages."""
    with_system: int
    """Records that bring their own system prompt."""
    with_tools: int
    """Records that offer tools."""
    with_calls: int
    """Records in which tools are called."""
    not_learned: int
    """Turns of the assistant that the data keeps out of training (`weight: 0`)."""
    characters: tuple[int, int]
    """Median and most characters of an answer, or of a passage."""
    distinct: int
    """Distinct answers or passages."""


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
    shape: str = "columns"
    """How rows hold their records: `columns`, `messages`, …"""
    answer_column: str | None = None
    texts: TextFacts | None = None
    """None for classification."""
    steps: tuple[str, ...] = ()
    """What the cleaning steps found, a sentence for each that found something."""


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
class ShownPiece:
    """A stretch of what the model reads, all of it learned or none."""

    text: str | None
    """None where the recipe keeps texts out of reports."""
    learned: bool
    tokens: int
    end: bool = False
    """Whether its last token, and no other, ends a turn or a text."""


@dataclass(frozen=True, kw_only=True)
class PieceView:
    """One training record as the model reads it, or the part of it that is read at once."""

    place: RowPlace
    about: str
    """Which part of the record it is (`messages 2 and 4 are learned`, `window 1 of 3`); empty: all of it."""
    pieces: tuple[ShownPiece, ...]


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
    counted: int | None = None
    """Records whose tokens were counted, where they are a sample; median, longest and cut are of these."""


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
class LongAnswer:
    """One of the longest answers, in tokens."""

    place: RowPlace
    tokens: int


@dataclass(frozen=True, kw_only=True)
class LearnedTokens:
    """What is learned of all training records, counted in tokens: conversations or passages."""

    records: int
    """Training records."""
    encoded: int
    """Those that were turned into tokens; when fewer than all, token counts are estimates from them."""
    used: int
    """Records of which something is learned."""
    sequences: int
    """Answers, or windows of passages, that are learned."""
    learned: int
    """Tokens that are learned."""
    read: int
    """Tokens that are only read; what the turns of one record share counts once."""
    ends: int
    """Sequences of `looked_at` whose end is learned."""
    looked_at: int
    end_token: str
    """Name and number of the token that ends an answer or a passage."""
    left_out: tuple[RejectedRows, ...]
    """Records of which nothing can be learned, by reason."""
    longest: tuple[LongAnswer, ...] = ()
    """The longest answers; empty for passages."""
    max_new_tokens: int | None = None
    """Longest answer that will be written; None for passages."""
    max_new_tokens_given: bool = False
    """Whether the recipe says so; otherwise it follows from the training answers."""
    longer_answers: int = 0
    """Training answers longer than that."""


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
    learned: LearnedTokens | None = None
    """None for classification, where a label is what is learned."""
    pieces: tuple[PieceView, ...] = ()
    """A few training records in pieces, where answers are written or passages read; `views` is empty then."""
    notices: tuple[str, ...] = ()
    """What the model's template does to the records, as sentences."""


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
    plan: Plan | None
    """None where nothing is trained yet."""
    paying: PayingJudgement | None
    """None where it was not asked for or could not be judged."""
    paying_reason: str | None
    """Why it could not."""
    warnings: tuple[str, ...]
    judged: str = "test"
    """The set that the recipe's verdict is about."""
    openings: int | None = None
    """How often its test set was opened before. None: not looked up, or it stays closed."""
    retraining: tuple[str, ...] = ()
    """What is to be said about folds and seeds, as sentences."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes the run pointless, of all candidates."""
        return tuple(f"{candidate.name}: {fault}" for candidate in self.candidates for fault in candidate.faults)
