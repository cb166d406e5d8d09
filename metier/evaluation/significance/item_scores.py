"""A metric as a mean over items, so that its variance can be taken apart: the jackknife's pseudo-values.

Accuracy is a mean over items as it is; macro F1, chrF or BLEU are not. The pseudo-value of an item is n times the
metric on all items minus n - 1 times the metric without it (Tukey 1958; Efron and Tibshirani 1993, chapter 11). For a
mean these are the items' own scores. Their mean is moved onto the metric, from which it differs by the jackknife's
estimate of bias. Only numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from metier.evaluation.measures import MEASURES
from metier.evaluation.metrics import METRICS, LabelCounts, all_labels
from metier.evaluation.results import Item

Floats = npt.NDArray[np.float64]
AT_ONCE = 2000
"""Items that are left out, one by one, in one matrix."""


def item_scores(items: Sequence[Item], task: str, metric: str) -> Floats | None:
    """A score for each item, shape (items,), whose mean is the metric.

    Args:
        items: One system's answers.
        task: A row of `MEASURES`.
        metric: One that these items have.

    Returns:
        None where the metric is undefined on the items, or without one of them.
    """
    n = len(items)
    if n < 2:
        return None
    by_labels = MEASURES[task].right == "accuracy" and metric in METRICS
    value, without = _of_labels(items, metric) if by_labels else _of_sums(items, task, metric)
    if not (np.isfinite(value) and np.isfinite(without).all()):
        return None
    scores: Floats = n * value - (n - 1) * without
    scores += value - scores.mean()
    return scores


def _of_labels(items: Sequence[Item], metric: str) -> tuple[float, Floats]:
    """The metric, and the metric without each item; items of equal gold and answer are left out once."""
    pairs = [(item.gold, item.answer) for item in items]
    labels = all_labels((), [gold for gold, _ in pairs], [said for _, said in pairs])
    place = {label: number for number, label in enumerate(labels)}
    gold, answered, right = np.zeros((3, len(labels)))
    for wanted, said in pairs:
        gold[place[wanted]] += 1
        right[place[wanted]] += wanted == said
        if said is not None:
            answered[place[said]] += 1
    measure = METRICS[metric]
    distinct = list(dict.fromkeys(pairs))
    found: dict[tuple[str, str | None], float] = {}
    for start in range(0, len(distinct), AT_ONCE):
        some = distinct[start : start + AT_ONCE]
        less = LabelCounts(*(np.tile(counts, (len(some), 1)) for counts in (right, gold, answered)))
        for row, (wanted, said) in enumerate(some):
            less.gold[row, place[wanted]] -= 1
            less.right[row, place[wanted]] -= wanted == said
            if said is not None:
                less.answered[row, place[said]] -= 1
        found.update(zip(some, measure(less).tolist(), strict=True))
    value = float(measure(LabelCounts(right=right, gold=gold, answered=answered)))
    return value, np.array([found[pair] for pair in pairs], dtype=np.float64)


def _of_sums(items: Sequence[Item], task: str, metric: str) -> tuple[float, Floats]:
    """The same for a metric of sums that each item adds to."""
    alone = [replace(item, group=None) for item in items]  # each a unit of its own, in order
    sides = MEASURES[task].sides(alone, alone, metric)
    rows, total = sides.units.sums, sides.units.total
    value = float(sides.values(total)[0])
    pieces = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    return value, np.concatenate([sides.values(total - piece)[0] for piece in pieces])
