"""The learning rate as a function of the step: warm-up, then one of the schedules of transformers."""

from __future__ import annotations

import math
from collections.abc import Callable

from metier.recipe.sections import TrainingSection

DEFAULT_LEARNING_RATES = {"lora": 5e-4, "full": 5e-5, "freeze": 5e-5, "head": 1e-3}


def learning_rate_at(step: int, total: int, section: TrainingSection, peak: float) -> float:
    """Learning rate of optimiser step `step` (from 0) of `total`; `peak` is reached when warm-up ends.

    As transformers' `get_scheduler`, but warm-up does not begin at 0, which would waste the first step;
    `constant` has no warm-up there either.
    """
    if section.lr_scheduler_type == "constant":
        return peak
    warmup = int(section.warmup_steps if section.warmup_steps >= 1 else math.ceil(section.warmup_steps * total))
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    return peak * SHAPES[section.lr_scheduler_type](progress)


SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: max(0.0, 1.0 - progress),
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))),
    "constant": lambda progress: 1.0,
    "constant_with_warmup": lambda progress: 1.0,
}
"""Share of the peak learning rate, by progress after warm-up from 0 to 1."""
