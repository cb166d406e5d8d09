"""Metrics of classification, named and defined as scikit-learn has them, each with its interval.

A macro average runs over the labels that are gold or answered at least once, and an undefined share
counts as 0 in it (scikit-learn's defaults). An unanswered item is wrong and answers no label.
Every metric is a function of three counts by label, so all resamples are evaluated at once. Only numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.evaluation.results import ClassScore, Estimate, Item
from metier.evaluation.significance.bootstrap import Resampled, Statistic, Units, resample
from metier.evaluation.statistics import CONFIDENCE, wilson_interval

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
NO_ANSWER = "(none)"
"""Where an unanswered item stands in a confusion."""


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """How often each label was right, gold and answered; arrays (…, labels)."""

    right: Floats
    gold: Floats
    answered: Floats


def _share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, 0 where `whole` is 0."""
    share: Floats = np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
    return share


def _known_share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, not a number where `whole` is 0."""
    share: Floats = np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)
    return share


def _macro(values: Floats, counts: LabelCounts) -> Floats:
    """Mean over the labels that occur."""
    occurs = (counts.gold + counts.answered) > 0
    return _known_share((values * occurs).sum(-1), occurs.sum(-1).astype(np.float64))


def _weighted(values: Floats, counts: LabelCounts) -> Floats:
    """Mean over labels, weighted by how often each is gold."""
    return _known_share((values * counts.gold).sum(-1), counts.gold.sum(-1))


def _accuracy(counts: LabelCounts) -> Floats:
    return _known_share(counts.right.sum(-1), counts.gold.sum(-1))


def _micro_precision(counts: LabelCounts) -> Floats:
    return _known_share(counts.right.sum(-1), counts.answered.sum(-1))


def _micro_f1(counts: LabelCounts) -> Floats:
    return _known_share(2 * counts.right.sum(-1), counts.gold.sum(-1) + counts.answered.sum(-1))


def _precisions(counts: LabelCounts) -> Floats:
    return _share(counts.right, counts.answered)


def _recalls(counts: LabelCounts) -> Floats:
    return _share(counts.right, counts.gold)


def _f1s(counts: LabelCounts) -> Floats:
    return _share(2 * counts.right, counts.gold + counts.answered)


def mcc(counts: LabelCounts) -> Floats:
    """Matthews correlation of many labels (Gorodkin 2004), -1 to 1; 0 where it is undefined, as scikit-learn has it.

    An unanswered item counts as answered by a label of its own.
    """
    n = counts.gold.sum(-1)
    none = n - counts.answered.sum(-1)
    covariance = counts.right.sum(-1) * n - (counts.gold * counts.answered).sum(-1)
    gold_spread = n**2 - (counts.gold**2).sum(-1)
    answer_spread = n**2 - (counts.answered**2).sum(-1) - none**2
    spread = np.sqrt(np.maximum(gold_spread * answer_spread, 0.0))
    value: Floats = np.divide(covariance, spread, out=np.zeros(np.shape(spread)), where=spread > 0)
    return value


Metric = Callable[[LabelCounts], Floats]
METRICS: Mapping[str, Metric] = {
    "accuracy": _accuracy,
    "macro_f1": lambda counts: _macro(_f1s(counts), counts),
    "micro_f1": _micro_f1,
    "weighted_f1": lambda counts: _weighted(_f1s(counts), counts),
    "macro_precision": lambda counts: _macro(_precisions(counts), counts),
    "micro_precision": _micro_precision,
    "weighted_precision": lambda counts: _weighted(_precisions(counts), counts),
    "macro_recall": lambda counts: _macro(_recalls(counts), counts),
    "micro_recall": _accuracy,
    "weighted_recall": lambda counts: _weighted(_recalls(counts), counts),
    "mcc": mcc,
}
"""Every metric that a recipe may name, in the order of tables."""


def all_labels(labels: Sequence[str], *columns: Sequence[str | None]) -> tuple[str, ...]:
    """`labels`, then what else occurs in `columns`, sorted: a gold unseen in training, an answer of its own."""
    extra = {label for column in columns for label in column if label is not None} - set(labels)
    return (*labels, *sorted(extra))


def answer_units(items: Sequence[Item], answers: Sequence[Sequence[str | None]]) -> tuple[Units, bool]:
    """Items as units to resample, with the label counts of one or more systems side by side.

    Args:
        items: They give the gold answers and the groups.
        answers: One sequence for each system, in the order of `items`.

    Returns:
        The units, whose features are gold, then (right, answered) of each system; and whether
        groups were drawn instead of items, as items of a group vary together.
    """
    golds = [item.gold for item in items]
    labels = all_labels((), golds, *answers)
    place = {label: number for number, label in enumerate(labels)}
    columns = [np.array([place[gold] for gold in golds], dtype=np.int64)]
    for said in answers:
        columns.append(np.array([len(labels) if label is None else place[label] for label in said], dtype=np.int64))
    groups = group_places(items)
    if groups is not None:
        counts = np.ones(int(groups.max()) + 1, dtype=np.int64)
        return Units(_sums(groups, columns, len(labels)), counts), True
    kinds, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    kinds_columns = [kinds[:, number] for number in range(kinds.shape[1])]
    return Units(_sums(np.arange(len(kinds)), kinds_columns, len(labels)), counts.astype(np.int64)), False


def group_places(items: Sequence[Item]) -> Places | None:
    """The group number of every item, numbered by sorted name, or None when no group has two items."""
    names = [f"item {item.id}" if item.group is None else f"group {item.group}" for item in items]
    distinct = sorted(set(names))
    if len(distinct) == len(names):
        return None
    number = {name: place for place, name in enumerate(distinct)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _sums(units: Places, columns: Sequence[Places], labels: int) -> Floats:
    """Label counts of every unit: (units, labels × (1 + 2 × systems))."""
    gold, *systems = columns

    def count(codes: Places, chosen: npt.NDArray[np.bool_]) -> Floats:
        flat = units[chosen] * labels + codes[chosen]
        return np.bincount(flat, minlength=size * labels).reshape(size, labels).astype(np.float64)

    size = int(units.max()) + 1
    blocks = [count(gold, np.ones(len(gold), dtype=np.bool_))]
    for said in systems:
        blocks += [count(gold, said == gold), count(said, said < labels)]
    return np.concatenate(blocks, axis=1)


def counts_of(sums: Floats, system: int = 0, systems: int = 1) -> LabelCounts:
    """The label counts of one system out of feature sums (…, features) as `answer_units` lays them out."""
    labels = sums.shape[-1] // (1 + 2 * systems)
    start = labels * (1 + 2 * system)
    right, answered = sums[..., start : start + labels], sums[..., start + labels : start + 2 * labels]
    return LabelCounts(right=right, gold=sums[..., :labels], answered=answered)


def measure(items: Sequence[Item], *, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric of one system's items, with its 95 % interval.

    Args:
        items: Answered records.
        resamples: Bootstrap resamples; only numbers without a closed form need them.
        seed: Seed of the resamples.
    """
    if not items:
        return {name: unknown(0, "there are no items") for name in METRICS}
    units, grouped = answer_units(items, [[item.answer for item in items]])
    resampled = resample(units, resamples, seed)
    return {name: _estimate(name, resampled, grouped, len(items)) for name in METRICS}


