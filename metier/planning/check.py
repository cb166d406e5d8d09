"""The door of the room: everything about a recipe that can be known without training.

Data is prepared in a temporary folder; the run folder is not touched. Of the test set the number of
records and their lengths are counted, nothing else; its seal stays closed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.records import Choice
from metier.device import Hardware, available_memory_bytes, choose_hardware
from metier.errors import DataError
from metier.events import Observer, Progress, tell
from metier.model.adapt import adapt_model
from metier.model.base import BaseModel, load_base_model
from metier.model.encode import Encoder, cut_policy
from metier.model.plan import LearningPlan
from metier.model.prompt import make_prompt_format
from metier.model.summary import ModelSummary
from metier.planning.count import Counter, draw_sample
from metier.planning.estimate import ONLY_IN_LANGUAGE_MODELS, Seconds, Subject, plan_run
from metier.planning.findings import find_in_data
from metier.planning.results import CandidateFindings, CheckReport, Learning, PayingJudgement, Plan
from metier.planning.speed import Shape, measure_speed
from metier.planning.tokens import Asking, Measured, faults_of_answers, measure_lengths, show_tokens, trained_part
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import ModelSection, Recipe
from metier.store.run_folder import RunFolder, default_run_path
from metier.training.schedule import DEFAULT_LEARNING_RATES

Pay = Callable[[Sequence[Choice], int], PayingJudgement]
"""Judges from training records and the size of the test set whether training can pay."""
PAYING_SAMPLE = 2000
"""Records on which n-grams are fitted while that is judged."""
PAYING_FITS = 8
"""How often: folds and the choices of their strength."""


@dataclass(eq=False)
class _Desk:
    """What the steps of one check share."""

    recipe: Recipe
    hardware: Hardware
    data: PreparedData
    train: list[Choice]
    sample: list[Choice]
    observers: Sequence[Observer]
    loading: float = 0.0
    """Seconds that loading models took."""
    bases: dict[tuple[str, str | None], BaseModel] = field(default_factory=dict)
    speeds: dict[tuple[str, str], float] = field(default_factory=dict)
    measured: dict[tuple[str, int, bool], dict[str, Measured]] = field(default_factory=dict)

    def base(self, section: ModelSection) -> BaseModel:
        """A base model, loaded once; encoders in float32, as a run has them."""
        key = (section.name, section.revision)
        if key not in self.bases:
            started = time.perf_counter()
            base = load_base_model(section, self.hardware, self.observers)
            self.bases[key] = base.fresh(torch.float32) if base.kind == "encoder" else base
            self.loading += time.perf_counter() - started
        return self.bases[key]

    def asking(self, base: BaseModel, recipe: Recipe, *, in_words: bool) -> Asking:
        """How a model meets a record, as a run does it."""
        limit = min(recipe.training.max_length, base.context)
        encoder = Encoder(base.tokenizer, limit, cut_policy(recipe.data.too_long))
        labels, column = self.data.labels, self.data.card.label_column
        prompt = make_prompt_format(recipe.prompt, labels, column) if in_words else None
        return Asking(base, encoder, prompt, labels)

    def lengths(self, asking: Asking) -> dict[str, Measured]:
        """Lengths of all splits; measured once for candidates that read alike."""
        key = (asking.base.weights_sha256, asking.encoder.max_length, asking.prompt is not None)
        if key not in self.measured:
            splits = (self.data.train, self.data.validation, self.data.test)
            self.measured[key] = {split.name: measure_lengths(asking, split) for split in splits}
        return self.measured[key]

    def subject(self, name: str, recipe: Recipe, asking: Asking, lengths: dict[str, Measured]) -> Subject:
        """What the estimate needs of a model that nothing is attached to."""
        base = asking.base
        learns_all = recipe.adaptation.method in ("full", "freeze")
        cast = self.hardware.dtype == "bfloat16" and (base.kind == "decoder" or learns_all)
        dtype = torch.bfloat16 if cast else torch.float32
        key = (base.weights_sha256, str(dtype))
        if key not in self.speeds:
            self.speeds[key] = measure_speed(base.network, dtype)
        shape = Shape.of(
            base.network, vocabulary=base.vocabulary if base.kind == "decoder" else 0, number_bytes=dtype.itemsize
        )
        return Subject(
            name=name, recipe=recipe, counter=Counter(asking, self.sample), shape=shape,
            flops_per_second=self.speeds[key], lengths={split: each.tokens for split, each in lengths.items()},
        )  # fmt: skip


def check_recipe(recipe: Recipe, *, pay: Pay | None = None, observers: Sequence[Observer] = ()) -> CheckReport:
    """Everything that can be known about a recipe without training.

    Args:
        recipe: As `load_recipe` gives it.
        pay: Judges whether training can pay; None leaves that out.
        observers: Told about downloads, slower paths and progress.

    Raises:
        MetierError: The data, a model or the machine cannot be used at all.
    """
    identity = recipe_hash(recipe)
    path = Path(expand(recipe.output.dir)) if recipe.output.dir else default_run_path(recipe.name, identity)
    candidates = resolve_candidates(recipe)
    hardware = choose_hardware(recipe.hardware)
    with tempfile.TemporaryDirectory(prefix="metier-check-") as place:
        folder, started = Path(place) / "data", time.perf_counter()
        # What it announces is part of the report.
        data = prepare_data(recipe.data, seed=recipe.seed, folder=folder)
        seconds = time.perf_counter() - started
        train = list(data.train.records())
        desk = _Desk(recipe, hardware, data, train, draw_sample(train, recipe.seed), observers)
        findings = find_in_data(data, folder, RunFolder(path))
        found, subjects = [], []
        for number, (name, each) in enumerate(candidates.items()):
            tell(observers, Progress(label="check", done=number, total=len(candidates) + 1, unit="candidates"))
            about, subject = _check_candidate(desk, name, each)
            found.append(about)
            subjects.append(subject)
        tell(observers, Progress(label="check", done=len(candidates), total=len(candidates) + 1, unit="candidates"))
        paying, reason, tfidf = _judge_paying(desk, pay)
        measured = Seconds(data=seconds, loading=desk.loading, tfidf=tfidf)
        available = available_memory_bytes() if hardware.device == "cpu" else None
        plan = plan_run(recipe, subjects, _baseline_models(desk, subjects), measured, available)
    tell(observers, Progress(label="check", done=1, total=1, unit="candidates"))
    return CheckReport(
        name=recipe.name, task=recipe.task, recipe_hash=identity, folder=str(path), device=hardware.device,
        dtype=hardware.dtype, threads=hardware.threads, hardware_reason=hardware.reason, data=findings,
        candidates=tuple(found), plan=plan, paying=paying, paying_reason=reason, warnings=_warnings(recipe, plan),
    )  # fmt: skip


def _check_candidate(desk: _Desk, name: str, recipe: Recipe) -> tuple[CandidateFindings, Subject]:
    base = desk.base(recipe.model)
    method = recipe.adaptation.method
    changes_weights = method in ("full", "freeze")
    # What a run consumes, a check loads again, so that the base stays as it is for the others.
    adapted = base.fresh(torch.float32) if changes_weights else base
    model = adapt_model(recipe.adaptation, adapted, seed=recipe.seed, labels=desk.data.labels)
    summary, plan, in_words = model.summary(), model.plan, model.head is None
    if not changes_weights:
        model.detach()
    trainable = sum(summary.trainable_groups.values())
    asking = desk.asking(base, recipe, in_words=in_words)
    faults = faults_of_answers(asking)
    lengths = desk.lengths(asking)
    subject = desk.subject(name, recipe, asking, lengths)
    subject = _with_plan(subject, plan, trainable, adapted)
    about = CandidateFindings(
        name=name, model=base.name, kind=base.kind, source=base.source, licence=base.licence, notes=base.notes,
        in_words=in_words, learning=_learning(subject, summary),
        views=show_tokens(asking, desk.train, with_text=desk.recipe.report.examples),
        trained_part="" if faults else trained_part(asking),
        lengths=tuple(each.about for each in lengths.values()), faults=faults,
    )  # fmt: skip
    return about, subject


def _with_plan(subject: Subject, plan: LearningPlan, trainable: int, adapted: BaseModel) -> Subject:
    """The subject with what learns in it; weights that learn are float32 and take more room."""
    weight_bytes = sum(p.numel() * p.element_size() for p in adapted.network.parameters())
    shape = replace(subject.shape, weight_bytes=weight_bytes)
    return replace(subject, plan=plan, trainable=trainable, shape=shape)


def _learning(subject: Subject, summary: ModelSummary) -> Learning:
    training = subject.recipe.training
    return Learning(
        method=summary.method, trainable=summary.trainable_parameters, parameters=summary.parameters,
        trunk_layers=summary.trunk_layers, layers=summary.layers, groups=summary.trainable_groups,
        steps=0 if subject.solved else subject.sampler().steps,
        validations=0 if subject.solved else subject.validations(),
        learning_rate=training.learning_rate or DEFAULT_LEARNING_RATES[summary.method],
    )  # fmt: skip


def _baseline_models(desk: _Desk, candidates: Sequence[Subject]) -> dict[str, Subject]:
    """The models behind the baselines that have one, as a run chooses them."""
    evaluation, models = desk.recipe.evaluation, {}
    if "probe" in evaluation.systems:
        base = desk.base(ModelSection(name=evaluation.probe_model))
        asking = Asking(
            base, Encoder(base.tokenizer, base.context, cut_policy(desk.recipe.data.too_long)), None, desk.data.labels
        )
        models["probe"] = desk.subject("probe", _frozen(desk.recipe), asking, desk.lengths(asking))
    wanted = [name for name in evaluation.systems if name in ONLY_IN_LANGUAGE_MODELS]
    if wanted:
        decoders = [each for each in candidates if each.counter.asking.base.kind == "decoder"]
        recipe = decoders[0].recipe if decoders else desk.recipe
        section = recipe.model if decoders else ModelSection(name=evaluation.baseline_model)
        asking = desk.asking(desk.base(section), recipe, in_words=True)
        subject = desk.subject("base", _frozen(recipe), asking, desk.lengths(asking))
        models |= dict.fromkeys(wanted, subject)
    return models


def _frozen(recipe: Recipe) -> Recipe:
    """The recipe of a model of which nothing learns."""
    return recipe.model_copy(update={"adaptation": recipe.adaptation.model_copy(update={"method": "head"})})


def _judge_paying(desk: _Desk, pay: Pay | None) -> tuple[PayingJudgement | None, str | None, float]:
    """The judgement, or why there is none; and how long one fit of n-grams on all records may take."""
    if pay is None:
        return None, None, 0.0
    started = time.perf_counter()
    try:
        judged = pay(desk.train, len(desk.data.test))
    except DataError as fault:
        return None, fault.text(), 0.0
    seconds = time.perf_counter() - started
    records = len(desk.train)
    return judged, None, seconds * records / min(records, PAYING_SAMPLE) * 3 / PAYING_FITS


def _warnings(recipe: Recipe, plan: Plan) -> tuple[str, ...]:
    found = []
    if plan.memory_available is not None and plan.memory_bytes > plan.memory_available:
        found.append(
            f"The run may need {plan.memory_bytes / 1e9:.1f} GB of memory; {plan.memory_available / 1e9:.1f} GB are "
            "free. A smaller training.tokens_per_microbatch, fewer layers or a smaller model need less."
        )
    return tuple(found)
