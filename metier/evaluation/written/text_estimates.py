"""From the counts of items to estimates, for written answers and passages. Only numpy: no text is read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.evaluation.metrics import estimate, group_places, unknown
from metier.evaluation.results import Estimate, Item
from metier.evaluation.significance.bootstrap import Resampled, Statistic, Units, resample
from metier.evaluation.written.text_metrics import ADDED_METRICS, FIELD, TEXT_METRICS, TextMetric, ratio

Floats = npt.NDArray[np.float64]
METRICS: Mapping[str, TextMetric] = {**TEXT_METRICS, **ADDED_METRICS}
"""Every metric that is made from the counts of items."""
MOST_FIELDS = 50
"""Fields of JSON answers that are reported: those that most gold answers have."""


def columns_of(items: Sequence[Item], metric: str) -> Floats | None:
    """What each item adds to a metric, shape (items, features); None where an item does not say."""
    rows = [item.counts.get(metric) for item in items]
    if not rows or any(row is None for row in rows):
        return None
    return np.array(rows, dtype=np.float64)


def text_units(items: Sequence[Item], columns: Floats) -> tuple[Units, bool]:
    """Items as units to resample, and whether groups are drawn instead of items.

    Args:
        items: They give the groups.
        columns: What each adds, shape (items, features).
    """
    groups = group_places(items)
    if groups is None:
        return Units(columns, np.ones(len(items), dtype=np.int64)), False
    sums = np.zeros((int(groups.max()) + 1, columns.shape[1]))
    np.add.at(sums, groups, columns)
    return Units(sums, np.ones(len(sums), dtype=np.int64)), True


def measure_texts(items: Sequence[Item], *, metrics: Sequence[str], resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric of one system's items, with its 95 % interval.

    Args:
        items: Answered records with their counts.
        metrics: Names out of `METRICS`.
        resamples: Bootstrap resamples; only numbers without a closed form need them.
        seed: Seed of the resamples.
    """
    if not items:
        return {name: unknown(0, "there are no items") for name in metrics}
    known = {name: columns for name in metrics if (columns := columns_of(items, name)) is not None}
    if not known:
        return {name: unknown(len(items), METRICS[name].missing) for name in metrics}
    units, grouped = text_units(items, np.concatenate(list(known.values()), axis=1))
    # Shares of items that pass have a closed interval: where there is nothing else, nothing has to be drawn.
    closed = not grouped and all(METRICS[name].passes for name in known)
    resampled = resample(units, 1 if closed else resamples, seed)
    found: dict[str, Estimate] = {}
    start = 0
    for name in metrics:
        metric = METRICS[name]
        if name not in known:
            found[name] = unknown(len(items), metric.missing)
            continue
        n = int(np.count_nonzero(known[name][:, 1])) if metric.own_n else len(items)
        found[name] = _estimate(metric, slice(start, start + metric.features), resampled, grouped, n)
        start += metric.features
    return found


def measure_fields(items: Sequence[Item], *, resamples: int, seed: int) -> dict[str, Estimate]:
    """How alike each field of JSON answers is to the gold one, over the items whose gold answer has the field.

    Args:
        items: Answered records with their counts.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.
    """
    often = Counter(name for item in items for name in item.counts if name.startswith(FIELD))
    names = sorted(sorted(often, key=lambda name: (-often[name], name))[:MOST_FIELDS])
    if not names:
        return {}
    columns = np.array([[item.counts.get(name, (0.0, 0.0)) for name in names] for item in items], dtype=np.float64)
    units, grouped = text_units(items, columns.reshape(len(items), -1))
    resampled = resample(units, resamples, seed)
    return {
        name.removeprefix(FIELD): estimate(
            _on(slice(2 * place, 2 * place + 2), ratio), resampled, grouped=grouped, n=often[name], passes=False
        )
        for place, name in enumerate(names)
    }


def pair_columns(items: Sequence[Item], theirs: Sequence[Item], metric: str) -> Floats | None:
    """What each item adds to a metric for two systems side by side; None where one of them does not say.

    An item that one of the two could not score (no tokens) counts for neither.
    """
    ours, other = columns_of(items, metric), columns_of(theirs, metric)
    if ours is None or other is None:
        return None
    if METRICS[metric].own_n:
        both = (ours[:, 1:2] > 0) & (other[:, 1:2] > 0)
        ours, other = ours * both, other * both
    return np.concatenate([ours, other], axis=1)


def _estimate(metric: TextMetric, where: slice, resampled: Resampled, grouped: bool, n: int) -> Estimate:
    statistic = _on(where, metric.value)
    if np.isnan(float(statistic(resampled.units.total))):
        return unknown(n, metric.undefined)
    return estimate(statistic, resampled, grouped=grouped, n=n, passes=metric.passes)


def _on(where: slice, value: Callable[[Floats], Floats]) -> Statistic:
    """A statistic of some of the columns."""
    return lambda sums: value(sums[..., where])


def same_counts(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], metric: str) -> bool:
    """Whether two items add the same to a metric, up to the rounding of a file."""
    first, second = one.get(metric), other.get(metric)
    if first is None or second is None:
        return first is second
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=1e-9, atol=1e-9))
