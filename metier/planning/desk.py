"""What the steps of one check share: recipe, hardware, data, base models loaded once, speeds measured once."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.device import Hardware, release_freed_memory, resident_bytes
from metier.errors import DataError
from metier.events import Notice, Observer, Progress, tell
from metier.model.adapt import adapt_model
from metier.model.base import BaseModel, load_base_model
from metier.model.plan import LearningPlan, assumed_top
from metier.model.summary import ModelSummary
from metier.model.weights import bytes_while_loading
from metier.planning.calibrate import Calibrated, calibrate, known_rates, machine_name
from metier.planning.cost import Learner
from metier.planning.nominal import nominal_rates
from metier.planning.outlook import Plan
from metier.planning.probes import Probes
from metier.planning.rates import Rates
from metier.planning.ratios import earlier_ratios
from metier.planning.resident import fullest
from metier.planning.results import CandidateFindings, Learning, PayingJudgement
from metier.planning.retraining import rows_judged
from metier.planning.speed import QUICKLY, SECONDS, Shape, measure_speed
from metier.planning.whole import Ground
from metier.recipe.sections import ModelSection, Recipe
from metier.training.schedule import DEFAULT_LEARNING_RATES

Pay = Callable[[Sequence[Any], int], PayingJudgement]
"""Judges from training records and the size of the test set whether training can pay."""
Gauge = Callable[[Recipe, Sequence[Any], Sequence[str]], Mapping[str, float]]
"""Measures on training records what judging takes (`metier.evaluation.gauge.gauge_judging`)."""


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
    quick: bool = False
    """Whether nothing is measured that was not measured before: a run begins soon."""
    load: Callable[[ModelSection], BaseModel] | None = None
    """Gives base models, with encoders in float32; None loads them."""
    gauge: Gauge | None = None
    """None: what judging takes is not known, and not in the plan."""
    libraries: float | None = None
    """Seconds that loading libraries took. None: not known."""
    all_known: bool = field(default=True, init=False)
    """Whether all rates come from a measurement."""
    loading: float = field(default=0.0, init=False)
    """Seconds that loading models took."""
    _bases: dict[ModelSection, BaseModel] = field(default_factory=dict, init=False, repr=False)
    program_bytes: int = field(default_factory=resident_bytes, init=False)
    """Memory of this process before any model is loaded."""
    judging_bytes: int = field(default=0, init=False)
    """What judging whether training can pay took beyond that."""
    _speeds: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)

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
        if section not in self._bases:
            started = time.perf_counter()
            self._bases[section] = self.load(section) if self.load is not None else self._loaded(section)
            self.loading += time.perf_counter() - started
        return self._bases[section]

    def _loaded(self, section: ModelSection) -> BaseModel:
        base = load_base_model(section, self.hardware, self.observers)
        return base.fresh(torch.float32) if base.kind == "encoder" else base

    def file_bytes(self, base: BaseModel) -> int:
        """What is in memory beside a model's weights while they are loaded."""
        return bytes_while_loading(base.folder, base.network.dtype)

    def attach(self, recipe: Recipe, base: BaseModel) -> Attached:
        """What a candidate would learn, without keeping it.

        What a run consumes, a check loads again, so that the base stays as it is for the others.
        """
        if recipe.adaptation.layers == "auto":
            message = (
                f"adaptation.layers: auto is decided at the start of training; the plan counts with "
                f"top {assumed_top(base.layers)} of {base.layers}."
            )
            tell(self.observers, Notice(topic="layers", message=message))
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

    def speed(self, base: BaseModel, dtype: torch.dtype) -> float:
        """Operations in a second, measured once for a model and a type."""
        key = (base.weights_sha256, str(dtype))
        if key not in self._speeds:
            self._speeds[key] = measure_speed(base.network, dtype, seconds=QUICKLY if self.quick else SECONDS)
        return self._speeds[key]

    def rates(self, base: BaseModel, recipe: Recipe, shape: Shape, probes: Probes, *, learns: bool) -> Rates:
        """What the passes of a model cost, measured once for the same work.

        Args:
            base: The model; nothing may be attached to it.
            recipe: How it is used.
            shape: Its sizes.
            probes: What is run.
            learns: Whether it is trained as the recipe says; otherwise it answers as it is.
        """
        speed = self.speed(base, self.dtype(base, recipe))
        use = Calibrated(
            base=base, recipe=recipe, labels=tuple(self.data.labels), shape=shape, hardware=self.hardware,
            flops_per_second=speed, learns=learns,
        )  # fmt: skip
        known = None
        if probes.by_kind:
            known = known_rates(use, probes) if self.quick else calibrate(use, probes)
        if known is not None:
            return known
        self.all_known = False
        full = learns and recipe.adaptation.method in ("full", "freeze")
        return nominal_rates(shape, speed, weights_learn=full)

    def shape(self, base: BaseModel, dtype: torch.dtype, attached: Attached | None = None) -> Shape:
        """The sizes of a base model, with the weights as a candidate holds them."""
        vocabulary = base.vocabulary if base.kind == "decoder" else 0
        shape = Shape.of(base.network, vocabulary=vocabulary, number_bytes=dtype.itemsize)
        return shape if attached is None else replace(shape, weight_bytes=attached.weight_bytes)

    def settle_program(self) -> int:
        """Memory of this process without its models' weights: libraries, tokenizers, data, all that a run has too."""
        gc.collect()
        release_freed_memory()
        loaded = sum(base.bytes for base in self._bases.values())
        return max(self.program_bytes, resident_bytes() - loaded)

    def ground(self) -> Ground:
        """What the machine says, and what earlier runs on it took."""
        return Ground(available=self.available, ratios=earlier_ratios(machine_name(self.hardware)))

    def gauged(self) -> Mapping[str, float]:
        """What judging takes; nothing where that is not measured."""
        if self.gauge is None or self.quick:
            return {}
        try:
            return self.gauge(self.recipe, self.train, self.data.labels)
        except DataError:  # what is wrong with the data, its findings and the run itself will tell
            return {}

    def judge_paying(self) -> tuple[PayingJudgement | None, str | None, float]:
        """The judgement, or why there is none; and the seconds it took."""
        if self.pay is None:
            return None, None, 0.0
        started = time.perf_counter()
        try:
            with fullest() as found:
                judged = self.pay(self.train, rows_judged(self.recipe, self.data))
        except DataError as fault:
            return None, fault.text(), 0.0
        release_freed_memory()
        self.program_bytes = resident_bytes()  # with the libraries that judging has loaded
        self.judging_bytes = max(0, found.most - self.program_bytes)
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
    fits = [each.name for each in plan.alternatives if each.fits]
    others = f" These would fit: {', '.join(fits)}." if fits else ""
    return (
        f"The run may need {plan.memory_bytes / 1e9:.1f} GB of memory; {plan.memory_available / 1e9:.1f} GB are "
        f"free. A smaller training.tokens_per_microbatch, fewer layers or a smaller model need less.{others}",
    )
