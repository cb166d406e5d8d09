"""What every plan is made of: one model and its training, passes as operations and seconds, disk.

The formulas are those of a forward pass (two operations a weight and token) and a backward pass (as
many again for what only passes a gradient on, twice as many for weights that learn). Real passes also
normalise, attend and copy: `SHARE` is the part of the products' speed that is left, and `FACTOR` says
how far off the result may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metier.model.plan import LearningPlan
from metier.planning.count import Tokens
from metier.planning.results import StageEstimate
from metier.planning.speed import Shape
from metier.recipe.sections import Recipe
from metier.training.sampler import Sampler

SHARE = 0.4
FACTOR = 2.5
PROGRAM_BYTES = 800_000_000
"""Python, torch, transformers and scikit-learn themselves."""
ADAM_BYTES = 12
"""A gradient and two moments in float32."""
LOGIT_BYTES = 12
"""A logit in float32 and what normalising it takes."""
REPORT_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What was measured on the way, in seconds."""

    data: float
    loading: float
    """All base models, once."""
    tfidf: float
    """The n-gram baseline, fitted once on all training records."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """One model that a run computes with: its sizes, its speed, and what learns in it."""

    name: str
    recipe: Recipe
    shape: Shape
    flops_per_second: float
    plan: LearningPlan | None = None
    """What learns; None for a model of a baseline."""
    trainable: int = 0

    @property
    def examples(self) -> int:
        """Training examples."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Lower blocks that are computed once and stored."""
        depth = self.plan.trunk_layers if self.plan else 0
        return depth if 0 < depth < self.shape.layers else 0

    @property
    def solved(self) -> bool:
        """Whether what learns is solved and not trained step by step."""
        return False

    def sampler(self) -> Sampler:
        """The optimiser steps of its training."""
        return Sampler.of(self.recipe.training, self.examples, self.recipe.seed)

    def validations(self) -> int:
        """How often it is validated during training, at most."""
        sampler = self.sampler()
        every = self.recipe.training.eval_steps or sampler.steps_per_epoch
        return max(1, -(-sampler.steps // every))

    def training_stage(self, stage: str, tokens: Tokens) -> StageEstimate:
        """Forward and backward passes of the whole training through the blocks above the stored ones."""
        top = self.shape.layers - self.depth
        learns = 2 if self.plan is not None and self.plan.weights else 1
        what = f"training, at most {self.sampler().steps:,} steps"
        return pass_stage(self, stage, what, tokens, forward=top, backward=top * learns)


def pass_stage(
    learner: Learner, stage: str, what: str, tokens: Tokens, *, forward: int | None = None, backward: int = 0
) -> StageEstimate:
    """Operations and seconds of one pass.

    Args:
        learner: The model.
        stage: Part of the run.
        what: The work, in words.
        tokens: What is computed.
        forward: Blocks; None for all.
        backward: Blocks, twice those whose weights learn.
    """
    shape = learner.shape
    blocks = (shape.layers if forward is None else forward) + backward
    flops = tokens.computed * blocks * shape.block_flops(tokens.length)
    flops += tokens.targets * 2.0 * shape.vocabulary * shape.hidden * (2 if backward else 1)
    seconds = flops / (learner.flops_per_second * SHARE)
    return StageEstimate(
        stage=stage, what=what, tokens=round(tokens.computed), logical_tokens=round(tokens.logical), flops=flops,
        seconds=seconds,
    )  # fmt: skip


def fixed_stage(stage: str, what: str, seconds: float) -> StageEstimate:
    """Work whose seconds are known otherwise."""
    return StageEstimate(stage=stage, what=what, tokens=0, logical_tokens=0, flops=0.0, seconds=seconds)


def loading_stage(seconds: Seconds, candidates: int) -> StageEstimate:
    """Base models are loaded for the baselines, for every candidate and for the test."""
    times = (2 + candidates) / max(1, candidates)
    return fixed_stage("baselines", "loading the models", seconds.loading * times)


def learning_bytes(learner: Learner) -> int:
    """Weights that learn, their gradients and the optimiser's state."""
    return learner.trainable * (ADAM_BYTES + 4)


def disk_bytes(candidates: Sequence[Learner]) -> int:
    """Checkpoints (weights that learn and the optimiser's two moments), and the model saved once."""
    total = 0
    for learner in candidates:
        kept = 0 if learner.solved else learner.recipe.training.save_total_limit + 1
        saves_all = learner.plan is not None and bool(learner.plan.weights)
        total += learner.trainable * 12 * kept
        total += learner.shape.parameters * 4 if saves_all else learner.trainable * 4
    return total


def assumptions(candidates: Sequence[Learner]) -> tuple[str, ...]:
    """What every plan takes for granted, as sentences without a full stop."""
    said = ["nothing is in the cache yet; what is, is not computed again"]
    if any(not each.solved and each.recipe.training.early_stopping_patience is not None for each in candidates):
        said.append("training is not stopped early")
    said.append("the machine stays as busy as it is now")
    return tuple(said)
