"""Whether training to write can pay, before any: what old answers reach, what room is left, what can be proven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from metier.data.records import Record, as_input
from metier.evaluation.answering.retrieval import NearestAnswer, countable
from metier.evaluation.answering.text_index import FEATURES
from metier.evaluation.metrics import unknown
from metier.evaluation.paying import CAN, CANNOT_TELL, HARDLY, sample
from metier.evaluation.results import Estimate, Item
from metier.evaluation.sentences import interval_text, metric_name, number
from metier.evaluation.significance.bootstrap import resample
from metier.evaluation.significance.out_of_fold import FOLDS, grouped_folds
from metier.evaluation.statistics import POWER, normal_quantile
from metier.evaluation.systems import AnswerOptions
from metier.evaluation.written.text_counts import Texts, count_texts
from metier.evaluation.written.text_estimates import measure_texts, pair_columns, text_units
from metier.evaluation.written.text_metrics import TEXT_METRICS

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

MOST_RECORDS = 1000
"""Larger data is sampled, and the sentence says so: the answer is wanted in seconds."""


@dataclass(frozen=True, kw_only=True)
class WritingPaying:
    """What training could gain over old answers, and whether the test set could show it."""

    metric: str
    """The primary metric, or chrF where that one needs a model."""
    nearest: Estimate
    """nearest_answer, every record answered from records outside its fold. Folds share records: a little narrow."""
    copied: Estimate
    """copy_input on the same records."""
    train_size: int
    """Training records there are; the estimates' n is smaller where they were sampled."""
    room: float | None
    """1 minus the better of the two: the most that anything can gain over it."""
    test_size: int
    smallest_gain: float | None
    """Smallest gain that the test set shows with 80 % power, if a better model's answers differ as these two do."""
    verdict: str
    """`can pay`, `can hardly pay`, `cannot tell`."""
    sentence: str


def can_writing_pay(train: Sequence[Record], test_size: int, section: EvaluationSection, seed: int) -> WritingPaying:
    """Judge before training whether training to write can be worth it.

    Args:
        train: Training records; the test set stays closed.
        test_size: Records in the test set.
        section: Primary metric, smallest useful gain, resamples.
        seed: Seed of sample, folds and resamples.

    Raises:
        DataError: There are fewer independent records than folds, or no text can be compared.
    """
    metric = countable(section.primary_metric)
    records = sample(train, seed, MOST_RECORDS)
    nearest = _items(records, nearest_outside(records, seed, metric=metric), metric)
    copied = _items(records, [record.text for record in records], metric)
    found = [
        measure_texts(items, metrics=[metric], resamples=section.resamples, seed=seed)[metric]
        for items in (nearest, copied)
    ]
    values = [estimate.value for estimate in found if estimate.value is not None]
    room = 1 - max(values) if values else None
    smallest = _smallest_gain(nearest, copied, metric, test_size, section.resamples, seed) if values else None
    paying = WritingPaying(
        metric=metric,
        nearest=_of_folds(found[0]),
        copied=found[1],
        train_size=len(train),
        room=room,
        test_size=test_size,
        smallest_gain=smallest,
        verdict=_verdict(room, smallest, section.smallest_useful_gain),
        sentence="",
    )
    return replace(paying, sentence=_sentence(paying, section))


def nearest_outside(records: Sequence[Record], seed: int, *, metric: str) -> list[str]:
    """The nearest old answer to every record, out of records that are not in its fold.

    Features are chosen once, inside the first fold's training part.

    Args:
        records: Training records.
        seed: Seed of the folds.
        metric: What features are chosen by.
    """
    fold_of = grouped_folds(records, seed)
    answers = [""] * len(records)
    features: tuple[str, ...] = tuple(FEATURES)
    for fold in range(FOLDS):
        inside = [record for record, place in zip(records, fold_of, strict=True) if place != fold]
        outside = [place for place, its_fold in enumerate(fold_of) if its_fold == fold]
        if fold == 0:
            half = len(inside) // 2
            features = (NearestAnswer(inside[:half] or inside, inside[half:], metric=metric).features,)
        system = NearestAnswer(inside, (), metric=metric, features=features)
        said = system.answer([as_input(records[place]) for place in outside], AnswerOptions())
        for place, answer in zip(outside, said, strict=True):
            answers[place] = answer.text or ""
    return answers


