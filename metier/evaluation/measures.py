"""How each kind of answer is counted and measured: one row of `MEASURES` for each task.

Evaluating, comparing, verifying and judging are the same for all tasks; what differs is here. Imports
neither torch nor scipy nor scikit-learn, and text libraries only where texts are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.records import Marked, Record
from metier.evaluation.labels.multi_label import COUNTED, SET_METRICS, count_sets, measure_sets, score_sets, set_units
from metier.evaluation.metrics import METRICS, answer_units, confusion_of, counts_of, measure, score_classes
from metier.evaluation.results import Answer, Estimate, Evaluation, Item
from metier.evaluation.significance.bootstrap import Units
from metier.evaluation.written.spans import SPAN_METRICS, count_spans, score_spans, spans_text
from metier.evaluation.written.text_counts import Counts, Texts, count_texts, signatures
from metier.evaluation.written.text_estimates import measure_fields, measure_texts, pair_columns, text_units
from metier.evaluation.written.text_metrics import ADDED_METRICS, READ, WRITTEN, row_of, sign

Floats = npt.NDArray[np.float64]
Scored = Sequence[tuple[float, int] | None]
"""Of each record the sum of log-probabilities of its text and its tokens; None where it could not be scored."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Two systems on the same items, as units to resample, with what each got right."""

    units: Units
    grouped: bool
    values: Callable[[Floats], tuple[Floats, Floats]]
    """From sums (…, features) to the metric's values of the first and the second system (…)."""
    n: int
    """Items that are compared: those that the metric is about in both."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What has to be known of one kind of answer."""

    metrics: tuple[str, ...]
    """In the order of tables."""
    right: str | None
    """The metric by which an item is right or wrong; None where nothing is."""
    power: str | None
    """The metric that the smallest detectable difference is stated in. None: the one that is compared."""
    asks: bool
    """Whether systems are asked for answers; passages are only scored."""
    items: Callable[[Sequence[Record], Sequence[Answer], Scored | None], list[Item]]
    """Answered records as items, with their counts."""
    measure: Callable[[Sequence[Item], int, int], dict[str, Estimate]]
    """From (items, resamples, seed) to every metric."""
    details: Callable[[Evaluation], dict[str, Any]]
    """Fields of `Evaluation` beside the metrics that come from its items."""
    is_right: Callable[[Item], bool]
    """Whether an item is right."""
    sides: Callable[[Sequence[Item], Sequence[Item], str], Sides]
    """Two systems' items, in the same order, under one metric that both have."""
    recount: Callable[[Sequence[Item]], list[dict[str, Counts]]]
    """What the texts of items add, counted again; empty rows where items hold no texts."""
    settings: Callable[[], Mapping[str, Any]]
    """How the metrics were made."""


def score_of(evaluation: Evaluation, metric: str) -> float:
    """A metric as a score to choose by: higher is better, and an unknown one is lowest."""
    value = evaluation.metrics[metric].value
    return -math.inf if value is None else sign(metric) * value


def is_bounded(metric: str) -> bool:
    """Whether no value of a metric is above 1."""
    row = row_of(metric)
    return row is None or row.bounded


def passes(metric: str) -> bool:
    """Whether every item passes or fails by a metric of its counts, so that closed forms hold."""
    row = row_of(metric)
    return row is not None and row.passes


def added_metrics(items: Sequence[Item]) -> tuple[str, ...]:
    """The metrics beyond a task's own that all of some items hold counts of."""
    if not items:
        return ()
    return tuple(name for name in ADDED_METRICS if all(name in item.counts for item in items))


def _with_added(
    own: Callable[[Sequence[Item], int, int], dict[str, Estimate]],
) -> Callable[[Sequence[Item], int, int], dict[str, Estimate]]:
    """A task's own measuring, and the added metrics of items that hold counts of them."""

    def measured(items: Sequence[Item], resamples: int, seed: int) -> dict[str, Estimate]:
        added = added_metrics(items)
        found = own(items, resamples, seed)
        more = measure_texts(items, metrics=added, resamples=resamples, seed=seed) if added else {}
        return {**found, **{name: estimate for name, estimate in more.items() if name not in found}}

    return measured


