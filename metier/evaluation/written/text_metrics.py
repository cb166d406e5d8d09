"""Metrics of written text and of passages: what each adds up over items, and its value from the sums.

Every metric is a function of numbers that add up over items (`Item.counts`), so all resamples are
evaluated at once and two finished runs are compared without reading a text. `text_counts.py` makes the
numbers from texts. Values are 0 to 1, but for the length ratio, loss (nats a token) and bits per byte. Only numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = tuple[float, ...]
"""What one item adds to a metric."""
CHARACTER_ORDERS = 6
"""Longest character n-grams of chrF."""
WORD_ORDERS = 4
"""Longest word n-grams of BLEU."""
RECALL_WEIGHT = 4.0
"""chrF2 counts recall twice as much: beta squared."""
FIELD = "field:"
"""Begins the names of the counts of one field: `field:customer.name`."""


@dataclass(frozen=True, kw_only=True)
class TextMetric:
    """How one metric comes from sums over items."""

    features: int
    """Numbers that an item adds."""
    value: Callable[[Floats], Floats]
    """From sums (…, features) to values (…); not a number where it is undefined."""
    title: str
    """What a person calls it."""
    lower: bool = False
    """Whether lower values are better."""
    passes: bool = False
    """Whether every item passes or fails, so that its share has Wilson's interval."""
    own_n: bool = False
    """Whether it is about the items alone whose second number is above 0; else about all."""
    bounded: bool = True
    """Whether no value is above 1."""
    undefined: str = "there is nothing to count"
    """Why it has no value when the sums give none."""
    missing: str = "the items hold no counts of it"
    """Why it has no value when items lack its numbers."""


def ratio(sums: Floats) -> Floats:
    """First number by second, not a number where the second is 0."""
    part, whole = sums[..., 0], sums[..., 1]
    share: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return share


def bits(sums: Floats) -> Floats:
    """Nats by bytes, as bits."""
    return ratio(sums) / math.log(2)


def f_measure(sums: Floats) -> Floats:
    """F1 from (found, answered, gold); not a number where nothing was to be found."""
    found, answered, gold = sums[..., 0], sums[..., 1], sums[..., 2]
    value: Floats = np.divide(2 * found, answered + gold, out=np.full(np.shape(gold), np.nan), where=gold > 0)
    return value


def chrf(sums: Floats) -> Floats:
    """chrF2 as sacrebleu makes it from (answered, gold, shared) of 1- to 6-grams of characters."""
    by_order = sums.reshape(*sums.shape[:-1], CHARACTER_ORDERS, 3)
    answered, gold, shared = by_order[..., 0], by_order[..., 1], by_order[..., 2]
    counted = (answered > 0) & (gold > 0)
    orders = np.maximum(counted.sum(-1), 1)
    precision = np.divide(shared, answered, out=np.zeros(np.shape(shared)), where=counted).sum(-1) / orders
    recall = np.divide(shared, gold, out=np.zeros(np.shape(shared)), where=counted).sum(-1) / orders
    weighted = RECALL_WEIGHT * precision + recall
    value = np.divide(
        (1 + RECALL_WEIGHT) * precision * recall, weighted, out=np.zeros(np.shape(weighted)), where=weighted > 0
    )
    result: Floats = np.where(gold[..., 0] > 0, value, np.nan)
    return result


def bleu(sums: Floats) -> Floats:
    """BLEU as sacrebleu makes it, from answered and gold words, shared and answered n-grams, and gold 4-grams.

    sacrebleu smooths an order without a match: its share is 1 / (2^k × n-grams), k counting such orders.
    Without gold 4-grams it is undefined, where sacrebleu says 0.
    """
    answered, gold, four_grams = sums[..., 0], sums[..., 1], sums[..., 2 + 2 * WORD_ORDERS]
    shared, total = sums[..., 2 : 2 + WORD_ORDERS], sums[..., 2 + WORD_ORDERS : 2 + 2 * WORD_ORDERS]
    smooth = 2.0 ** np.cumsum(shared == 0, axis=-1)
    usable = np.maximum(total, 1)
    logs = np.log(np.where(shared > 0, shared / usable, 1 / (smooth * usable))).mean(-1)
    short = np.minimum(0.0, 1 - gold / np.maximum(answered, 1))
    value = np.where((total > 0).all(-1) & (shared > 0).any(-1), np.exp(logs + short), 0.0)
    result: Floats = np.where(four_grams > 0, value, np.nan)
    return result


_NO_JSON = "gold answers are no JSON"
_NO_LATIN = "no gold answer has a Latin letter or a digit, which are all that ROUGE reads"
_NO_PROBABILITY = "the system gives no probabilities of texts"


def _rouge(title: str) -> TextMetric:
    return TextMetric(features=2, value=ratio, title=title, own_n=True, undefined=_NO_LATIN)


