"""Small data: every row a test row. Folds of whole groups, their answers joined, intervals that respect folds.

The models of the folds share most of their training rows, so folds are not independent, and no unbiased estimate of
their variance exists (Bengio and Grandvalet 2004, JMLR 5:1089). Intervals here use the correction of Nadeau and
Bengio 2003 (Machine Learning 52:239): the variance between folds is multiplied by 1 / k + 1 / (k - 1), test over
training size, in place of 1 / k. They speak of the recipe trained on (k - 1) / k of the rows; the shipped model is
trained on all. Only numpy.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from metier.data.records import Record
from metier.errors import DataError, MetierError
from metier.evaluation.metrics import unknown
from metier.evaluation.results import Estimate, Item
from metier.evaluation.significance.distributions import student_cdf, student_quantile
from metier.evaluation.statistics import CONFIDENCE

R = TypeVar("R", bound=Record)
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
FOLDS = 5
SMALL = 1000
"""Rows below which out-of-fold answers are proposed."""
STATED = (
    "Every row was answered by a model that was trained without it and without its group. These models share most "
    "of their training rows, so the interval is widened (Nadeau and Bengio 2003); it speaks of models trained on "
    "{share} of the rows."
)


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Answers to every row, each by a model that did not see it."""

    items: tuple[Item, ...]
    """In the order of the records."""
    fold_of: tuple[int, ...]
    """The fold of each item."""
    folds: int
    note: str
    """What has to be said beside every number."""


