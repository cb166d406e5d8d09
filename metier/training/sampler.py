"""Which examples an optimiser step sees: a function of seed and step, blind to sharing, packing and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metier.device import derive_seed
from metier.recipe.sections import TrainingSection


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws the examples of each step from a stream of shuffled epochs."""

    examples: int
    batch: int
    """Examples of one optimiser step."""
    seed: int
    stream: int
    """Examples drawn in the whole training."""

    @staticmethod
    def of(section: TrainingSection, examples: int, seed: int) -> Sampler:
        """The sampler that the training section asks for."""
        batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
        if section.max_steps is not None:
            return Sampler(examples=examples, batch=batch, seed=seed, stream=section.max_steps * batch)
        stream = max(1, round(examples * section.num_train_epochs))
        return Sampler(examples=examples, batch=batch, seed=seed, stream=stream)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return math.ceil(self.stream / self.batch)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps until every example was seen once."""
        return math.ceil(self.examples / self.batch)

    def epoch_at(self, step: int) -> float:
        """Epochs completed after `step` steps."""
        return min(step * self.batch, self.stream) / self.examples

    def draw(self, step: int) -> list[int]:
        """Example numbers of optimiser step `step`, counted from 0."""
        places = range(step * self.batch, min((step + 1) * self.batch, self.stream))
        return [
            int(_order(self.seed, place // self.examples, self.examples)[place % self.examples]) for place in places
        ]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, examples: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The order of one epoch; kept for the next steps, because shuffling millions takes longer than a step."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(examples)
