"""The promoted system on train, validation and test, side by side: did it learn, or learn by heart?"""

from __future__ import annotations

import math
from collections.abc import Mapping

from metier.errors import ArgumentError
from metier.evaluation.measures import MEASURES
from metier.evaluation.metrics import unknown
from metier.evaluation.results import Estimate, Evaluation, Overfitting
from metier.evaluation.sentences import begins_sentence, metric_name, number
from metier.evaluation.written.text_metrics import sign

NOTABLE_GAP = 0.05
"""A gap below this, however sure, is what any model shows that was fitted to its training data."""
SETS = ("train", "validation", "test")


def judge_overfitting(evaluations: Mapping[str, Evaluation], metric: str) -> Overfitting:
    """Put one metric of one system on its sets side by side.

    Args:
        evaluations: By set: `train` and `validation`, and `test` where it was opened.
        metric: The metric, usually the primary one.

    Raises:
        ArgumentError: No set was given.
    """
    if not evaluations:
        raise ArgumentError("overfitting", "found no evaluation", "train and validation")
    order = [name for name in SETS if name in evaluations] + [name for name in evaluations if name not in SETS]
    values = {name: evaluations[name].metrics.get(metric, unknown(0, "not measured")) for name in order}
    shown = ", ".join(f"{number(value.value)} on {name} (n = {value.n})" for name, value in values.items())
    lower = " (lower is better)" if sign(metric) < 0 else ""
    sentence = f"{begins_sentence(metric_name(metric))}{lower}: {shown}. {_gap_sentence(evaluations, metric)}"
    return Overfitting(metric=metric, values=values, sentence=sentence)


def _gap_sentence(evaluations: Mapping[str, Evaluation], metric: str) -> str:
    """Train minus validation in words; "memorises" only where the interval supports it."""
    held_out = next((name for name in ("validation", "test") if name in evaluations), None)
    if "train" not in evaluations or held_out is None:
        return "Whether it memorises is unknown: it was not scored on train and on unseen records."
    used = metric
    gap = _gap(evaluations["train"].metrics[metric], evaluations[held_out].metrics[metric])
    right = MEASURES[evaluations["train"].task].right
    if gap is None and right is not None:
        # A perfect score has no bootstrap interval, yet right and wrong have a closed one.
        used = right
        gap = _gap(evaluations["train"].metrics[used], evaluations[held_out].metrics[used])
    if gap is None:
        return "Whether it memorises is unknown: one of the two has no interval."
    value, low, high = gap
    side = "above" if value >= 0 else "below"
    what = f"Its {metric_name(used)} on train is {number(abs(value))} {side} {held_out}"
    facts = f"{what} (95 % interval {number(low)} to {number(high)})"
    better, at_least = (value, low) if sign(used) > 0 else (-value, -high)
    if at_least > 0 and better >= NOTABLE_GAP:
        return f"{facts}: it memorises part of its training records."
    if at_least > 0:
        return f"{facts}: a small gap, as every fitted model has."
    return f"{facts}: no sign of memorising, as far as these numbers of records can show."


def _gap(train: Estimate, held_out: Estimate) -> tuple[float, float, float] | None:
    """Difference of two independent estimates with Newcombe's interval from both intervals; None if unknown."""
    bounds = (train.value, train.low, train.high, held_out.value, held_out.low, held_out.high)
    if any(bound is None for bound in bounds):
        return None
    value_1, low_1, high_1, value_2, low_2, high_2 = (float(bound) for bound in bounds if bound is not None)
    gap = value_1 - value_2
    below = math.hypot(value_1 - low_1, high_2 - value_2)
    return gap, gap - below, gap + math.hypot(high_1 - value_1, value_2 - low_2)
