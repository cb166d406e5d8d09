"""What happened while training, as frozen values: one row of `history.jsonl` each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One optimiser step."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    """Target tokens (or records, for a head) whose loss was summed."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ValidationRow:
    """One validation."""

    step: int
    epoch: float
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole training: its steps, its validations, and how it ended."""

    steps: tuple[StepRow, ...]
    validations: tuple[ValidationRow, ...]
    best_step: int
    stopped: str
    """`finished`, `early stopping`, or `closed form` (a head on frozen features)."""
    seconds: float
    examples: int
    tokens_computed: int
    """Tokens that went through the trainable layers."""
    tokens_logical: int
    """Tokens that the same examples have without sharing."""
    gradient_checkpointing: bool = False
    """Whether blocks computed their activations again in the backward pass."""
