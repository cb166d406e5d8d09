"""Several training seeds: what is said about the recipe, beside what is said about one model.

Gates and verdicts judge one model, and items vary. A recipe gives another model with every seed, so its score
varies with seeds and items both. The components come from the two-way analysis of variance with one answer in
each cell (Searle, Casella and McCulloch 1992, Variance Components), the degrees of freedom of the sum from
Satterthwaite 1946. From five seeds on there is an interval; below that the spread alone is told, because the
spread of two or three numbers is itself hardly known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.distributions import student_quantile
from metier.evaluation.results import Estimate
from metier.evaluation.sentences import interval_text, metric_name, number
from metier.evaluation.statistics import CONFIDENCE, clustered_standard_error

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
LEAST_SEEDS = 5
"""Seeds from which on there is an interval."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variances of one answer's score; each estimate is unbiased before it is cut at 0."""

    seed: float
    """Between seeds: what another training changes on all items alike."""
    item: float
    """Between items: some are harder whatever the seed."""
    rest: float
    """Of seed and item together: which items a seed happens to get right."""

    @property
    def seed_spread(self) -> float:
        """Standard deviation between models of the score on endlessly many items, in units of the score."""
        return math.sqrt(self.seed)


@dataclass(frozen=True, kw_only=True)
class SeedStatement:
    """What several trainings of one recipe say."""

    metric: str
    values: tuple[float, ...]
    """The score of each seed's model on the test set, in the order of the seeds."""
    mean: float
    spread: float | None
    """Standard deviation of `values`; None for one seed."""
    lowest: float
    highest: float
    same_items: Estimate
    """The mean over seeds with an interval for more seeds on these very items (Student)."""
    new_items: Estimate
    """The same for more seeds and items of the same kind; unknown where scores are not kept by item."""
    components: Components | None
    sentence: str


def variance_components(scores: Floats) -> Components:
    """Variances between seeds, between items, and of the rest.

    Args:
        scores: A score for each seed and item, shape (seeds, items), at least 2 by 2.

    Raises:
        ArgumentError: There are fewer than two seeds or items.
    """
    between_seeds, between_items, rest = _mean_squares(scores)
    seeds, items = scores.shape
    return Components(
        seed=max(0.0, (between_seeds - rest) / items), item=max(0.0, (between_items - rest) / seeds), rest=rest
    )


def _mean_squares(scores: Floats) -> tuple[float, float, float]:
    """Mean squares of seeds, of items and of the rest."""
    if scores.ndim != 2 or min(scores.shape) < 2:
        found = f"found scores of shape {scores.shape}"
        raise ArgumentError("seeds", found, "at least two seeds (rows) and two items (columns)")
    seeds, items = scores.shape
    by_seed, by_item, middle = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    of_seeds = items * float(np.sum((by_seed - middle) ** 2)) / (seeds - 1)
    of_items = seeds * float(np.sum((by_item - middle) ** 2)) / (items - 1)
    left = scores - by_seed[:, None] - by_item[None, :] + middle
    return of_seeds, of_items, float(np.sum(left**2)) / ((seeds - 1) * (items - 1))


