"""What every plan is made of: one model and its training, passes as operations and seconds, disk.

Operations are those of a forward pass (two a weight and token) and a backward pass (as many again for
what only passes a gradient on, twice as many for weights that learn). Seconds are not made from them: a
token costs in a block, and beside the blocks, what it was measured to cost (`calibrate.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from metier.model.plan import LearningPlan
from metier.planning.count import Tokens
from metier.planning.outlook import MemoryEstimate, StageEstimate
from metier.planning.rates import Rates
from metier.planning.speed import Shape
from metier.recipe.sections import Recipe
from metier.training.sampler import Sampler

PROGRAM_BYTES = 800_000_000
"""Python, torch, transformers and scikit-learn themselves, where that was not measured."""
ADAM_BYTES = 12
"""A gradient and two moments in float32."""
FIRST_PART, LEAST_FIRST = 3, 8
"""Nearest examples are first tried on one part in three of the selection records, of at least eight."""
PARTS = frozenset(
    {"start", "data", "baselines", "solving", "test", "judging", "looks", "robustness", "folds", "seeds", "report"}
)
"""Stages that are one part of the run each; of an attempt each stage says its part."""
REPORT_SECONDS = 3.0
WITHOUT_MODEL = ("tfidf", "nearest_answer", "dictionary", "tagger")
"""Baselines that are fitted without a model and take time."""


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What was measured on the way, in seconds."""

    data: float
    loading: float
    """All base models, once."""
    tfidf: float
    """The n-gram baseline, fitted once on all training records."""
    program_bytes: int = PROGRAM_BYTES
    """Memory of this process before any model was loaded."""
    tfidf_bytes: int = 0
    """Memory that fitting n-grams took beyond that."""
    libraries: float | None = None
    """Loading torch, transformers and what they need. None: not known."""
    gauged: Mapping[str, float] = field(default_factory=dict)
    """What was measured of the judging room: seconds by baseline (all training records), and of one answer
    `judging` and `looks`."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Records by split."""

    train: int
    validation: int
    test: int

    @property
    def every(self) -> int:
        """All of them."""
        return self.train + self.validation + self.test


