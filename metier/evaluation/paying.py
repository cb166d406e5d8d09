"""Whether training can pay, before any: what n-grams reach, what room is left, what the test set can prove.

Of labels; `writing_pays.py` does the same for written answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from metier.data.records import Choice, Record
from metier.errors import DataError
from metier.evaluation.answering.baselines import DEFAULT_C, TfidfSystem, fit_features, fit_logistic, ngram_features
from metier.evaluation.metrics import measure
from metier.evaluation.results import Estimate, Item
from metier.evaluation.sentences import interval_text, metric_name, number
from metier.evaluation.significance.out_of_fold import FOLDS, group_name, grouped_folds
from metier.evaluation.statistics import smallest_detectable

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

R = TypeVar("R", bound=Record)
MOST_RECORDS = 2000
"""Larger data is sampled, and the sentence says so: the answer is wanted in seconds."""
CHOICES_OF_C = (1.0, 10.0, 100.0)
CAN, HARDLY, CANNOT_TELL = "can pay", "can hardly pay", "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Paying:
    """What training could gain over n-grams, and whether the test set could show it."""

    metric: str
    estimate: Estimate
    """The TF-IDF baseline by cross-validation on train. Folds share records: the interval is a little narrow."""
    train_size: int
    """Training records there are; the estimate's n is smaller where they were sampled."""
    room: float
    """1 minus that value: the most that anything can gain over it."""
    test_size: int
    discordance: float
    """Assumed share of test items on which a better model differs: the baseline's error rate."""
    smallest_gain: float | None
    """Smallest accuracy gain that the test set shows with 80 % power; None where no gain could."""
    verdict: str
    """`can pay`, `can hardly pay`, `cannot tell`."""
    sentence: str


def can_training_pay(train: Sequence[Choice], test_size: int, section: EvaluationSection, seed: int) -> Paying:
    """Judge before training whether training can be worth it.

    Args:
        train: Training records; the test set stays closed.
        test_size: Records in the test set.
        section: Primary metric, smallest useful gain, resamples.
        seed: Seed of sample, folds and resamples.

    Raises:
        DataError: There are fewer than two labels, or fewer groups than folds.
    """
    records = sample(train, seed, MOST_RECORDS)
    answers = cross_validate(records, seed, metric=section.primary_metric)
    items = [
        Item(
            id=record.id,
            group=record.group,
            gold=record.label,
            answer=answer,
            label_logprobs=None,
            prompt_hash=None,
            source=record.source,
            row=record.row,
        )
        for record, answer in zip(records, answers, strict=True)
    ]
    metrics = measure(items, resamples=section.resamples, seed=seed)
    estimate, accuracy = metrics[section.primary_metric], metrics["accuracy"]
    assert estimate.value is not None and accuracy.value is not None  # n-grams answer every item
    errors = 1 - accuracy.value
    smallest = smallest_detectable(test_size, errors)
    room = 1 - estimate.value
    verdict = _verdict(room, errors, smallest, section.smallest_useful_gain)
    paying = Paying(
        metric=section.primary_metric,
        estimate=replace(estimate, method=f"{estimate.method}, {FOLDS} folds"),
        train_size=len(train),
        room=room,
        test_size=test_size,
        discordance=errors,
        smallest_gain=smallest,
        verdict=verdict,
        sentence="",
    )
    return replace(paying, sentence=_sentence(paying, section.smallest_useful_gain))


def _verdict(room: float, errors: float, smallest: float | None, useful: float) -> str:
    if room < useful or room <= 0 or errors < useful:
        return HARDLY
    # Even a perfect model gains only what the baseline gets wrong.
    return CAN if smallest is not None and smallest <= errors else CANNOT_TELL


def _sentence(paying: Paying, useful: float) -> str:
    name = metric_name(paying.metric)
    reached = f"n-grams alone reach {name} {number(paying.estimate.value)} ({interval_text(paying.estimate)})"
    if paying.train_size > paying.estimate.n:
        reached += f", on a sample of the {paying.train_size} training records (all of them may reach more)"
    room = f"which leaves room for {number(paying.room)}"
    if paying.verdict == HARDLY:
        return f"Training can hardly pay: {reached}, {room}, and the smallest useful gain is {number(useful)}."
    if paying.verdict == CANNOT_TELL:
        proof = (
            "no gain at all"
            if paying.smallest_gain is None
            else f"only accuracy gains of {number(paying.smallest_gain)}"
        )
        return (
            f"Cannot tell whether training pays: {reached}, {room}, but {paying.test_size} test records "
            f"can prove {proof}. More test records are needed."
        )
    limit = f"{paying.test_size} test records can prove an accuracy gain of {number(paying.smallest_gain)} or more"
    unproven = number(paying.smallest_gain or 0) > number(useful)
    rest = f", so a gain between {number(useful)} and that would stay unproven" if unproven else ""
    return f"Training can pay: {reached}, {room}; {limit}{rest}."


def sample(train: Sequence[R], seed: int, most: int) -> list[R]:
    """At most `most` records, in their order.

    Args:
        train: Training records.
        seed: Seed of the draw.
        most: Records wanted.
    """
    if len(train) <= most:
        return list(train)
    places = np.random.default_rng(seed).choice(len(train), size=most, replace=False)
    return [train[place] for place in sorted(int(place) for place in places)]


def cross_validate(records: Sequence[Choice], seed: int, *, metric: str) -> list[str]:
    """The n-gram baseline's answer to every record, from models that never saw its group.

    C is chosen once, inside the first fold's training part.

    Args:
        records: Training records.
        seed: Seed of the folds.
        metric: What C is chosen by.
    """
    fold_of = grouped_folds(records, seed)
    answers = [""] * len(records)
    c: float | None = None
    for fold in range(FOLDS):
        inside = [record for record, place in zip(records, fold_of, strict=True) if place != fold]
        outside = [place for place, its_fold in enumerate(fold_of) if its_fold == fold]
        if c is None:
            c = _choose_c(inside, seed, metric)
        golds = [record.label for record in inside]
        if len(set(golds)) < 2:
            raise DataError("train", "a fold has records of one label only", "at least two labels in every fold")
        features = ngram_features()
        model = fit_logistic(fit_features(features, inside), golds, c)
        said = model.predict(features.transform([records[place].text for place in outside]))
        for place, label in zip(outside, said, strict=True):
            answers[place] = str(label)
    return answers


def _choose_c(records: Sequence[Choice], seed: int, metric: str) -> float:
    """The best C on one inner fold, or the usual one where that fold cannot be made."""
    if len({group_name(record) for record in records}) < FOLDS:
        return DEFAULT_C
    fold_of = grouped_folds(records, seed + 1)
    fit = [record for record, fold in zip(records, fold_of, strict=True) if fold]
    judge = [record for record, fold in zip(records, fold_of, strict=True) if not fold]
    if len({record.label for record in fit}) < 2:
        return DEFAULT_C
    return TfidfSystem(fit, judge, (), metric=metric, table=CHOICES_OF_C).c