TEXT_METRICS: Mapping[str, TextMetric] = {
    "exact_match": TextMetric(features=2, value=ratio, title="exact match", passes=True, own_n=True),
    "token_f1": TextMetric(features=2, value=ratio, title="token F1", own_n=True),
    "rouge1": _rouge("ROUGE-1"),
    "rouge2": _rouge("ROUGE-2"),
    "rougeL": _rouge("ROUGE-L"),
    "chrf": TextMetric(
        features=3 * CHARACTER_ORDERS, value=chrf, title="chrF", undefined="the gold answers are empty"
    ),
    "bleu": TextMetric(
        features=3 + 2 * WORD_ORDERS, value=bleu, title="BLEU", undefined="no gold answer has four words"
    ),
    "length_ratio": TextMetric(
        features=2, value=ratio, title="length ratio", bounded=False, undefined="the gold answers have no words"
    ),
    "copy_rate": TextMetric(
        features=2, value=ratio, title="copy rate", undefined="no answer has a word",
        missing="the inputs were not at hand",
    ),
    "repetition": TextMetric(
        features=2, value=ratio, title="repetition", lower=True, undefined="no answer has four words"
    ),
    "unfinished": TextMetric(
        features=2, value=ratio, title="unfinished answers", lower=True, passes=True, own_n=True
    ),
    "json_valid": TextMetric(
        features=2, value=ratio, title="valid JSON", passes=True, own_n=True, missing=_NO_JSON
    ),
    "field_f1": TextMetric(
        features=3, value=f_measure, title="field F1", undefined="the gold answers have no fields", missing=_NO_JSON
    ),
    "loss": TextMetric(
        features=2, value=ratio, title="loss", lower=True, own_n=True, bounded=False, missing=_NO_PROBABILITY
    ),
    "bits_per_byte": TextMetric(
        features=2, value=bits, title="bits per byte", lower=True, own_n=True, bounded=False, missing=_NO_PROBABILITY
    ),
}  # fmt: skip
"""Every metric of written answers and of passages, in the order of tables."""

WRITTEN = tuple(name for name in TEXT_METRICS if name != "bits_per_byte")
"""Metrics of written answers."""
READ = ("loss", "bits_per_byte")
"""Metrics of passages."""


def quadratic_kappa(sums: Floats) -> Floats:
    """Cohen's kappa with quadratic weights (Cohen 1968) from what each item adds, not a number without disagreement
    by chance.

    An item of gold place i and answered place j adds ((i - j)^2, 1, i, i^2, j, j^2): the disagreement that chance
    would give needs only the moments of both sides, not their whole tables.
    """
    observed, n, gold, gold_2, said, said_2 = (sums[..., place] for place in range(6))
    expected = np.divide(n * gold_2 + n * said_2 - 2 * gold * said, n, out=np.zeros(np.shape(n)), where=n > 0)
    chance: Floats = np.divide(observed, expected, out=np.full(np.shape(n), np.nan), where=expected > 0)
    return 1 - chance


def _share(title: str, *, lower: bool = False, missing: str = "the items hold no counts of it") -> TextMetric:
    """A share of items that pass."""
    return TextMetric(features=2, value=ratio, title=title, lower=lower, passes=True, own_n=True, missing=missing)


def _found(title: str, of: int) -> TextMetric:
    """Precision (`of` 1) or recall (`of` 2) from (found, answered, gold)."""
    return TextMetric(features=3, value=lambda sums: ratio(sums[..., [0, of]]), title=title)


def _f1(title: str) -> TextMetric:
    return TextMetric(features=3, value=f_measure, title=title, undefined="the gold answers have no spans")


_NO_PROBABILITIES = "not every answer has a probability for its labels"

ADDED_METRICS: Mapping[str, TextMetric] = {
    # Labels (`label_metrics.py`).
    "top_2": _share("gold among the 2 most probable", missing=_NO_PROBABILITIES),
    "top_3": _share("gold among the 3 most probable", missing=_NO_PROBABILITIES),
    "top_5": _share("gold among the 5 most probable", missing=_NO_PROBABILITIES),
    "abstained": _share("abstentions", lower=True),
    "invalid": _share("invalid answers", lower=True),
    "missing": _share("missing answers", lower=True),
    "accuracy_answered": TextMetric(features=2, value=ratio, title="accuracy where it answered", own_n=True),
    "cost": TextMetric(features=2, value=ratio, title="cost of errors", lower=True, bounded=False),
    "ordinal_error": TextMetric(features=2, value=ratio, title="distance in steps", lower=True, bounded=False),
    "quadratic_kappa": TextMetric(
        features=6, value=quadratic_kappa, title="quadratic kappa", undefined="all labels are the same"
    ),
    # Several labels at once (`multi_label.py`).
    "hamming_loss": TextMetric(features=2, value=ratio, title="Hamming loss", lower=True),
    # Spans (`spans.py`).
    "span_f1": _f1("span F1"),
    "span_precision": _found("span precision", 1),
    "span_recall": _found("span recall", 2),
    "span_f1_overlap": _f1("span F1 by overlap"),
    "span_precision_overlap": _found("span precision by overlap", 1),
    "span_recall_overlap": _found("span recall by overlap", 2),
    # Written answers (`answer_formats.py`, `own_scorer.py`, `similarity.py`).
    "schema_valid": _share("answers that fit the schema"),
    "pattern_match": _share("answers that match the pattern"),
    "own_score": TextMetric(features=2, value=ratio, title="own score", own_n=True, bounded=False),
    "embedding_similarity": TextMetric(features=2, value=ratio, title="embedding similarity", own_n=True),
    # Any system (`judged.py`).
    "seconds": TextMetric(features=2, value=ratio, title="seconds an answer", lower=True, own_n=True, bounded=False),
    "price": TextMetric(
        features=2, value=ratio, title="price of an answer", lower=True, own_n=True, bounded=False,
        undefined="no answer has a price",
    ),
}  # fmt: skip
"""Metrics that items are given counts of where somebody asks for them; to add one: a row here and its counts."""


def row_of(metric: str) -> TextMetric | None:
    """The row of a metric that is made from the counts of items; None for one that is made from labels alone."""
    return TEXT_METRICS.get(metric) or ADDED_METRICS.get(metric)


def sign(metric: str) -> int:
    """1 where higher values are better, -1 where lower ones are; labels alone have no other than the first."""
    row = row_of(metric)
    return -1 if row is not None and row.lower else 1
