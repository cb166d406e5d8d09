"""Metrics of labels beyond right and wrong: top-k, abstentions, invalid answers, cost of errors, ordered labels.

What each item adds goes into `Item.counts` under the names of `text_metrics.ADDED_METRICS`, so that intervals and
paired comparisons are those of every other metric. `mcc` is a function of label counts as those of `metrics.py` are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from metier.errors import DataError
from metier.evaluation.metrics import mcc as mcc
from metier.evaluation.results import Item
from metier.evaluation.written.text_metrics import Counts

ABSTAINED, INVALID = "abstained", "invalid answer"
MISSING, TWICE = "no answer", "answered more than once"
REFUSED = "refused by the endpoint"
"""Begin the reasons of items without a label; `cut` and others say what was done to an input that was answered."""
TOP = (2, 3, 5)
"""The k of top-k."""


@dataclass(frozen=True, kw_only=True)
class CostMatrix:
    """What it costs to answer one label where another is gold."""

    costs: Mapping[str, Mapping[str, float]]
    """Gold label -> answered label -> cost; a right answer that is not named costs 0."""
    other: float = 1.0
    """Cost of a wrong answer that is not named."""
    unanswered: float = 1.0
    """Cost of no answer: what it costs to hand the item to a person."""
    abstained: Mapping[str, float] = field(default_factory=dict)
    """Gold label -> cost of no answer, where it is another one than `unanswered`."""

    def of(self, gold: str, answer: str | None) -> float:
        """The cost of one answer."""
        if answer is None:
            return self.abstained.get(gold, self.unanswered)
        return self.costs.get(gold, {}).get(answer, 0.0 if answer == gold else self.other)


@dataclass(frozen=True, kw_only=True)
class LabelQuestions:
    """What is asked about labels beyond right and wrong."""

    costs: CostMatrix | None = None
    order: tuple[str, ...] = ()
    """All labels from lowest to highest, where they have an order; empty where they have none."""


def with_label_counts(items: Sequence[Item], asked: LabelQuestions) -> list[Item]:
    """The items with what they add to each of the metrics that were asked for.

    Args:
        items: Answered records of a classification.
        asked: What is wanted besides abstained, invalid and missing answers, which always are.

    Raises:
        DataError: Labels are ordered, and a gold label is not in the order.
    """
    rows = count_labels(items, asked)
    return [replace(item, counts={**item.counts, **counts}) for item, counts in zip(items, rows, strict=True)]


def count_labels(items: Sequence[Item], asked: LabelQuestions) -> list[dict[str, Counts]]:
    """What every item adds, by metric; arguments and errors as `with_label_counts`."""
    place = _order(items, asked.order)
    rows: list[dict[str, Counts]] = []
    for item in items:
        reason = (item.reason or "") if item.answer is None else ""
        row: dict[str, Counts] = {
            "abstained": (float(reason.startswith(ABSTAINED)), 1.0),
            "invalid": (float(reason.startswith(INVALID)), 1.0),
            "missing": (float(item.answer is None and not reason.startswith((ABSTAINED, INVALID))), 1.0),
            "accuracy_answered": (0.0, 0.0) if item.answer is None else (float(item.answer == item.gold), 1.0),
        }
        row |= _top(item)
        if asked.costs is not None:
            row["cost"] = (asked.costs.of(item.gold, item.answer), 1.0)
        if asked.order:
            row |= _distances(place[item.gold], place.get(item.answer or ""), len(place))
        rows.append(row)
    return rows


def _order(items: Sequence[Item], order: Sequence[str]) -> dict[str, int]:
    place = {label: number for number, label in enumerate(order)}
    if not order:
        return place
    if len(place) < len(order):
        raise DataError("order of labels", "names a label twice", "every label once")
    unknown = sorted({item.gold for item in items} - set(place))
    if unknown:
        shown = ", ".join(map(repr, unknown[:3]))
        raise DataError("order of labels", f"lacks the gold labels {shown}", "every label once, lowest first")
    return place


def _top(item: Item) -> dict[str, Counts]:
    """Whether the gold label is among the k most probable; nothing for an answer without probabilities.

    Labels of equal probability are in the order in which the system names them.
    """
    if item.label_logprobs is None:
        return {f"top_{k}": (0.0, 1.0) for k in TOP} if item.answer is None else {}
    gold = item.label_logprobs.get(item.gold)
    if gold is None:
        return {f"top_{k}": (0.0, 1.0) for k in TOP}
    names = list(item.label_logprobs)
    earlier = names[: names.index(item.gold)]
    rank = sum(value > gold for value in item.label_logprobs.values())
    rank += sum(item.label_logprobs[name] == gold for name in earlier)
    return {f"top_{k}": (float(rank < k), 1.0) for k in TOP}


def _distances(gold: int, said: int | None, size: int) -> dict[str, Counts]:
    """What an item adds to the ordinal metrics; without an answer it is as far off as it can be."""
    if said is None:
        said = 0 if gold >= size - 1 - gold else size - 1
    i, j = float(gold), float(said)
    return {"ordinal_error": (abs(i - j), 1.0), "quadratic_kappa": ((i - j) ** 2, 1.0, i, i * i, j, j * j)}
