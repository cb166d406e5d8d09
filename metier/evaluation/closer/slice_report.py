"""Where the promoted system is weak, beside the best that the user has without training: `slices.json`. Only numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.evaluation.closer.gaps import measure_gaps
from metier.evaluation.closer.slices import LEAST_SUPPORT, score_slices
from metier.evaluation.evidence import SliceReport
from metier.evaluation.measures import MEASURES
from metier.evaluation.metrics import group_places
from metier.evaluation.results import Evaluation, Item
from metier.evaluation.significance.paired import Resampling
from metier.evaluation.written.text_metrics import row_of, sign

Floats = npt.NDArray[np.float64]
RIGHT = "share of right answers"
NO_SCORE = "the answers have no score of their own that slices could be compared by"
FEW = f"no two of its slices have {LEAST_SUPPORT} items"


def item_scores(items: Sequence[Item], task: str, metric: str) -> tuple[str, Floats] | None:
    """A score for every item, higher is better, and what it is called.

    Written answers are scored by the primary metric where every item has a value of it; all else is right or wrong.

    Args:
        items: Answered records, at least one.
        task: The recipe's.
        metric: The primary metric.

    Returns:
        None where items have neither.
    """
    row, measures = row_of(metric), MEASURES[task]
    if row is not None and all(metric in item.counts for item in items):
        values = np.asarray(row.value(np.array([item.counts[metric] for item in items], dtype=np.float64)))
        if values.shape == (len(items),) and bool(np.isfinite(values).all()):
            return (metric, values) if sign(metric) > 0 else (f"minus {metric}", -values)
    if measures.right is None:
        return None
    return RIGHT, np.array([measures.is_right(item) for item in items], dtype=np.float64)


def report_slices(
    candidate: Evaluation,
    baseline: Evaluation | None,
    metric: str,
    kinds: Mapping[str, Sequence[str | None]],
    left_out: Mapping[str, str],
) -> SliceReport:
    """Every slice of every kind, worst first, and how unequal each kind is.

    Args:
        candidate: The promoted system.
        baseline: The best system that the user has without training, on the same items. None: none.
        metric: The primary metric.
        kinds: Kind to the slice of every item, in the candidate's order.
        left_out: Kinds that were asked for and are not there, with the reason.
    """
    scored = item_scores(candidate.items, candidate.task, metric)
    if scored is None:
        reasons = {**left_out, **dict.fromkeys(kinds, NO_SCORE)}
        return SliceReport(
            system=candidate.system, metric="", against=None, slices=(), gaps=(), left_out=reasons, kinds={}
        )
    name, scores = scored
    other = None if baseline is None else _scores_of(baseline, candidate, metric, name)
    how = Resampling(resamples=candidate.resamples, seed=candidate.seed)
    groups = group_places(candidate.items)
    return SliceReport(
        system=candidate.system,
        metric=name,
        against=None if baseline is None or other is None else baseline.system,
        slices=score_slices(scores, kinds, baseline=other, groups=groups, how=how),
        gaps=measure_gaps(scores, kinds, baseline=other, groups=groups, how=how),
        left_out=dict(left_out),
        kinds={kind: tuple(names) for kind, names in kinds.items()},
    )


def large_enough(names: Sequence[str | None]) -> bool:
    """Whether at least two slices of a kind have items enough to say something of."""
    often = Counter(name for name in names if name is not None)
    return sum(count >= LEAST_SUPPORT for count in often.values()) > 1


def _scores_of(other: Evaluation, candidate: Evaluation, metric: str, name: str) -> Floats | None:
    """The other system's scores in the candidate's order; None where it has no such score."""
    theirs = {item.id: item for item in other.items}
    if any(item.id not in theirs for item in candidate.items):
        return None
    found = item_scores([theirs[item.id] for item in candidate.items], candidate.task, metric)
    return None if found is None or found[0] != name else found[1]
