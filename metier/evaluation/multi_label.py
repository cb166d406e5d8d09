"""Several labels for one item: sets of labels as text, their counts, and the metrics of `metrics.py` over them.

A set is kept as one canonical text, a JSON list in sorted order, so that item rows, files and comparisons
stay what they are for single labels. Definitions are scikit-learn's for indicator matrices; as everywhere in
metier, a macro average runs over the labels that are gold or answered at least once. Only numpy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.errors import DataError
from metier.evaluation.bootstrap import Resampled, Units, resample
from metier.evaluation.metrics import METRICS, counts_of, estimate, group_places, unknown
from metier.evaluation.results import ClassScore, Estimate, Item
from metier.evaluation.text_estimates import measure_texts
from metier.evaluation.text_metrics import Counts

Floats = npt.NDArray[np.float64]
SET_METRICS = tuple(name for name in METRICS if name != "accuracy")
"""Metrics of `metrics.METRICS` that mean something for sets; `exact_match` and `hamming_loss` are counted by item."""
_YES = frozenset({"1", "true", "yes", "y", "x", "t"})
_NO = frozenset({"", "0", "false", "no", "n", "f"})


def set_text(labels: Iterable[str]) -> str:
    """Labels as one canonical text: a JSON list, sorted, each once; `[]` for none."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def label_set(text: str | None) -> frozenset[str]:
    """The labels of a canonical text; empty for None.

    Raises:
        DataError: The text is no JSON list of texts.
    """
    if text is None:
        return frozenset()
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise DataError("labels", "an item's labels are no JSON list", 'such as ["a", "b"]') from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError("labels", "an item's labels are no list of texts", 'such as ["a", "b"]')
    return frozenset(labels)


def split_labels(cell: str | None, separator: str) -> str:
    """The canonical text of a cell such as `billing; refund`; empty parts are left out.

    Args:
        cell: Labels in one text, or a JSON list. None: no label.
        separator: What stands between labels.
    """
    if cell is None:
        return set_text(())
    if cell.lstrip().startswith("["):
        return set_text(label_set(cell))
    return set_text(part.strip() for part in cell.split(separator) if part.strip())


def gather_labels(row: Mapping[str, str | None], columns: Sequence[str], where: str = "data.label") -> str:
    """The canonical text of a row that has one column of yes and no for each label.

    Args:
        row: Cells by column.
        columns: The label columns.
        where: The recipe's field, for the message.

    Raises:
        DataError: A column is missing, or a cell is neither yes nor no.
    """
    found = []
    for column in columns:
        if column not in row:
            raise DataError(where, f"there is no column `{column}`", "one column for each label")
        cell = (row[column] or "").strip().lower()
        if cell not in _YES | _NO:
            raise DataError(
                where, f"the column `{column}` holds a cell that is neither yes nor no",
                "1 and 0, true and false, or yes and no", "For a column that names labels use a separator instead.",
            )  # fmt: skip
        if cell in _YES:
            found.append(column)
    return set_text(found)


def count_sets(items: Sequence[Item]) -> list[dict[str, Counts]]:
    """What every item adds to `exact_match` and `hamming_loss`.

    An unanswered item matches nothing. Hamming loss is over the labels that are gold somewhere among the items, the
    same for all systems on them; an answered label that is gold nowhere counts as wrong all the same.
    """
    size = float(max(1, len(frozenset[str]().union(*(label_set(item.gold) for item in items)))))
    rows: list[dict[str, Counts]] = []
    for item in items:
        gold, said = label_set(item.gold), label_set(item.answer)
        same = item.answer is not None and gold == said
        rows.append({"exact_match": (float(same), 1.0), "hamming_loss": (float(len(gold ^ said)), size)})
    return rows


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
    counted = measure_texts(items, metrics=("exact_match", "hamming_loss"), resamples=resamples, seed=seed)
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
