"""Answers that came fold by fold: every number of them with an interval that respects the folds.

An item carries its fold (`Item.fold`), so that all of this is computed again from the item rows alone. The statistics
are `significance/out_of_fold.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from metier.errors import MetierError
from metier.evaluation.measures import MEASURES, Measures, is_bounded
from metier.evaluation.results import Estimate, Evaluation, FoldReport, Item
from metier.evaluation.significance.out_of_fold import STATED, fold_estimate
from metier.evaluation.written.text_metrics import sign

SIGNED = frozenset({"mcc", "quadratic_kappa"})
"""Metrics that can be below 0."""


def is_folded(items: Sequence[Item]) -> bool:
    """Whether these answers came fold by fold.

    Args:
        items: Answered records.

    Raises:
        MetierError: Some did and some did not.
    """
    known = sum(item.fold is not None for item in items)
    if known not in (0, len(items)):
        raise MetierError("items", f"{known} of {len(items)} have a fold", "a fold for all or for none")
    return known > 0


def dependence(items: Sequence[Item]) -> str:
    """What has to be said beside every number of such answers; empty where there are no folds.

    Args:
        items: Answered records.
    """
    if not is_folded(items):
        return ""
    folds = len(_places(items))
    return STATED.format(share=f"{folds - 1} in {folds}")


def with_fold_intervals(evaluation: Evaluation) -> Evaluation:
    """The evaluation, its intervals made from the values within folds; as it is where there are no folds.

    Args:
        evaluation: With its items, and every number computed as if they stood alone.
    """
    if not is_folded(evaluation.items):
        return evaluation
    clean = [item for item in evaluation.items if not item.flags]
    return replace(
        evaluation,
        metrics=_widened(evaluation.metrics, evaluation.items, evaluation),
        clean_metrics=_widened(evaluation.clean_metrics, clean, evaluation) if evaluation.clean_metrics else {},
    )


def fold_values(evaluation: Evaluation, metric: str) -> tuple[float | None, ...]:
    """A metric within each fold; None where it is undefined there.

    Args:
        evaluation: Answers that came fold by fold.
        metric: One that its task has.
    """
    found = [_measured(part, evaluation).get(metric) for part in _parts(evaluation.items)]
    return tuple(None if each is None else each.value for each in found)


def fold_differences(measures: Measures, ours: Sequence[Item], theirs: Sequence[Item], metric: str) -> list[float]:
    """What one system has more than another within each fold, positive where it is better; NaN where undefined.

    Args:
        measures: Of the task.
        ours: Answers that came fold by fold.
        theirs: The other system's, in the same order.
        metric: One that both have.
    """
    found = []
    for places in _places(ours):
        sides = measures.sides([ours[place] for place in places], [theirs[place] for place in places], metric)
        one, other = sides.values(sides.units.total)
        found.append(sign(metric) * float(one - other))
    return found


def again(reported: FoldReport, systems: Mapping[str, Evaluation]) -> FoldReport:
    """The report with every number that items give computed again.

    Args:
        reported: As it was written.
        systems: All systems of the set, with their items.
    """
    items = next(iter(systems.values())).items
    values = {name: fold_values(each, reported.metric) for name, each in systems.items()}
    return replace(reported, sizes=tuple(len(places) for places in _places(items)), values=values)


def _widened(metrics: Mapping[str, Estimate], items: Sequence[Item], about: Evaluation) -> dict[str, Estimate]:
    """Each metric with the interval that its values within folds give."""
    parts = [_measured(part, about) for part in _parts(items)]
    found = {}
    for name, whole in metrics.items():
        values = [part[name].value if name in part else None for part in parts]
        known = [math.nan if value is None else value for value in values]
        if whole.value is None:
            found[name] = whole
        else:
            found[name] = _inside(fold_estimate(whole.value, known, n=whole.n)[0], name)
    return found


def _inside(estimate: Estimate, metric: str) -> Estimate:
    """The estimate, its bounds not beyond what the metric can be."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return estimate
    least = -1.0 if metric in SIGNED else 0.0
    return replace(estimate, low=max(low, least), high=min(high, 1.0) if is_bounded(metric) else high)


def _measured(items: Sequence[Item], about: Evaluation) -> Mapping[str, Estimate]:
    """Values alone: one resample, as their own intervals are not asked for."""
    return MEASURES[about.task].measure(items, 1, about.seed)


def _parts(items: Sequence[Item]) -> list[list[Item]]:
    return [[items[place] for place in places] for places in _places(items)]


def _places(items: Sequence[Item]) -> list[list[int]]:
    """Places of the items of each fold, by its number."""
    folds = 1 + max((item.fold or 0) for item in items)
    places: list[list[int]] = [[] for _ in range(folds)]
    for place, item in enumerate(items):
        places[item.fold or 0].append(place)
    return places