def grouped_folds(records: Sequence[Record], seed: int, folds: int = FOLDS) -> list[int]:
    """A fold for every record: groups stay whole, labels are spread evenly.

    Args:
        records: What is split.
        seed: Seed of the order in which groups are dealt.
        folds: How many, at least 2.

    Raises:
        DataError: There are fewer groups than folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        members[group_name(record)].append(place)
    if len(members) < folds:
        raise DataError("train", f"has {len(members)} independent records or groups", f"at least {folds}")
    names = sorted(members)
    shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    shuffled.sort(key=lambda name: -len(members[name]))  # stable: equal sizes stay shuffled
    fold_of = [0] * len(records)
    sizes, of_label = [0] * folds, [Counter[str]() for _ in range(folds)]
    for name in shuffled:
        label = Counter(records[place].stratum for place in members[name]).most_common(1)[0][0]
        fold = min(range(folds), key=lambda fold: (of_label[fold][label], sizes[fold]))
        for place in members[name]:
            fold_of[place] = fold
            of_label[fold][records[place].stratum] += 1
        sizes[fold] += len(members[name])
    return fold_of


def group_name(record: Record) -> str:
    """What a record varies together with: its group, or itself alone."""
    return f"item {record.id}" if record.group is None else f"group {record.group}"


def answer_out_of_fold(
    records: Sequence[R],
    answer: Callable[[Sequence[R], Sequence[R], int], Sequence[Item]],
    *,
    seed: int,
    folds: int = FOLDS,
) -> OutOfFold:
    """Let a recipe answer every record with a model that never saw it nor its group.

    Args:
        records: All records, with ids that occur once.
        answer: From (training records, records to answer, number of the fold) to one item a record, in order. All
            that is fitted or chosen, prompts and thresholds too, must come from its training records.
        seed: Seed of the folds.
        folds: How many.

    Raises:
        DataError: There are fewer groups than folds, or an id occurs twice.
        MetierError: A fold's items are not those of its records.
    """
    if len({record.id for record in records}) < len(records):
        raise DataError("train", "two records have one id", "ids that occur once")
    fold_of = grouped_folds(records, seed, folds)
    items: list[Item | None] = [None] * len(records)
    for fold in range(folds):
        inside = [record for record, its_fold in zip(records, fold_of, strict=True) if its_fold != fold]
        places = [place for place, its_fold in enumerate(fold_of) if its_fold == fold]
        outside = [records[place] for place in places]
        said = list(answer(inside, outside, fold))
        if [item.id for item in said] != [record.id for record in outside]:
            found = f"{len(said)} items that are not those of its {len(outside)} records"
            raise MetierError(f"fold {fold + 1}", found, "one item a record, in order")
        for place, item in zip(places, said, strict=True):
            items[place] = item
    note = STATED.format(share=f"{folds - 1} in {folds}")
    return OutOfFold(
        items=tuple(item for item in items if item is not None), fold_of=tuple(fold_of), folds=folds, note=note
    )


def fold_estimate(
    value: float, of_folds: Sequence[float], *, n: int, confidence: float = CONFIDENCE
) -> tuple[Estimate, float | None]:
    """A number over all rows with the interval that its values in the folds give, and the p-value of "it is 0".

    Args:
        value: The metric (or a difference) over all out-of-fold answers.
        of_folds: The same within each fold, shape (folds,).
        n: Rows.
        confidence: Coverage, between 0 and 1.

    Returns:
        The estimate, unknown bounds where there are fewer than two folds or a fold has no value; the two-sided
        p-value of the corrected resampled t-test, or None.
    """
    data = np.asarray(of_folds, dtype=np.float64)
    if len(data) < 2 or not np.isfinite(data).all():
        reason = "fewer than two folds" if len(data) < 2 else "a fold has no value"
        return Estimate(value=value, low=None, high=None, n=n, method="none", reason=reason), None
    error = corrected_error(data)
    method = f"corrected resampled t ({len(data)} folds)"
    if error < 1e-12:
        reason = "all folds have the same value"
        return Estimate(value=value, low=None, high=None, n=n, method="none", reason=reason), None
    half = student_quantile((1 + confidence) / 2, len(data) - 1) * error
    p_value = 2 * (1 - student_cdf(abs(value) / error, len(data) - 1))
    return Estimate(value=value, low=value - half, high=value + half, n=n, method=method), p_value


def corrected_error(of_folds: Floats) -> float:
    """Standard error of a mean over folds whose training sets overlap (Nadeau and Bengio 2003, section 4).

    Args:
        of_folds: A value for each fold of one cross-validation, shape (folds,), at least 2.
    """
    folds = len(of_folds)
    return math.sqrt((1 / folds + 1 / (folds - 1)) * float(of_folds.var(ddof=1)))


def fold_scores(scores: Floats, fold_of: Sequence[int]) -> Floats:
    """The mean score of each fold, shape (folds,).

    Args:
        scores: A score for each item, shape (items,).
        fold_of: The fold of each, from 0.
    """
    places = np.asarray(fold_of, dtype=np.int64)
    counts = np.bincount(places)
    means: Floats = np.bincount(places, weights=scores) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


def measure_out_of_fold(
    found: OutOfFold, metrics: Mapping[str, Callable[[Sequence[Item]], float | None]], confidence: float = CONFIDENCE
) -> dict[str, Estimate]:
    """Metrics over all rows, with intervals that respect folds.

    Args:
        found: The answers.
        metrics: Name to a function from items to the metric's value; None where it is undefined.
        confidence: Coverage, between 0 and 1.
    """
    parts: list[list[Item]] = [[] for _ in range(found.folds)]
    for item, fold in zip(found.items, found.fold_of, strict=True):
        parts[fold].append(item)
    estimates = {}
    for name, metric in metrics.items():
        value = metric(found.items)
        of_folds = [metric(part) for part in parts]
        if value is None:
            estimates[name] = unknown(len(found.items), "it is undefined on these items")
            continue
        known = [math.nan if each is None else each for each in of_folds]
        estimates[name] = fold_estimate(value, known, n=len(found.items), confidence=confidence)[0]
    return estimates


def compare_out_of_fold(
    first: OutOfFold, second: OutOfFold, score: Callable[[Item], float], confidence: float = CONFIDENCE
) -> tuple[Estimate, float | None]:
    """Mean score of the first minus that of the second, paired in the same folds, with interval and p-value.

    Args:
        first: The candidate's answers.
        second: The baseline's, on the same records and folds.
        score: From an item to its score, 1 and 0 for right and wrong.
        confidence: Coverage, between 0 and 1.

    Raises:
        DataError: The items or the folds are not the same.
    """
    same = [item.id for item in first.items] == [item.id for item in second.items]
    if not same or first.fold_of != second.fold_of:
        raise DataError("out of fold", "two systems have other items or other folds", "the same folds of the same rows")
    pairs = zip(first.items, second.items, strict=True)
    gaps = np.array([score(one) - score(other) for one, other in pairs], dtype=np.float64)
    of_folds = fold_scores(gaps, first.fold_of)
    return fold_estimate(float(gaps.mean()), of_folds.tolist(), n=len(gaps), confidence=confidence)
