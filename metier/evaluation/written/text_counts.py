"""From texts to the numbers that metrics add up: one row of `COUNTERS` for each metric that needs texts.

An item without an answer counts as an empty answer, and is wrong. BLEU and chrF are counted by sacrebleu,
the words of ROUGE are cut by rouge-score; both are loaded when they are needed.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from metier.evaluation.written.json_fields import alike, field_of, fields_of, read_object
from metier.evaluation.written.text_metrics import FIELD, TEXT_METRICS, WORD_ORDERS

Counts = tuple[float, ...]
NGRAM = 4
"""Words in a row that count as copied or repeated."""
JSON_SHARE = 0.9
"""Share of gold answers that must be JSON objects for answers to be judged as JSON."""
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Answers beside what they are judged by, item by item."""

    golds: Sequence[str]
    answers: Sequence[str | None]
    stops: Sequence[str | None]
    """Why each answer ended."""
    inputs: Sequence[str] | None = None
    """What was asked. None: not at hand, so nothing can be said about copying."""

    @property
    def said(self) -> list[str]:
        """The answers, empty where there is none."""
        return [answer or "" for answer in self.answers]


def count_texts(texts: Texts, only: Collection[str] | None = None) -> list[dict[str, Counts]]:
    """The numbers of every item, by metric, and by field where answers are JSON.

    Args:
        texts: The items.
        only: Metrics that are wanted. None: all that the texts can give.
    """
    rows: list[dict[str, Counts]] = [{} for _ in texts.golds]
    names = [name for name in COUNTERS if only is None or name in only]
    if texts.inputs is None and "copy_rate" in names:
        names.remove("copy_rate")
    for name in names:
        for row, counts in zip(rows, COUNTERS[name](texts), strict=True):
            row[name] = counts
    if only is None or {"json_valid", "field_f1"} & set(only):
        for row, fields in zip(rows, _json(texts), strict=True):
            row.update(fields)
    return rows


def point_values(texts: Texts, only: Collection[str] | None = None) -> dict[str, float | None]:
    """Values without intervals: for choosing on validation. None where one is undefined or cannot be known.

    Args:
        texts: The items.
        only: Metrics that are wanted. None: all that the texts can give.
    """
    rows = count_texts(texts, only)
    values: dict[str, float | None] = {}
    for name, metric in TEXT_METRICS.items():
        if only is not None and name not in only:
            continue
        value = np.nan
        if rows and all(name in row for row in rows):
            value = float(metric.value(np.array([row[name] for row in rows], dtype=np.float64).sum(axis=0)))
        values[name] = None if np.isnan(value) else value
    return values


def signatures() -> dict[str, str]:
    """How the metrics that have many variants were made, in words that can be cited."""
    from importlib.metadata import version

    _, bleu_name = _sacrebleu("BLEU", [""], [""])
    _, chrf_name = _sacrebleu("CHRF", [""], [""])
    return {
        "bleu": f"BLEU|{bleu_name}",
        "chrf": f"chrF2|{chrf_name}",
        "rouge": f"F1|stemmer:no|rouge-score:{version('rouge-score')}",
        "token_f1": "SQuAD|lower case, no punctuation, no articles",
    }


