"""What judging costs on this machine, measured on some training records: for the plan before a run.

Baselines that hold no model are fitted on some records, answers out of thin air are counted and looked at as a run's
are. Nothing is learned from it but seconds; no torch is loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metier.data.records import Input, Record
from metier.device import derive_seed
from metier.errors import DataError
from metier.evaluation.closer.slice_kinds import Sliced, slices_of
from metier.evaluation.closer.slice_report import report_slices
from metier.evaluation.closer.trust import judge_trust
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.labels.saved_calibration import fit_calibration
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.systems import AnswerOptions, Material, build_system
from metier.recipe.sections import Recipe

FITTED = ("tfidf", "dictionary", "tagger")
"""Baselines without a model whose fitting takes time and is not measured elsewhere."""
MOST_FITTED, MOST_JUDGED = 1000, 100
"""Records on which baselines are fitted, and answers that are counted; what a run has more takes longer in proportion.
"""
HELD_OUT = 0.15
FEW = 32
"""Records that are fitted before the clock runs."""


def gauge_judging(recipe: Recipe, train: Sequence[Record], labels: Sequence[str]) -> Mapping[str, float]:
    """Seconds: of each baseline fitted on all training records, and of one answer `judging` and `looks`.

    Args:
        recipe: Task, systems, how answers are judged.
        train: All training records; no other split is looked at.
        labels: Labels of train, where answers are labels.
    """
    order = sorted(train, key=lambda record: derive_seed(recipe.seed, "gauge", record.id))
    found = _fitted(recipe, order, tuple(labels))
    some = [record for record in order if record.gold or recipe.task == "text"][:MOST_JUDGED]
    if recipe.task == "text" or len(some) < 2:
        return found  # passages are scored by a model, and nothing else is asked of them
    labels = tuple(labels) if recipe.task in ("classification", "multilabel") else ()
    asked = RecordSet(name="test", records=some, task=recipe.task, labels=labels)
    system = _ThinAir(task=recipe.task, labels=labels, golds=[record.gold for record in some])
    evaluate_system(system, asked, section=recipe.evaluation, seed=recipe.seed, losses=False)  # what is loaded once
    started = time.perf_counter()
    evaluation = evaluate_system(system, asked, section=recipe.evaluation, seed=recipe.seed, losses=False)
    judged = time.perf_counter()
    _look(recipe, evaluation, some)
    return {
        **found, "judging": (judged - started) / len(some), "looks": (time.perf_counter() - judged) / len(some),
    }  # fmt: skip


@dataclass(kw_only=True, eq=False)
class _ThinAir:
    """Answers without looking: each record gets the right answer of another one."""

    task: str
    labels: tuple[str, ...]
    golds: Sequence[str]
    name: str = "thin air"
    kind: str = "the right answers of other records"
    parameters: int | None = None
    bytes: int | None = None
    trained_on: str = "no examples"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input."""
        chances = np.random.default_rng(0).dirichlet(np.ones(max(1, len(self.labels))), size=len(inputs))
        for number, (given, row) in enumerate(zip(inputs, chances, strict=True)):
            said = self.golds[(number + number % 2) % len(self.golds)]  # every second one is right
            if self.task == "classification":
                logs = {label: math.log(max(float(p), 1e-12)) for label, p in zip(self.labels, row, strict=True)}
                yield Answer(id=given.id, label=said, label_logprobs=logs)
            elif self.task == "multilabel":
                yield Answer(id=given.id, label=said)
            else:
                yield Answer(id=given.id, label=None, text=said, stop="end of turn")


def _look(recipe: Recipe, evaluation: Evaluation, records: Sequence[Record]) -> None:
    section = recipe.evaluation
    fitted = fit_calibration(
        evaluation, target=section.promise_accuracy, sure=section.promise_confidence, calibrate=section.calibrate
    )
    judge_trust(evaluation, [evaluation] * len(section.systems), fitted)
    sliced = Sliced(items=evaluation.items, lengths=[len(record.text.split()) for record in records])
    wanted = [kind for kind in section.slices if kind != "label" or recipe.task == "classification"]
    metric = section.for_choices().primary_metric
    if metric in evaluation.metrics:
        report_slices(evaluation, evaluation, metric, slices_of(sliced, wanted), {})


def _fitted(recipe: Recipe, order: Sequence[Record], labels: tuple[str, ...]) -> dict[str, float]:
    some = order[:MOST_FITTED]
    held = max(1, round(len(some) * HELD_OUT))
    material = Material(
        train=some[held:], validation=some[:held], labels=labels, section=recipe.evaluation.for_choices(),
        seed=recipe.seed, task=recipe.task,
    )  # fmt: skip
    few = replace(material, train=material.train[:FEW], validation=material.validation[:FEW])
    found: dict[str, float] = {}
    for name in (name for name in FITTED if name in recipe.evaluation.systems):
        try:
            build_system(name, few)  # what is loaded once
            started = time.perf_counter()
            build_system(name, material)
        except DataError:  # too little data: the run itself will say so
            continue
        found[name] = (time.perf_counter() - started) * len(order) / max(1, len(some) - held)
    return found
