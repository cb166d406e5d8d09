"""What cleaning changed: one way trained on cleaned rows and on rows as they were read, judged on the same test set.

Takes two evaluations; gives their paired comparison, the change of the metric, and one sentence. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metier.evaluation.compare import IMPROVED, NO_EVIDENCE, REGRESSED, compare
from metier.evaluation.evaluate import recompute
from metier.evaluation.results import Ablation, Comparison, Estimate, Evaluation
from metier.evaluation.sentences import metric_name, number
from metier.evaluation.written.text_metrics import sign

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

SET, CLEANED, RAW = "ablation", "cleaned", "raw"
"""The set's folder, and the two systems in it."""
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the two trainings were."""

    records: Mapping[str, int]
    """What was learned from: `cleaned` and `raw`."""
    steps: Mapping[str, int]
    """As in `Ablation`."""
    notes: tuple[str, ...] = ()


def as_pair(cleaned: Evaluation, raw: Evaluation) -> tuple[Evaluation, Evaluation]:
    """The two under their names in the ablation, with the labels of both.

    Args:
        cleaned: The promoted model on the test set.
        raw: The one that learned from rows as they were read, on the same items.
    """
    labels = tuple(sorted({*cleaned.labels, *raw.labels}))
    named = ((cleaned, CLEANED), (raw, RAW))
    one, other = (recompute(replace(each, system=name, labels=labels)) for each, name in named)
    return one, other


def compare_pair(
    pair: tuple[Evaluation, Evaluation], section: EvaluationSection, *, openings: int | None, seed: int
) -> Comparison:
    """Cleaned against raw, item by item.

    Args:
        pair: See `as_pair`.
        section: Primary metric, smallest useful gain, margin, resamples.
        openings: How often the test set was opened; this is no opening of its own.
        seed: Seed of the resamples.
    """
    return compare(pair[0], [pair[1]], section=section, openings=openings, seed=seed)


def tell_ablation(comparison: Comparison, trained: Trained) -> Ablation:
    """The change and the sentence of a comparison of cleaned with raw.

    Args:
        comparison: See `compare_pair`.
        trained: What the two trainings were.
    """
    row = comparison.differences[0]
    change = _change(row.metric, row.difference)
    return Ablation(
        metric=row.metric, change=change, verdict=row.verdict, sentence=_sentence(comparison, change),
        records=trained.records, steps=trained.steps, notes=trained.notes,
    )  # fmt: skip


def nothing_changed(metric: str, records: int) -> Ablation:
    """What there is to say where cleaning left train as it was.

    Args:
        metric: The primary metric.
        records: Training records.
    """
    sentence = "Cleaning changed nothing that is learned from, so there is nothing to compare."
    return Ablation(
        metric=metric, change=None, verdict="", sentence=sentence, records={CLEANED: records, RAW: records}, steps={}
    )


def _change(metric: str, better: Estimate) -> Estimate:
    """How the metric itself changed, from a difference that is positive where it got better."""
    if sign(metric) > 0 or better.value is None:
        return better
    low = None if better.high is None else -better.high
    high = None if better.low is None else -better.low
    return replace(better, value=-better.value, low=low, high=high)


def _sentence(comparison: Comparison, change: Estimate) -> str:
    """`Cleaning changed macro F1 by +0.012 [−0.004, +0.028], n = 300: …`."""
    metric = comparison.primary_metric
    lower = " (lower is better)" if sign(metric) < 0 else ""
    if change.value is None:
        return f"What cleaning changed is unknown: {metric_name(metric)} is unknown ({change.reason})."
    between = f"no interval: {change.reason}"
    if change.low is not None and change.high is not None:
        between = f"{signed(change.low)}, {signed(change.high)}"
    said = f"Cleaning changed {metric_name(metric)}{lower} by {signed(change.value)} [{between}], n = {change.n}"
    row = comparison.differences[0]
    if row.verdict == IMPROVED:
        return f"{said}: it helped."
    if row.verdict == REGRESSED:
        return f"{said}: it hurt."
    high, useful = row.difference.high, comparison.smallest_useful_gain
    if row.verdict == NO_EVIDENCE or (high is not None and high < useful):
        return f"{said}: no difference is shown, and a gain of {number(useful)} is ruled out."
    return f"{said}: no difference is shown, and a useful one cannot be ruled out."


def signed(value: float) -> str:
    """A change with its sign and three decimals: `+0.012`, `−0.004`."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", MINUS)