def unknown(n: int, reason: str) -> Estimate:
    """An estimate that could not be made."""
    return Estimate(value=None, low=None, high=None, n=n, method="none", reason=reason)


def bootstrap_name(resampled: Resampled, grouped: bool) -> str:
    """How an interval was made, as an `Estimate` says it."""
    draws = len(resampled.draws)
    return f"bca bootstrap ({draws}, {len(resampled.units.counts)} groups)" if grouped else f"bca bootstrap ({draws})"


def _estimate(name: str, resampled: Resampled, grouped: bool, n: int) -> Estimate:
    """One metric with the interval that fits it."""
    metric = METRICS[name]
    counts = counts_of(resampled.units.total)
    if name.endswith("precision") and not counts.answered.any():
        return unknown(n, "nothing was answered")
    return estimate(lambda sums: metric(counts_of(sums)), resampled, grouped=grouped, n=n, passes=metric is _accuracy)


def estimate(
    statistic: Statistic,
    resampled: Resampled,
    *,
    grouped: bool,
    n: int,
    passes: bool,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The value of a statistic with the interval that fits it.

    Args:
        statistic: From sums to values; defined on the sums of all units.
        resampled: The units and their resamples.
        grouped: Whether the units are groups of items.
        n: Items.
        passes: Whether it is the share of items that pass, which has a closed interval.
        confidence: Coverage, between 0 and 1.
    """
    value = float(statistic(resampled.units.total))
    if passes and (not grouped or value in (0.0, 1.0)):
        # All pass or all fail: so does every group, and Wilson over groups is a careful bound.
        trials = len(resampled.units.counts) if grouped else n
        low, high = wilson_interval(value * trials, trials, confidence)
        return Estimate(
            value=value, low=low, high=high, n=n, method=f"wilson ({trials} groups)" if grouped else "wilson"
        )
    interval = resampled.interval(statistic, confidence)
    method = bootstrap_name(resampled, grouped) if interval.reason is None else "none"
    return Estimate(value=value, low=interval.low, high=interval.high, n=n, method=method, reason=interval.reason)


def point_metrics(golds: Sequence[str], answers: Sequence[str | None]) -> dict[str, float | None]:
    """Every metric's value without an interval: for choosing on validation. None where it is undefined."""
    labels = all_labels((), golds, answers)
    place = {label: number for number, label in enumerate(labels)}
    right, gold, answered = np.zeros((3, len(labels)))
    for wanted, said in zip(golds, answers, strict=True):
        gold[place[wanted]] += 1
        right[place[wanted]] += said == wanted
        if said is not None:
            answered[place[said]] += 1
    counts = LabelCounts(right=right, gold=gold, answered=answered)
    values = {name: float(metric(counts)) for name, metric in METRICS.items()}
    undefined = {name for name in METRICS if name.endswith("precision") and not answered.any()}
    return {name: None if np.isnan(value) or name in undefined else value for name, value in values.items()}


def confusion_of(items: Sequence[Item], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts by gold, then by answer, without zeros; an unanswered item counts under `(none)`."""
    confusion: dict[str, dict[str, int]] = {label: {} for label in all_labels(labels, [item.gold for item in items])}
    for item in items:
        row = confusion[item.gold]
        answer = NO_ANSWER if item.answer is None else item.answer
        row[answer] = row.get(answer, 0) + 1
    return {gold: dict(sorted(row.items())) for gold, row in confusion.items()}


def score_classes(items: Sequence[Item], labels: Sequence[str]) -> dict[str, ClassScore]:
    """Precision, recall and F1 of every label; None where there is nothing to divide by."""
    golds, answers = Counter(item.gold for item in items), Counter(item.answer for item in items)
    hits = Counter(item.gold for item in items if item.gold == item.answer)
    scores = {}
    for label in all_labels(labels, list(golds), list(answers)):
        support, predicted, right = golds[label], answers[label], hits[label]
        scores[label] = ClassScore(
            precision=right / predicted if predicted else None,
            recall=right / support if support else None,
            f1=2 * right / (support + predicted) if support else None,
            support=support,
            predicted=predicted,
        )
    return scores