@dataclass(frozen=True, kw_only=True)
class Learner:
    """One model that a run computes with: its sizes, its speed, and what learns in it."""

    name: str
    recipe: Recipe
    shape: Shape
    rates: Rates
    base: str
    """Hash of the base model's weights."""
    base_bytes: int
    """Weights of the base model as it is loaded."""
    file_bytes: int = 0
    """What is in memory beside the base model's weights while they are loaded: their files, or one weight."""
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

    @property
    def rows(self) -> Rows:
        """Its records."""
        raise NotImplementedError

    def with_rows(self, rows: Rows) -> Self:
        """The same over so many other records of the same kind.

        Args:
            rows: How many.
        """
        raise NotImplementedError

    def sampler(self) -> Sampler:
        """The optimiser steps of its training."""
        return Sampler.of(self.recipe.training, self.examples, self.recipe.seed)

    def validations(self) -> int:
        """How often it is validated during training, at most."""
        sampler = self.sampler()
        every = self.recipe.training.eval_steps or sampler.steps_per_epoch
        return max(1, -(-sampler.steps // every))

    def training_stage(self, stage: str, tokens: Tokens) -> StageEstimate:
        """Forward and backward passes and optimiser steps of the whole training, above the stored blocks."""
        top = self.shape.layers - self.depth
        learns = 2 if self.plan is not None and self.plan.weights else 1
        steps = self.sampler().steps
        what = f"training, at most {steps:,} steps"
        work = Work(kind="train", part="training", forward=top, backward=top * learns)
        found = pass_stage(self, stage, what, tokens, work)
        more = steps * self.trainable * self.rates.step
        return replace(found, seconds=found.seconds + more, low=found.low + more, high=found.high + more)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one pass computes."""

    kind: str
    """As `Rates.paces` names it."""
    part: str = ""
    """Part of the run; empty where the stage says it."""
    forward: int | None = None
    """Blocks; None for all."""
    backward: int = 0
    """Blocks, twice those whose weights learn: for counting operations; the pace of training has them in it."""
    bare: bool = False
    """Whether nothing beside the blocks is computed."""


def pass_stage(learner: Learner, stage: str, what: str, tokens: Tokens, work: Work) -> StageEstimate:
    """Operations and seconds of one pass.

    Args:
        learner: The model.
        stage: Part of the run.
        what: The work, in words.
        tokens: What is computed.
        work: With what, and through which blocks.
    """
    shape, pace = learner.shape, learner.rates.pace(work.kind)
    forward = shape.layers if work.forward is None else work.forward
    flops = tokens.computed * (forward + work.backward) * shape.block_flops(tokens.length)
    flops += tokens.targets * 2.0 * shape.vocabulary * shape.hidden * (2 if work.backward else 1)
    longer = shape.block_flops(tokens.length) / shape.block_flops(pace.length or tokens.length)
    seconds = tokens.computed * (forward * pace.block * longer + (0.0 if work.bare else pace.rest))
    return StageEstimate(
        stage=stage, what=what, tokens=round(tokens.computed), logical_tokens=round(tokens.logical), flops=flops,
        seconds=seconds, low=seconds * pace.low, high=seconds * pace.high, part=work.part or _part_of(stage),
    )  # fmt: skip


def first_part(records: int, ways: int) -> int:
    """Selection records on which costly ways to ask are tried before the best goes on; as the baselines do it."""
    return records if ways < 2 else min(records, max(LEAST_FIRST, -(-records // FIRST_PART)))


def _part_of(stage: str) -> str:
    return stage if stage in PARTS else ""


def fixed_stage(stage: str, what: str, seconds: float, part: str = "") -> StageEstimate:
    """Work whose seconds are known otherwise; `part` where the stage does not say it."""
    return StageEstimate(
        stage=stage, what=what, tokens=0, logical_tokens=0, flops=0.0, seconds=seconds, low=seconds, high=seconds,
        part=part or _part_of(stage),
    )  # fmt: skip


def first_stages(seconds: Seconds) -> list[StageEstimate]:
    """Loading libraries, where that is known, and preparing the data."""
    data = fixed_stage("data", "reading and preparing", seconds.data)
    if seconds.libraries is None:
        return [data]
    return [fixed_stage("start", "loading libraries", seconds.libraries), data]


def fitted_stages(recipe: Recipe, seconds: Seconds) -> list[StageEstimate]:
    """Baselines without a model, each fitted once a run.

    Args:
        recipe: Its systems.
        seconds: What each takes, measured itself (`gauged`), or told from judging whether training pays.
    """
    known = {"tfidf": seconds.tfidf, "nearest_answer": seconds.tfidf, **seconds.gauged}
    names = [name for name in WITHOUT_MODEL if name in recipe.evaluation.systems and known.get(name)]
    return [fixed_stage("baselines", name, known[name]) for name in names]


def loading_stages(seconds: Seconds, candidates: int) -> tuple[StageEstimate, StageEstimate]:
    """Base models are loaded before the baselines, and the chosen one again for the test."""
    again = seconds.loading / max(1, candidates)
    return (
        fixed_stage("baselines", "loading the models", seconds.loading),
        fixed_stage("test", "loading the chosen model", again),
    )


def learning_bytes(learner: Learner) -> int:
    """Weights that learn, their gradients and the optimiser's state."""
    return learner.trainable * (ADAM_BYTES + 4)


def reading_back_bytes(learner: Learner) -> int:
    """The best checkpoint's weights while they are read: the file, and what is made of it."""
    return learner.trainable * 4 * 2


def chosen_moments(candidates: Sequence[Learner], program: int, test: MemoryEstimate) -> tuple[MemoryEstimate, ...]:
    """While the chosen model is loaded, and while it answers the test set: the base models are gone by then.

    Args:
        candidates: What may be chosen.
        program: Memory of the process before any model was loaded.
        test: What answering takes; its weights are set here.
    """
    chosen = max(each.shape.weight_bytes + each.trainable * 4 for each in candidates)
    beside = max(each.file_bytes for each in candidates)
    loading = MemoryEstimate(moment="loading", program=program, weights=chosen + beside)
    return loading, replace(test, weights=chosen)


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