def gold_of(record: Record) -> str:
    """The gold answer as items hold it: pieces of a text by their places."""
    return spans_text(record.spans) if isinstance(record, Marked) else record.gold


def _blank(record: Record, answer: Answer) -> Item:
    return Item(
        id=record.id,
        group=record.group,
        gold=record.gold,
        answer=answer.label,
        label_logprobs=answer.label_logprobs,
        prompt_hash=None,
        source=record.source,
        row=record.row,
        flags=record.flags,
        reason=answer.reason,
    )


def _label_items(records: Sequence[Record], answers: Sequence[Answer], scored: Scored | None) -> list[Item]:
    return [_blank(record, answer) for record, answer in zip(records, answers, strict=True)]


def _label_sides(ours: Sequence[Item], theirs: Sequence[Item], metric: str) -> Sides:
    if metric not in METRICS:
        return _text_sides(ours, theirs, metric)
    units, grouped = answer_units(ours, [[item.answer for item in side] for side in (ours, theirs)])
    value = METRICS[metric]
    return Sides(units, grouped, lambda sums: (value(counts_of(sums, 0, 2)), value(counts_of(sums, 1, 2))), len(ours))


def _label_details(evaluation: Evaluation) -> dict[str, Any]:
    items, labels = evaluation.items, evaluation.labels
    return {"per_class": score_classes(items, labels), "confusion": confusion_of(items, labels)}


def _written_items(records: Sequence[Record], answers: Sequence[Answer], scored: Scored | None) -> list[Item]:
    texts = Texts(
        golds=[record.gold for record in records],
        answers=[answer.text for answer in answers],
        stops=[answer.stop for answer in answers],
        inputs=[record.text for record in records],
    )
    losses = _losses(scored, len(records))
    return [
        replace(_blank(record, answer), answer=answer.text, stop=answer.stop, counts={**counts, **loss})
        for record, answer, counts, loss in zip(records, answers, count_texts(texts), losses, strict=True)
    ]


def _written_details(evaluation: Evaluation) -> dict[str, Any]:
    fields = measure_fields(evaluation.items, resamples=evaluation.resamples, seed=evaluation.seed)
    return {"per_field": fields}


def _written_again(items: Sequence[Item]) -> list[dict[str, Counts]]:
    golds, answers = [item.gold for item in items], [item.answer for item in items]
    return count_texts(Texts(golds=golds, answers=answers, stops=[item.stop for item in items]))


def _read_items(records: Sequence[Record], answers: Sequence[Answer], scored: Scored | None) -> list[Item]:
    items = []
    for record, answer, loss in zip(records, answers, _losses(scored, len(records)), strict=True):
        size = float(len(record.text.encode("utf-8", "replace")))
        counts = {name: (nats, size if tokens else 0.0) for name, (nats, tokens) in loss.items()}
        bytes_too = {"bits_per_byte": counts["loss"]} if loss else {}
        items.append(replace(_blank(record, answer), counts={**loss, **bytes_too}))
    return items


def _losses(scored: Scored | None, n: int) -> list[dict[str, tuple[float, float]]]:
    """What each item adds to `loss`: its nats and tokens, both 0 where it could not be scored."""
    if scored is None:
        return [{} for _ in range(n)]
    rows = []
    for pair in scored:
        known = pair is not None and pair[1] > 0 and math.isfinite(pair[0])
        rows.append({"loss": (-float(pair[0]), float(pair[1])) if pair is not None and known else (0.0, 0.0)})
    return rows


def _text_sides(ours: Sequence[Item], theirs: Sequence[Item], metric: str) -> Sides:
    columns = pair_columns(ours, theirs, metric)
    assert columns is not None  # both values are known
    units, grouped = text_units(ours, columns)
    row = row_of(metric)
    assert row is not None  # neither task has other metrics here
    value, size = row.value, row.features
    n = int(np.count_nonzero(columns[:, 1])) if row.own_n else len(ours)
    return Sides(units, grouped, lambda sums: (value(sums[..., :size]), value(sums[..., size:])), n)


