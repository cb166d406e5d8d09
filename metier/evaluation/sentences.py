"""The verdict of a comparison as plain English with its numbers, never kinder than they are."""

from __future__ import annotations

from metier.evaluation.advice import needless
from metier.evaluation.results import Comparison, Difference, Estimate
from metier.evaluation.systems import UNTRAINED
from metier.evaluation.written.text_metrics import TEXT_METRICS, sign


def metric_name(metric: str) -> str:
    """A metric as a person writes it: `macro_f1` is `macro F1`, `rougeL` is `ROUGE-L`."""
    if metric in TEXT_METRICS:
        return TEXT_METRICS[metric].title
    return metric.replace("_", " ").replace("f1", "F1")


def begins_sentence(name: str) -> str:
    """A name at the start of a sentence: `Macro F1`, but `chrF` and `ROUGE-L` stay as they are."""
    return name if name.split()[0] != name.split()[0].lower() else f"{name[0].upper()}{name[1:]}"


def power_name(metric: str) -> str:
    """What the smallest detectable difference is stated in: accuracy for labels, else the metric itself."""
    return metric_name(metric) if metric in TEXT_METRICS else "accuracy"


def number(value: float | None) -> str:
    """A score with two decimals, three where two would hide a difference from 0 or 1."""
    return numbers(value)[0]


def numbers(*values: float | None) -> list[str]:
    """Scores that stand together, with two decimals, or three where two would make different ones look equal."""
    known = {value for value in values if value is not None} | {0.0, 1.0}
    short = {f"{value:.2f}".replace("-0.00", "0.00") for value in known}
    decimals = 2 if len(short) == len(known) else 3
    return ["unknown" if value is None else f"{value:.{decimals}f}" for value in values]


def interval_text(estimate: Estimate) -> str:
    """`95 % interval 0.03 to 0.11, n = 300`, or why there is none."""
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}, n = {estimate.n}"
    low, high = numbers(estimate.low, estimate.high)
    return f"95 % interval {low} to {high}, n = {estimate.n}"


def comparison_sentence(comparison: Comparison, hardest: Difference) -> str:
    """The overall verdict in words.

    Args:
        comparison: All but its sentence.
        hardest: The difference that decides.
    """
    if hardest.difference.value is None:
        return f"Cannot tell: {metric_name(hardest.metric)} is unknown ({hardest.difference.reason})."
    parts = {
        "improved": _improved,
        "regressed": _regressed,
        "not worse": _not_worse,
        "no evidence": _no_evidence,
        "underpowered": _underpowered,
    }
    said = (parts[comparison.verdict](comparison, hardest), _recommended(comparison, hardest))
    return " ".join(part for part in said if part)


def _scores(row: Difference) -> str:
    """`macro F1 0.91 against 0.84 of tfidf`."""
    ours, theirs = numbers(row.candidate_value, row.baseline_value)
    lower = " (lower is better)" if sign(row.metric) < 0 else ""
    return f"{metric_name(row.metric)} {ours} against {theirs} of {row.baseline}{lower}"


def _change(row: Difference) -> str:
    """`a gain of 0.07 (95 % interval …)`, or a loss, or no difference."""
    value = row.difference.value or 0.0
    word = (
        f"a gain of {number(value)}" if value > 0 else f"a loss of {number(-value)}" if value < 0 else "no difference"
    )
    return f"{word} ({interval_text(row.difference)})"


def _improved(comparison: Comparison, row: Difference) -> str:
    useful = comparison.smallest_useful_gain
    sentence = f"Better than every alternative: {_scores(row)}, {_change(row)}."
    if (row.difference.value or 0.0) < useful:
        sentence += f" The gain is real but below {number(useful)}, the smallest that the recipe calls useful."
    return sentence


def _regressed(comparison: Comparison, row: Difference) -> str:
    return f"Worse than {row.baseline}: {_scores(row)}, {_change(row)}."


def _not_worse(comparison: Comparison, row: Difference) -> str:
    margin = number(comparison.not_worse_margin)
    return f"Not worse than {row.baseline} by {margin} or more: {_scores(row)}, {_change(row)}."


def _no_evidence(comparison: Comparison, row: Difference) -> str:
    useful = number(comparison.smallest_useful_gain)
    return f"No useful gain over {row.baseline}: {_scores(row)}, {_change(row)}, so a gain of {useful} is ruled out."


def _underpowered(comparison: Comparison, row: Difference) -> str:
    sentence = f"Cannot tell whether it is better than {row.baseline}: {_scores(row)}, {_change(row)}."
    more = (row.items_needed or 0) - comparison.n
    if more > 0:
        useful = number(comparison.smallest_useful_gain)
        items = f"{comparison.set.replace('_', '-')} items"
        sentence += f" To find a gain of {useful}, about {_rounded(more)} more {items} are needed."
    elif row.smallest_detectable is not None:
        least = number(row.smallest_detectable)
        sentence += f" This set shows {power_name(row.metric)} gains of {least} or more."
    return sentence


def _recommended(comparison: Comparison, row: Difference) -> str:
    """What to use: where training is needless the system without it, else the baseline that is not beaten.

    Args:
        comparison: All but its sentence.
        row: The difference that decides.
    """
    free = needless(comparison)
    if free is not None:
        score = "" if free is row else f" and scores {number(free.baseline_value)}"
        return f"Do not train; use {free.baseline}, which needs no training{score}."
    if comparison.verdict == "regressed":
        return f"Use {row.baseline} instead."
    if comparison.verdict == "no evidence":
        return f"Use {row.baseline}, which is as good, instead."
    return _unbeaten_free(comparison) if comparison.verdict == "underpowered" else ""


def _unbeaten_free(comparison: Comparison) -> str:
    """A baseline without training that is as good or better is worth a sentence of its own."""
    free = [
        row.baseline
        for row in comparison.differences
        if row.baseline in UNTRAINED and row.difference.value is not None and row.difference.value <= 0
    ]
    good = "high" if sign(comparison.primary_metric) > 0 else "low"
    return f"Until then use {free[0]}: it scores as {good} without training." if free else ""


def _rounded(count: int) -> str:
    """Two leading digits: more would claim what a plan cannot know."""
    size = max(1, 10 ** (len(str(count)) - 2))
    return f"{-(-count // size) * size:,}"
