"""Every row of the table: what is compared, with whom, and what it should reach."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.context import Context
from bench.rows import first_step, generation, lora, score, sweep, target
from bench.side import WorkerFailed


@dataclass(frozen=True)
class Goal:
    """A ratio that must be reached, and the one that is wished for."""

    gate: float
    goal: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: a measurement and its goals."""

    title: str
    peer: str
    goals: dict[str, Goal]
    """By what is compared: a key of the result's `ratios`."""
    minutes: int
    """About how long it takes on two quiet cores."""
    run: Callable[[Context, str], dict[str, Any]]


TRL = "TRL + PEFT, checkpointing off, best of a grid"
ROWS: dict[str, Row] = {
    "lora-chat": Row(
        title="LoRA, natural chat data without shared prompts, tokens/s", peer=TRL,
        goals={"speed": Goal(1.3, 2), "memory": Goal(0.5, 0.35)}, minutes=10, run=lora.run,
    ),
    "lora-short": Row(
        title="LoRA, Banking77, short instruction, examples/s", peer=TRL,
        goals={"speed": Goal(3.5, 5), "memory": Goal(0.5, 0.35)}, minutes=8, run=lora.run,
    ),
    "lora-labels": Row(
        title="LoRA, Banking77, all 77 labels in the instruction, examples/s", peer=TRL,
        goals={"speed": Goal(6, 12), "memory": Goal(0.5, 0.35)}, minutes=9, run=lora.run,
    ),
    "target-labels": Row(
        title="time to target accuracy with frozen lower layers, 12 intents of Banking77",
        peer="TRL LoRA on all layers, and on the same top layers", minutes=13, run=target.run,
        goals={"all layers": Goal(5, 10), "top layers": Goal(2, 4)},
    ),
    "target-writing": Row(
        title="time to target loss with frozen lower layers, commands of tldr pages",
        peer="TRL LoRA on all layers, and on the same top layers", minutes=10, run=target.run,
        goals={"all layers": Goal(5, 10), "top layers": Goal(2, 4)},
    ),
    "sweep": Row(
        title="8 settings of 3 epochs over one trunk", peer="8 TRL runs in a row, model kept loaded",
        goals={"same layers": Goal(4, 10), "all layers": Goal(4, 10)}, minutes=7, run=sweep.run,
    ),
    "score-labels": Row(
        title="scoring 77 labels, inputs/s, same arg-max", peer="lm-eval (hf), automatic batch size and fixed ones",
        goals={"speed": Goal(8, 25)}, minutes=6, run=score.run,
    ),
    "score-shots": Row(
        title="scoring 77 labels with 16 examples in the prompt, inputs/s", peer="lm-eval (hf), as above",
        goals={"speed": Goal(10, 30)}, minutes=10, run=score.run,
    ),
    "generation": Row(
        title="generation, one instruction, 200 inputs, tokens/s",
        peer="transformers `generate` and its continuous batching, best", goals={"speed": Goal(1.3, 2)}, minutes=9,
        run=generation.run,
    ),
    "first-step": Row(
        title="command to first optimiser step", peer="`trl sft`", goals={"speed": Goal(1.5, 3)}, minutes=3,
        run=first_step.run,
    ),
}  # fmt: skip
"""In the order of the page: where metier has no trick comes first."""


def measure_row(context: Context, name: str) -> dict[str, Any] | None:
    """Measure one row; None where it failed, which is said and does not end the others."""
    try:
        return ROWS[name].run(context, name)
    except (WorkerFailed, FileNotFoundError, KeyError, ValueError) as fault:
        traceback.print_exception(fault)
        return None