def _set_items(records: Sequence[Record], answers: Sequence[Answer], scored: Scored | None) -> list[Item]:
    items = _label_items(records, answers, scored)
    return [replace(item, counts=counts) for item, counts in zip(items, count_sets(items), strict=True)]


def _set_sides(ours: Sequence[Item], theirs: Sequence[Item], metric: str) -> Sides:
    if metric not in SET_METRICS:
        return _text_sides(ours, theirs, metric)
    units, grouped = set_units(ours, [[item.answer for item in side] for side in (ours, theirs)])
    value = METRICS[metric]
    return Sides(units, grouped, lambda sums: (value(counts_of(sums, 0, 2)), value(counts_of(sums, 1, 2))), len(ours))


def _span_items(records: Sequence[Record], answers: Sequence[Answer], scored: Scored | None) -> list[Item]:
    # By offsets: results name no words of the text.
    golds = [gold_of(record) for record in records]
    rows = count_spans(golds, [answer.text for answer in answers])
    return [
        replace(_blank(record, answer), gold=gold, answer=answer.text, stop=answer.stop, counts=counts)
        for record, gold, answer, counts in zip(records, golds, answers, rows, strict=True)
    ]


LABELS = Measures(
    metrics=tuple(METRICS),
    right="accuracy",
    power="accuracy",
    asks=True,
    items=_label_items,
    measure=_with_added(lambda items, resamples, seed: measure(items, resamples=resamples, seed=seed)),
    details=_label_details,
    is_right=lambda item: item.answer == item.gold,
    sides=_label_sides,
    recount=lambda items: [{} for _ in items],
    settings=dict,
)
ANSWERS = Measures(
    metrics=WRITTEN,
    right="exact_match",
    power=None,
    asks=True,
    items=_written_items,
    measure=_with_added(
        lambda items, resamples, seed: measure_texts(items, metrics=WRITTEN, resamples=resamples, seed=seed)
    ),
    details=_written_details,
    is_right=lambda item: item.counts["exact_match"][0] > 0,
    sides=_text_sides,
    recount=_written_again,
    settings=lambda: {"signatures": signatures()},
)
PASSAGES = Measures(
    metrics=READ,
    right=None,
    power=None,
    asks=False,
    items=_read_items,
    measure=lambda items, resamples, seed: measure_texts(items, metrics=READ, resamples=resamples, seed=seed),
    details=lambda evaluation: {},
    is_right=lambda item: False,
    sides=_text_sides,
    recount=lambda items: [{} for _ in items],
    settings=dict,
)
LABEL_SETS = Measures(
    metrics=(*SET_METRICS, *COUNTED),
    right="exact_match",
    power=None,
    asks=True,
    items=_set_items,
    measure=_with_added(lambda items, resamples, seed: measure_sets(items, resamples=resamples, seed=seed)),
    details=lambda evaluation: {"per_class": score_sets(evaluation.items, evaluation.labels)},
    is_right=lambda item: item.counts["exact_match"][0] > 0,
    sides=_set_sides,
    recount=count_sets,
    settings=dict,
)
"""Several labels at once."""
SPANS = Measures(
    metrics=SPAN_METRICS,
    right="exact_match",
    power=None,
    asks=True,
    items=_span_items,
    measure=_with_added(
        lambda items, resamples, seed: measure_texts(items, metrics=SPAN_METRICS, resamples=resamples, seed=seed)
    ),
    details=lambda evaluation: {"per_class": score_spans(evaluation.items, evaluation.labels)},
    is_right=lambda item: item.counts["exact_match"][0] > 0,
    sides=_text_sides,
    recount=lambda items: count_spans([item.gold for item in items], [item.answer for item in items]),
    settings=dict,
)
"""Pieces of the text, by character offsets."""
MEASURES: Mapping[str, Measures] = {
    "classification": LABELS, "generation": ANSWERS, "chat": ANSWERS, "text": PASSAGES, "multilabel": LABEL_SETS,
    "extraction": SPANS,
}  # fmt: skip
"""Task of a recipe -> how its answers are measured."""
