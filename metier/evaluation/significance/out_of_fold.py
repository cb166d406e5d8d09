"""Small data: every row a test row. Folds of whole groups, and intervals that respect folds (`evaluation/folded.py`).

The models of the folds share most of their training rows, so folds are not independent, and no unbiased estimate of
their variance exists (Bengio and Grandvalet 2004, JMLR 5:1089). Intervals here use the correction of Nadeau and
Bengio 2003 (Machine Learning 52:239): the variance between folds is multiplied by 1 / k + 1 / (k - 1), test over
training size, in place of 1 / k. They speak of the recipe trained on (k - 1) / k of the rows; the shipped model is
trained on all. Only numpy.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metier.data.records import Record
from metier.errors import DataError
from metier.evaluation.results import Estimate
from metier.evaluation.significance.distributions import student_cdf, student_quantile
from metier.evaluation.statistics import CONFIDENCE

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
FOLDS = 5
STATED = (
    "Every row was answered by a model that was trained without it and without its group. These models share most "
    "of their training rows, so the interval is widened (Nadeau and Bengio 2003); it speaks of models trained on "
    "{share} of the rows."
)


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
