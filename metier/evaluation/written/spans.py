"""Extraction: pieces of a text by character offsets and label; what was found, exactly and by overlap.

Gold answers and answers are JSON lists of objects `{"start": 3, "end": 9, "label": "PER"}` or of triples
`[3, 9, "PER"]`; `end` is the first character behind the piece. Exact: same offsets and label (CoNLL-2003).
Overlap: the same label and at least one character in common, each piece matched once, as many as possible
(the relaxed match of MUC and i2b2). Values are micro averages over all items. An answer that cannot be read
has found nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from metier.data.text_spans import Span as Span
from metier.data.text_spans import gold_spans as gold_spans
from metier.data.text_spans import read_spans as read_spans
from metier.data.text_spans import spans_text as spans_text
from metier.evaluation.results import ClassScore, Item
from metier.evaluation.written.text_metrics import Counts

SPAN_METRICS = (
    "span_f1", "span_precision", "span_recall", "span_f1_overlap", "span_precision_overlap", "span_recall_overlap",
    "exact_match", "invalid",
)  # fmt: skip
"""Metrics of extraction, in the order of tables; `exact_match`: all spans of an item and no other."""


def count_spans(golds: Sequence[str], answers: Sequence[str | None]) -> list[dict[str, Counts]]:
    """What every item adds to `SPAN_METRICS`: (found, answered, gold) of each kind of match.

    Args:
        golds: Gold answers as JSON.
        answers: Answers as JSON, in the order of `golds`; None where there is none.

    Raises:
        DataError: A gold answer cannot be read.
    """
    rows: list[dict[str, Counts]] = []
    for gold_text, answer in zip(golds, answers, strict=True):
        gold, said = gold_spans(gold_text), read_spans(answer)
        given = said or ()
        exact = (float(len(set(gold) & set(given))), float(len(given)), float(len(gold)))
        overlap = (float(matched_by_overlap(gold, given)), exact[1], exact[2])
        row: dict[str, Counts] = dict.fromkeys(("span_f1", "span_precision", "span_recall"), exact)
        row |= dict.fromkeys(("span_f1_overlap", "span_precision_overlap", "span_recall_overlap"), overlap)
        row["exact_match"] = (float(said is not None and set(said) == set(gold)), 1.0)
        row["invalid"] = (float(answer is not None and said is None), 1.0)
        rows.append(row)
    return rows


def matched_by_overlap(gold: Sequence[Span], said: Sequence[Span]) -> int:
    """How many spans can be matched one to one by overlap: the most possible, by augmenting paths (Kuhn 1955)."""
    partner: dict[int, int] = {}
    edges = [[place for place, other in enumerate(said) if span.overlaps(other)] for span in gold]

    def takes(number: int, tried: set[int]) -> bool:
        for place in edges[number]:
            if place in tried:
                continue
            tried.add(place)
            if place not in partner or takes(partner[place], tried):
                partner[place] = number
                return True
        return False

    return sum(takes(number, set()) for number in range(len(gold)))


def score_spans(items: Sequence[Item], labels: Sequence[str] = ()) -> dict[str, ClassScore]:
    """Precision, recall and F1 of every label by exact match; None where there is nothing to divide by.

    Args:
        items: Answered records.
        labels: Labels of train, which come first; others that occur follow, sorted.
    """
    support, predicted, right = Counter[str](), Counter[str](), Counter[str]()
    for item in items:
        gold, said = gold_spans(item.gold), read_spans(item.answer) or ()
        support.update(span.label for span in gold)
        predicted.update(span.label for span in said)
        right.update(span.label for span in set(gold) & set(said))
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
