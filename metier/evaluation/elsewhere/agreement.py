"""How far people, or a judge and people, agree beyond chance: Cohen's kappa and Krippendorff's alpha, with intervals.

Cohen (1960, 1968 with weights) for two raters who both rated every item; Krippendorff (2004, 2011) for any number of
raters with gaps. Both are functions of sums over items, so their intervals are BCa bootstraps over items. Only numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.errors import DataError
from metier.evaluation.metrics import bootstrap_name, unknown
from metier.evaluation.results import Estimate
from metier.evaluation.significance.bootstrap import Statistic, Units, resample

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000
WEIGHTS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "none": lambda i, j: (i != j).astype(np.float64),
    "linear": lambda i, j: np.abs(i - j),
    "quadratic": lambda i, j: (i - j) ** 2,
}
"""How much a disagreement between two places in the order of labels counts."""
LEVELS = ("nominal", "ordinal", "interval")
"""What Krippendorff's alpha may know of the values: names, an order, numbers."""


def cohen_kappa(
    first: Sequence[str],
    second: Sequence[str],
    *,
    labels: Sequence[str] = (),
    weights: str = "none",
    resamples: int = RESAMPLES,
    seed: int = 17,
) -> Estimate:
    """Agreement of two raters beyond chance, -1 to 1, with a 95 % interval.

    Args:
        first: Labels by one rater, shape (N,).
        second: Labels by the other, in the same order.
        labels: All labels in their order; needed for weights. Empty: those that occur, sorted.
        weights: A row of `WEIGHTS`.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate; unknown without items, or where both always say the same one thing.

    Raises:
        DataError: The raters have not rated the same number of items, or a label is not among `labels`.
    """
    if len(first) != len(second):
        raise DataError("agreement", f"{len(first)} and {len(second)} ratings", "as many of both raters")
    names = tuple(labels) or tuple(sorted({*first, *second}))
    place = {name: number for number, name in enumerate(names)}
    if extra := {*first, *second} - set(names):
        raise DataError("agreement", f"{len(extra)} labels are not in the order of labels", "all labels there")
    size = len(names)
    places = np.arange(size, dtype=np.float64)
    disagreement = WEIGHTS[weights](places[:, None], places[None, :])
    rows = np.zeros((len(first), size * size))
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        rows[number, place[one] * size + place[other]] = 1.0

    def kappa(sums: Floats) -> Floats:
        table = sums.reshape(*sums.shape[:-1], size, size)
        n = table.sum((-1, -2))
        chance = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :]
        observed, expected = (table * disagreement).sum((-1, -2)), (chance * disagreement).sum((-1, -2))
        ratio: Floats = np.divide(observed * n, expected, out=np.full(np.shape(n), np.nan), where=expected > 0)
        return 1 - ratio

    return _estimate(kappa, rows, resamples, seed, "both raters say the same one thing")


def krippendorff_alpha(
    ratings: Sequence[Sequence[str | float | None]],
    *,
    level: str = "nominal",
    order: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 17,
) -> Estimate:
    """Reliability of any number of raters, with gaps, and a 95 % interval; 1 is agreement, 0 is chance.

    Items with fewer than two ratings say nothing and are left out of `n`.

    Args:
        ratings: For each item one rating of each rater; None where there is none.
        level: One of `LEVELS`.
        order: The values from lowest to highest, for an ordinal level of texts. Empty: sorted.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.

    Raises:
        DataError: No such level, or an interval level of what is no number.
    """
    if level not in LEVELS:
        raise DataError("agreement", f"found the level {level!r}", f"one of {', '.join(LEVELS)}")
    items = [[value for value in row if value is not None] for row in ratings]
    items = [row for row in items if len(row) >= 2]
    values: list[str | float] = list(order) or sorted({value for row in items for value in row}, key=_rank)
    place = {value: number for number, value in enumerate(values)}
    if any(value not in place for row in items for value in row):
        raise DataError("agreement", "a rating is not in the order of values", "all values there")
    if level == "interval" and not all(isinstance(value, int | float) for value in values):
        raise DataError("agreement", "an interval level of ratings that are no numbers", "numbers, or ordinal")
    size = len(values)
    rows = np.stack([_coincidences(row, place) for row in items]) if items else np.zeros((0, size * size))
    apart = _distance(level, values)

    def alpha(sums: Floats) -> Floats:
        table = sums.reshape(*sums.shape[:-1], size, size)
        often = table.sum(-1)
        n = often.sum(-1)
        far = apart(often)
        observed = (table * far).sum((-1, -2))
        expected = (often[..., :, None] * often[..., None, :] * far).sum((-1, -2))
        ratio: Floats = np.divide(observed * (n - 1), expected, out=np.full(np.shape(n), np.nan), where=expected > 0)
        return 1 - ratio

    return _estimate(alpha, rows, resamples, seed, "all ratings are the same")


def _rank(value: str | float) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value), "")


def _coincidences(row: Sequence[str | float], place: Mapping[str | float, int]) -> Floats:
    """What one item adds to the coincidence matrix: its ordered pairs of ratings, each 1 / (ratings - 1)."""
    size = len(place)
    often = np.zeros(size)
    for value in row:
        often[place[value]] += 1
    table = np.outer(often, often) - np.diag(often)
    flat: Floats = (table / (len(row) - 1)).reshape(-1)
    return flat


def _distance(level: str, values: Sequence[str | float]) -> Callable[[Floats], Floats]:
    """From how often each value occurs (…, V) to squared distances of values, shape (…, V, V) or (V, V)."""
    size = len(values)
    if level == "nominal":
        fixed = 1.0 - np.eye(size)
        return lambda often: fixed
    if level == "interval":
        numbers = np.array([float(value) for value in values])
        squares = (numbers[:, None] - numbers[None, :]) ** 2
        return lambda often: squares

    def ordinal(often: Floats) -> Floats:
        # The ratings between two values, each end counted half.
        middle = np.cumsum(often, axis=-1) - often / 2
        far: Floats = (middle[..., :, None] - middle[..., None, :]) ** 2
        return far

    return ordinal


def _estimate(statistic: Statistic, rows: Floats, resamples: int, seed: int, undefined: str) -> Estimate:
    n = len(rows)
    if n == 0:
        return unknown(0, "no item was rated twice")
    units = Units(rows, np.ones(n, dtype=np.int64))
    value = float(statistic(units.total))
    if not np.isfinite(value):
        return unknown(n, undefined)
    resampled = resample(units, resamples, seed)
    interval = resampled.interval(statistic)
    method = bootstrap_name(resampled, False) if interval.reason is None else "none"
    return Estimate(value=value, low=interval.low, high=interval.high, n=n, method=method, reason=interval.reason)