def normalised(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, without punctuation and without a, an, the."""
    plain = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return _ARTICLES.sub(" ", plain).split()


def token_f1(gold: str, answer: str) -> float:
    """F1 of the words that two texts share, as SQuAD has it; two texts without words are equal."""
    wanted, said = normalised(gold), normalised(answer)
    if not wanted or not said:
        return float(wanted == said)
    return _f1(_shared(wanted, said), len(said), len(wanted))


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, all columns of the usual table at once in one whole number.

    Bit-parallel (Hyyrö 2004): a text of ten thousand words takes milliseconds, where the table takes minutes.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    open_places = everywhere
    for word in second:
        hits = open_places & places.get(word, 0)
        open_places = (open_places + hits | open_places - hits) & everywhere
    return len(first) - open_places.bit_count()


def _f1(shared: int, answered: int, gold: int) -> float:
    return 2 * shared / (answered + gold) if shared else 0.0


def _shared(first: Sequence[Any], second: Sequence[Any]) -> int:
    return (Counter(first) & Counter(second)).total()


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]


def _exact_match(texts: Texts) -> list[Counts]:
    pairs = zip(texts.golds, texts.answers, strict=True)
    return [(float(answer is not None and answer.split() == gold.split()), 1.0) for gold, answer in pairs]


def _token_f1(texts: Texts) -> list[Counts]:
    pairs = zip(texts.golds, texts.answers, strict=True)
    return [(0.0 if answer is None else token_f1(gold, answer), 1.0) for gold, answer in pairs]


def _rouge(texts: Texts, score: Callable[[list[str], list[str]], float]) -> list[Counts]:
    """An item whose gold answer has nothing that ROUGE reads is not counted, rather than counted as wrong."""
    from rouge_score.tokenize import tokenize  # type: ignore[import-untyped]

    rows: list[Counts] = []
    for gold, said in zip(texts.golds, texts.said, strict=True):
        words = tokenize(gold, None)
        rows.append((score(words, tokenize(said, None)), 1.0) if words else (0.0, 0.0))
    return rows


def _rouge_n(gold: list[str], said: list[str], n: int) -> float:
    wanted, given = _ngrams(gold, n), _ngrams(said, n)
    return _f1(_shared(wanted, given), len(given), len(wanted))


def _rouge_l(gold: list[str], said: list[str]) -> float:
    return _f1(common_subsequence(gold, said), len(said), len(gold))


def _sacrebleu(kind: str, golds: Sequence[str], said: Sequence[str]) -> tuple[list[list[int]], str]:
    """What sacrebleu adds up for every item, and its signature."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    # `force`: no warning about answers that end in " ."; it changes no number.
    metric = BLEU(force=True) if kind == "BLEU" else CHRF()
    # Its door gives sums only. The tests hold the value of these rows equal to that of the door.
    statistics: list[list[int]] = metric._extract_corpus_statistics(said, [golds])
    return statistics, str(metric.get_signature())


def _bleu(texts: Texts) -> list[Counts]:
    rows, _ = _sacrebleu("BLEU", texts.golds, texts.said)
    return [(*map(float, row), float(max(row[1] - WORD_ORDERS + 1, 0))) for row in rows]


def _chrf(texts: Texts) -> list[Counts]:
    rows, _ = _sacrebleu("CHRF", texts.golds, texts.said)
    return [tuple(map(float, row)) for row in rows]


def _length_ratio(texts: Texts) -> list[Counts]:
    return [
        (float(len(said.split())), float(len(gold.split())))
        for gold, said in zip(texts.golds, texts.said, strict=True)
    ]  # fmt: skip


def _copy_rate(texts: Texts) -> list[Counts]:
    """Four words in a row that stand in the input, of all in the answer; single words in shorter answers."""
    rows: list[Counts] = []
    for asked, said in zip(texts.inputs or (), texts.said, strict=True):
        words = _WORD.findall(said.lower())
        n = NGRAM if len(words) >= NGRAM else 1
        known = set(_ngrams(_WORD.findall(asked.lower()), n))
        grams = _ngrams(words, n)
        rows.append((float(sum(gram in known for gram in grams)), float(len(grams))))
    return rows


def _repetition(texts: Texts) -> list[Counts]:
    rows: list[Counts] = []
    for said in texts.said:
        grams = _ngrams(_WORD.findall(said.lower()), NGRAM)
        rows.append((float(len(grams) - len(set(grams))), float(len(grams))))
    return rows


def _unfinished(texts: Texts) -> list[Counts]:
    return [(float(stop == "length"), 1.0) for stop in texts.stops]


def _json(texts: Texts) -> list[dict[str, Counts]]:
    """Validity and fields, where nearly all gold answers are JSON objects; else nothing."""
    golds = [read_object(gold) for gold in texts.golds]
    if not golds or sum(gold is not None for gold in golds) < JSON_SHARE * len(golds):
        return [{} for _ in golds]
    return [_json_item(gold, read_object(said)) for gold, said in zip(golds, texts.said, strict=True)]


def _json_item(gold: Mapping[str, Any] | None, said: Mapping[str, Any] | None) -> dict[str, Counts]:
    counts: dict[str, Counts] = {"json_valid": (float(said is not None), 1.0), "field_f1": (0.0, 0.0, 0.0)}
    if gold is None:
        return counts
    wanted, given = fields_of(gold), fields_of(said or {})
    found = 0.0
    fields: dict[str, tuple[float, float]] = {}
    for path, value in wanted.items():
        likeness = alike(value, given[path], token_f1) if path in given else 0.0
        found += likeness
        before = fields.get(field_of(path), (0.0, 0.0))
        fields[field_of(path)] = (before[0] + likeness, before[1] + 1)
    counts["field_f1"] = (found, float(len(given)), float(len(wanted)))
    return {**counts, **{f"{FIELD}{name}": sums for name, sums in fields.items()}}


COUNTERS: Mapping[str, Callable[[Texts], list[Counts]]] = {
    "exact_match": _exact_match,
    "token_f1": _token_f1,
    "rouge1": partial(_rouge, score=partial(_rouge_n, n=1)),
    "rouge2": partial(_rouge, score=partial(_rouge_n, n=2)),
    "rougeL": partial(_rouge, score=_rouge_l),
    "chrf": _chrf,
    "bleu": _bleu,
    "length_ratio": _length_ratio,
    "copy_rate": _copy_rate,
    "repetition": _repetition,
    "unfinished": _unfinished,
}
"""Metric -> how its numbers are counted, all items at once. JSON is counted together, loss comes from the system."""
