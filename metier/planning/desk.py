"""What the steps of one check share: recipe, hardware, data, base models loaded once, speeds measured once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.device import Hardware
from metier.errors import DataError
from metier.events import Observer, Progress, tell
from metier.model.adapt import adapt_model
from metier.model.base import BaseModel, load_base_model
from metier.model.plan import LearningPlan
from metier.model.summary import ModelSummary
from metier.planning.cost import Learner
from metier.planning.results import CandidateFindings, Learning, PayingJudgement, Plan
from metier.planning.speed import ROWS, Shape, measure_speed
from metier.recipe.sections import ModelSection, Recipe
from metier.training.schedule import DEFAULT_LEARNING_RATES

Pay = Callable[[Sequence[Any], int], PayingJudgement]
"""Judges from training records and the size of the test set whether training can pay."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check of one task found out."""

    candidates: tuple[CandidateFindings, ...] = ()
    plan: Plan | None = None
    paying: PayingJudgement | None = None
    paying_reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Attached:
    """A base model as one candidate changes it; nothing is attached any more."""

    summary: ModelSummary
    plan: LearningPlan
    has_head: bool
    weight_bytes: int
    """Weights that learn are float32 and take more room."""

    @property
    def trainable(self) -> int:
        """Parameters that learn."""
        return sum(self.summary.trainable_groups.values())


@dataclass(eq=False, kw_only=True)
class Desk:
    """What the steps of one check share."""

    recipe: Recipe
    ways: Mapping[str, Recipe]
    """The candidates, by name."""
    hardware: Hardware
    data: PreparedData
    train: Sequence[Record]
    pay: Pay | None
    available: int | None
    """Free bytes of memory; None where they are not known."""
    data_seconds: float
    observers: Sequence[Observer] = ()
    loading: float = field(default=0.0, init=False)
    """Seconds that loading models took."""
    _bases: dict[tuple[str, str | None], BaseModel] = field(default_factory=dict, init=False, repr=False)
    _speeds: dict[tuple[str, str, int], float] = field(default_factory=dict, init=False, repr=False)

    def candidates(self) -> Iterator[tuple[str, Recipe]]:
        """Every candidate in turn; progress is told."""
        for number, (name, recipe) in enumerate(self.ways.items()):
            tell(self.observers, Progress(label="check", done=number, total=len(self.ways) + 1, unit="candidates"))
            yield name, recipe
        tell(
            self.observers,
            Progress(label="check", done=len(self.ways), total=len(self.ways) + 1, unit="candidates"),
        )

    def base(self, section: ModelSection) -> BaseModel:
        """A base model, loaded once; encoders in float32, as a run has them."""
        key = (section.name, section.revision)
        if key not in self._bases:
            started = time.perf_counter()
            base = load_base_model(section, self.hardware, self.observers)
            self._bases[key] = base.fresh(torch.float32) if base.kind == "encoder" else base
            self.loading += time.perf_counter() - started
        return self._bases[key]

    def attach(self, recipe: Recipe, base: BaseModel) -> Attached:
        """What a candidate would learn, without keeping it.

        What a run consumes, a check loads again, so that the base stays as it is for the others.
        """
        changes_weights = recipe.adaptation.method in ("full", "freeze")
        adapted = base.fresh(torch.float32) if changes_weights else base
        model = adapt_model(recipe.adaptation, adapted, seed=recipe.seed, labels=self.data.labels)
        summary, plan, has_head = model.summary(), model.plan, model.head is not None
        if not changes_weights:
            model.detach()
        weight_bytes = sum(p.numel() * p.element_size() for p in adapted.network.parameters())
        return Attached(summary=summary, plan=plan, has_head=has_head, weight_bytes=weight_bytes)

    def dtype(self, base: BaseModel, recipe: Recipe) -> torch.dtype:
        """The type in which a run multiplies."""
        learns_all = recipe.adaptation.method in ("full", "freeze")
        cast = self.hardware.dtype == "bfloat16" and (base.kind == "decoder" or learns_all)
        return torch.bfloat16 if cast else torch.float32

    def speed(self, base: BaseModel, dtype: torch.dtype, *, rows: int = ROWS) -> float:
        """Operations in a second, measured once for a model, a type and a number of rows."""
        key = (base.weights_sha256, str(dtype), rows)
        if key not in self._speeds:
            self._speeds[key] = measure_speed(base.network, dtype, rows=rows)
        return self._speeds[key]

    def shape(self, base: BaseModel, dtype: torch.dtype, attached: Attached | None = None) -> Shape:
        """The sizes of a base model, with the weights as a candidate holds them."""
        vocabulary = base.vocabulary if base.kind == "decoder" else 0
        shape = Shape.of(base.network, vocabulary=vocabulary, number_bytes=dtype.itemsize)
        return shape if attached is None else replace(shape, weight_bytes=attached.weight_bytes)

    def judge_paying(self) -> tuple[PayingJudgement | None, str | None, float]:
        """The judgement, or why there is none; and the seconds it took."""
        if self.pay is None:
            return None, None, 0.0
        started = time.perf_counter()
        try:
            judged = self.pay(self.train, len(self.data.test))
        except DataError as fault:
            return None, fault.text(), 0.0
        return judged, None, time.perf_counter() - started


def what_learns(learner: Learner, summary: ModelSummary) -> Learning:
    """What may learn of a candidate, and in how many steps.

    Args:
        learner: The candidate, as the plan has it.
        summary: What is attached to its base model.
    """
    training = learner.recipe.training
    return Learning(
        method=summary.method, trainable=summary.trainable_parameters, parameters=summary.parameters,
        trunk_layers=summary.trunk_layers, layers=summary.layers, groups=summary.trainable_groups,
        steps=0 if learner.solved else learner.sampler().steps,
        validations=0 if learner.solved else learner.validations(),
        learning_rate=training.learning_rate or DEFAULT_LEARNING_RATES[summary.method],
    )  # fmt: skip


def memory_warnings(plan: Plan) -> tuple[str, ...]:
    """What to say where the run may need more memory than is free.

    Args:
        plan: The plan.
    """
    if plan.memory_available is None or plan.memory_bytes <= plan.memory_available:
        return ()
    return (
        f"The run may need {plan.memory_bytes / 1e9:.1f} GB of memory; {plan.memory_available / 1e9:.1f} GB are "
        "free. A smaller training.tokens_per_microbatch, fewer layers or a smaller model need less.",
    )