def seed_statement(
    values: Sequence[float],
    *,
    metric: str,
    scores: Floats | None = None,
    groups: Places | None = None,
    confidence: float = CONFIDENCE,
) -> SeedStatement:
    """What the models of several seeds say about their recipe. For a gain, give differences instead of scores.

    Args:
        values: The metric (or its difference from a baseline) of each seed's model, shape (seeds,).
        metric: Its name, for the sentence.
        scores: The same by item, shape (seeds, items), where `values` are its row means. None: not known by item.
        groups: Group number of each item. None: items stand alone.
        confidence: Coverage of the intervals, between 0 and 1.

    Raises:
        ArgumentError: There is no seed, a value is not finite, or values and scores do not fit together.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0 or not np.isfinite(data).all():
        raise ArgumentError("seeds", f"found {len(data)} values, some perhaps not finite", "a finite value a seed")
    if scores is not None and (len(scores) != len(data) or not np.allclose(scores.mean(axis=1), data, atol=1e-9)):
        raise ArgumentError("seeds", "found values that are not the means of the scores", "a row of scores a value")
    spread = float(data.std(ddof=1)) if len(data) > 1 else None
    enough = scores is not None and min(scores.shape) > 1
    statement = SeedStatement(
        metric=metric,
        values=tuple(float(value) for value in data),
        mean=float(data.mean()),
        spread=spread,
        lowest=float(data.min()),
        highest=float(data.max()),
        same_items=_same_items(data, confidence),
        new_items=_new_items(data, scores if enough else None, groups, confidence),
        components=variance_components(scores) if scores is not None and enough else None,
        sentence="",
    )
    return _with_sentence(statement)


def _too_few(data: Floats) -> Estimate:
    reason = f"{len(data)} seed{'s' if len(data) > 1 else ''}; an interval needs {LEAST_SEEDS}"
    return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)


def _same_items(data: Floats, confidence: float) -> Estimate:
    """Student's interval of the mean over seeds."""
    if len(data) < LEAST_SEEDS:
        return _too_few(data)
    half = student_quantile((1 + confidence) / 2, len(data) - 1) * float(data.std(ddof=1)) / math.sqrt(len(data))
    middle = float(data.mean())
    return Estimate(value=middle, low=middle - half, high=middle + half, n=len(data), method="student over seeds")


def _new_items(data: Floats, scores: Floats | None, groups: Places | None, confidence: float) -> Estimate:
    """Interval of the recipe's score over seeds and items: both kinds of variance, each with its own freedom."""
    if len(data) < LEAST_SEEDS:
        return _too_few(data)
    if scores is None:
        reason = "scores are not known by item"
        return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)
    seeds, items = scores.shape
    of_seeds, of_items, rest = _mean_squares(scores)
    by_item, freedom = of_items / (seeds * items), items - 1
    if groups is not None:
        error = clustered_standard_error(scores.mean(axis=0).tolist(), groups.tolist())
        if error is None:
            reason = "one group says nothing about spread"
            return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)
        by_item, freedom = error**2, len(np.unique(groups)) - 1
    # What seeds add beyond the rest, which the variance between items already holds.
    by_seed = max(0.0, of_seeds - rest) / (seeds * items)
    variance = by_item + by_seed
    degrees = _satterthwaite(
        (by_item, freedom), (of_seeds / (seeds * items) if by_seed else 0.0, seeds - 1),
        (rest / (seeds * items) if by_seed else 0.0, (seeds - 1) * (items - 1)), variance=variance,
    )  # fmt: skip
    half = student_quantile((1 + confidence) / 2, degrees) * math.sqrt(variance)
    middle = float(data.mean())
    method = f"student over {seeds} seeds and {items if groups is None else freedom + 1} items or groups"
    return Estimate(value=middle, low=middle - half, high=middle + half, n=len(data), method=method)


def _satterthwaite(*parts: tuple[float, float], variance: float) -> float:
    """Degrees of freedom of a sum of mean squares, given as (what each adds, its own degrees of freedom)."""
    below = sum(part**2 / freedom for part, freedom in parts if freedom > 0)
    return max(1.0, variance**2 / below) if below > 1e-300 else max(1.0, parts[0][1])


def _with_sentence(found: SeedStatement) -> SeedStatement:
    name, count = metric_name(found.metric), len(found.values)
    if found.spread is None:
        sentence = f"One seed: how much {name} varies with the seed is not known."
    elif count < LEAST_SEEDS:
        sentence = (
            f"{count} seeds give {name} {number(found.lowest)} to {number(found.highest)} (mean {number(found.mean)}). "
            f"An interval for the recipe needs {LEAST_SEEDS} seeds."
        )
    else:
        shown = found.new_items if found.new_items.low is not None else found.same_items
        where = "new items" if shown is found.new_items else "these items"
        sentence = (
            f"Over {count} seeds the recipe gives {name} {number(found.mean)} on {where} "
            f"({interval_text(shown).replace(', n =', ', seeds =')}); one model differs from the next by "
            f"{number(found.spread)} (standard deviation)."
        )
    return replace(found, sentence=sentence)
