"""Several labels for one item: sets of labels as text, their counts, and the metrics of `metrics.py` over them.

A set is kept as one canonical text, a JSON list in sorted order, so that item rows, files and comparisons
stay what they are for single labels. Definitions are scikit-learn's for indicator matrices; as everywhere in
metier, a macro average runs over the labels that are gold or answered at least once. Only numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.data.label_lists import gather_labels as gather_labels
from metier.data.label_lists import label_set as label_set
from metier.data.label_lists import set_text as set_text
from metier.data.label_lists import split_labels as split_labels
from metier.evaluation.labels.label_metrics import INVALID
from metier.evaluation.metrics import METRICS, LabelCounts, counts_of, estimate, group_places, unknown
from metier.evaluation.results import ClassScore, Estimate, Item
from metier.evaluation.significance.bootstrap import Resampled, Units, resample
from metier.evaluation.written.text_estimates import measure_texts
from metier.evaluation.written.text_metrics import Counts

Floats = npt.NDArray[np.float64]
SET_METRICS = tuple(name for name in METRICS if name not in ("accuracy", "mcc"))
"""Metrics of `metrics.METRICS` that mean something for sets; those of `COUNTED` are counted by item."""
COUNTED = ("exact_match", "hamming_loss", "invalid")
"""Metrics of sets that are counted by item."""
INVENTED = f"{INVALID}: names what is no label"
"""The reason beside a set of labels out of an answer that named others besides: it cannot be exactly right."""


def count_sets(items: Sequence[Item]) -> list[dict[str, Counts]]:
    """What every item adds to the metrics of `COUNTED`.

    An unanswered item matches nothing, and neither does one whose answer named what is no label. Hamming loss is over
    the labels that are gold somewhere among the items, the same for all systems on them; an answered label that is gold
    nowhere counts as wrong all the same.
    """
    size = float(max(1, len(frozenset[str]().union(*(label_set(item.gold) for item in items)))))
    rows: list[dict[str, Counts]] = []
    for item in items:
        gold, said = label_set(item.gold), label_set(item.answer)
        invalid = (item.reason or "").startswith(INVALID)
        same = item.answer is not None and gold == said and not invalid
        rows.append(
            {
                "exact_match": (float(same), 1.0),
                "hamming_loss": (float(len(gold ^ said)), size),
                "invalid": (float(invalid), 1.0),
            }
        )
    return rows


def set_score(golds: Sequence[frozenset[str]], answers: Sequence[frozenset[str]], metric: str) -> float:
    """A metric of sets without an interval, for choosing on validation; 0 where it is undefined.

    Args:
        golds: The right sets.
        answers: What was answered, in their order.
        metric: A name in `SET_METRICS`, or `exact_match`.
    """
    if metric == "exact_match":
        return float(np.mean([gold == said for gold, said in zip(golds, answers, strict=True)])) if golds else 0.0
    place = {name: number for number, name in enumerate(sorted(frozenset[str]().union(*golds, *answers)))}
    gold, said = _indicators(golds, place), _indicators(answers, place)
    counts = LabelCounts(right=(gold * said).sum(0), gold=gold.sum(0), answered=said.sum(0))
    value = float(METRICS[metric](counts)) if place else 0.0
    return 0.0 if np.isnan(value) else value


def set_units(items: Sequence[Item], answers: Sequence[Sequence[str | None]]) -> tuple[Units, bool]:
    """Items as units to resample, laid out as `metrics.counts_of` reads them.

    Args:
        items: They give the gold labels and the groups.
        answers: One sequence of canonical texts for each system, in the order of `items`.

    Returns:
        The units, whose features are gold, then (right, answered) of each system; and whether groups were drawn
        instead of items.
    """
    golds = [label_set(item.gold) for item in items]
    said = [[label_set(answer) for answer in each] for each in answers]
    names = sorted(frozenset[str]().union(*golds, *(labels for each in said for labels in each)))
    place = {name: number for number, name in enumerate(names)}
    gold = _indicators(golds, place)
    blocks = [gold]
    for each in said:
        answered = _indicators(each, place)
        blocks += [gold * answered, answered]
    rows = np.concatenate(blocks, axis=1)
    groups = group_places(items)
    if groups is None:
        return Units(rows, np.ones(len(items), dtype=np.int64)), False
    sums = np.zeros((int(groups.max()) + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return Units(sums, np.ones(len(sums), dtype=np.int64)), True


def measure_sets(items: Sequence[Item], *, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric of one system's sets of labels, with its 95 % interval.

    Args:
        items: Answered records with their counts.
        resamples: Bootstrap resamples; only numbers without a closed form need them.
        seed: Seed of the resamples.
    """
    counted = measure_texts(items, metrics=COUNTED, resamples=resamples, seed=seed)
    if not items:
        return {**{name: unknown(0, "there are no items") for name in SET_METRICS}, **counted}
    units, grouped = set_units(items, [[item.answer for item in items]])
    if units.sums.shape[1] == 0:
        reason = "no item has a label, gold or answered"
        return {**{name: unknown(len(items), reason) for name in SET_METRICS}, **counted}
    resampled = resample(units, resamples, seed)
    return {**{name: _estimate(name, resampled, grouped, len(items)) for name in SET_METRICS}, **counted}


def score_sets(items: Sequence[Item], labels: Sequence[str] = ()) -> dict[str, ClassScore]:
    """Precision, recall and F1 of every label; None where there is nothing to divide by.

    Args:
        items: Answered records.
        labels: Labels of train, which come first; others that occur follow, sorted.
    """
    support, predicted, right = Counter[str](), Counter[str](), Counter[str]()
    for item in items:
        gold, said = label_set(item.gold), label_set(item.answer)
        support.update(gold)
        predicted.update(said)
        right.update(gold & said)
    names = (*labels, *sorted({*support, *predicted} - set(labels)))
    return {
        name: ClassScore(
            precision=right[name] / predicted[name] if predicted[name] else None,
            recall=right[name] / support[name] if support[name] else None,
            f1=2 * right[name] / (support[name] + predicted[name]) if support[name] else None,
            support=support[name],
            predicted=predicted[name],
        )
        for name in names
    }


def _indicators(sets: Sequence[frozenset[str]], place: Mapping[str, int]) -> Floats:
    """Shape (items, labels), 1 where an item has the label."""
    rows = np.zeros((len(sets), len(place)))
    for number, labels in enumerate(sets):
        for label in labels:
            rows[number, place[label]] = 1.0
    return rows


def _estimate(name: str, resampled: Resampled, grouped: bool, n: int) -> Estimate:
    metric = METRICS[name]
    counts = counts_of(resampled.units.total)
    if name.endswith("precision") and not counts.answered.any():
        return unknown(n, "nothing was answered")
    if name.endswith("recall") and not counts.gold.any():
        return unknown(n, "no item has a gold label")
    if np.isnan(float(metric(counts))):
        return unknown(n, "there is nothing to count")
    return estimate(lambda sums: metric(counts_of(sums)), resampled, grouped=grouped, n=n, passes=False)