def _items(records: Sequence[Record], answers: Sequence[str], metric: str) -> list[Item]:
    texts = Texts(
        golds=[record.gold for record in records],
        answers=answers,
        stops=["end of turn"] * len(answers),
        inputs=[record.text for record in records],
    )
    return [
        Item(
            id=record.id,
            group=record.group,
            gold=record.gold,
            answer=answer,
            label_logprobs=None,
            prompt_hash=None,
            source=record.source,
            row=record.row,
            counts=counts,
        )
        for record, answer, counts in zip(records, answers, count_texts(texts, {metric}), strict=True)
    ]


def _smallest_gain(
    nearest: Sequence[Item], copied: Sequence[Item], metric: str, test_size: int, resamples: int, seed: int
) -> float | None:
    """By the spread of the paired difference of the two systems, brought to the size of the test set."""
    columns = pair_columns(nearest, copied, metric)
    if columns is None or test_size < 1:
        return None
    units, _ = text_units(nearest, columns)
    value, size = TEXT_METRICS[metric].value, TEXT_METRICS[metric].features
    drawn = resample(units, resamples, seed).draws
    gaps = value(drawn[:, :size]) - value(drawn[:, size:])
    gaps = gaps[np.isfinite(gaps)]
    error = float(np.std(gaps)) * math.sqrt(len(nearest) / test_size) if len(gaps) else 0.0
    return error * (normal_quantile(0.975) + normal_quantile(POWER)) if error > 0 else None


def _of_folds(estimate: Estimate) -> Estimate:
    if estimate.value is None:
        return unknown(estimate.n, estimate.reason or "")
    return replace(estimate, method=f"{estimate.method}, {FOLDS} folds")


def _verdict(room: float | None, smallest: float | None, useful: float) -> str:
    if room is not None and (room < useful or room <= 0):
        return HARDLY
    return CAN if room is not None and smallest is not None and smallest <= room else CANNOT_TELL


def _sentence(paying: WritingPaying, section: EvaluationSection) -> str:
    useful, name = section.smallest_useful_gain, metric_name(paying.metric)
    if paying.room is None:
        return f"Cannot tell whether training pays: {name} is unknown ({paying.nearest.reason})."
    reached = (
        f"the nearest old answer reaches {name} {number(paying.nearest.value)} ({interval_text(paying.nearest)}), "
        f"the input itself {number(paying.copied.value)}"
    )
    if paying.train_size > paying.nearest.n:
        reached += f", on a sample of the {paying.train_size} training records (all of them may reach more)"
    if paying.metric != section.primary_metric:
        reached += f" ({metric_name(section.primary_metric)} needs a model)"
    room = f"which leaves room for {number(paying.room)}"
    if paying.verdict == HARDLY:
        return f"Training can hardly pay: {reached}, {room}, and the smallest useful gain is {number(useful)}."
    if paying.verdict == CANNOT_TELL:
        gain = paying.smallest_gain
        proof = "no gain that can be foreseen" if gain is None else f"only gains of about {number(gain)}"
        return (
            f"Cannot tell whether training pays: {reached}, {room}, but {paying.test_size} test records "
            f"can prove {proof}. More test records are needed."
        )
    least = paying.smallest_gain or 0.0
    limit = f"{paying.test_size} test records can prove a gain of about {number(least)} or more"
    unproven = number(least) > number(useful)
    rest = f", so a gain between {number(useful)} and that would stay unproven" if unproven else ""
    return f"Training can pay: {reached}, {room}; {limit}{rest}."
