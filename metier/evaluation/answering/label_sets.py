"""What a user has without a language model where a text has several labels: one constant set, and n-grams."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.data.label_lists import label_set, set_text
from metier.data.records import Input, Labelling
from metier.errors import DataError
from metier.evaluation.answering.baselines import ngram_features
from metier.evaluation.answering.set_rules import Floats, choose_set_rule, indicators, sets_of
from metier.evaluation.labels.multi_label import set_score
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation strengths that are tried on validation."""
DEFAULT_STRENGTH = 10.0
"""Used where there is no validation set to choose on."""


class MajoritySets:
    """The best answer that is the same for every text: the most frequent set, or the k most frequent labels."""

    name = "majority"
    kind = "the same labels for every text"
    parameters: int | None = None
    bytes: int | None = None

    def __init__(self, train: Sequence[Labelling], validation: Sequence[Labelling], metric: str) -> None:
        """Choose the set on validation; without validation it is the most frequent one of train."""
        if not train:
            raise DataError("train", "has no records", "at least one")
        sets = Counter(record.gold for record in train)
        labels = Counter(label for record in train for label in record.labels)
        frequent = sorted(labels, key=lambda label: (-labels[label], label))
        usual = label_set(min(sets, key=lambda text: (-sets[text], text)))
        tried = {usual: 0.0, **{frozenset(frequent[:k]): 0.0 for k in range(1, len(frequent) + 1)}}
        golds = sets_of(validation)
        if golds:
            tried = {each: set_score(golds, [each] * len(golds), metric) for each in tried}
        best = max(tried, key=lambda each: (tried[each], each == usual, -len(each)))
        self.label = set_text(best)
        self.trained_on = f"{len(train)} examples"
        self.settings: Mapping[str, Any] = {
            "labels": sorted(best),
            "chosen_on": f"validation {metric}, n = {len(golds)}" if golds else "not chosen: no validation set",
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The same answer for every input."""
        for given in inputs:
            yield Answer(id=given.id, label=self.label)


class TfidfSets:
    """Word and character n-grams, a logistic regression for each label; C and threshold chosen on validation."""

    name = "tfidf"
    kind = "word and character n-grams, a logistic regression for each label"

    def __init__(
        self, train: Sequence[Labelling], validation: Sequence[Labelling], labels: Sequence[str], metric: str
    ) -> None:
        """Fit every C of the table on train, and keep the best on validation with its threshold.

        Args:
            train: What it learns from.
            validation: What C and threshold are chosen on; empty takes the defaults.
            labels: Labels of train.
            metric: What "best" means.
        """
        self.labels = tuple(labels)
        self.features = ngram_features()
        try:
            matrix = self.features.fit_transform([record.text for record in train])
        except ValueError as error:  # scikit-learn's only complaint here is an empty vocabulary
            fix = "Leave `tfidf` out of the systems."
            raise DataError("train", "no text has a word", "texts with words", fix) from error
        sets, golds = sets_of(train), sets_of(validation)
        gold = indicators(sets, self.labels)
        held_out = self.features.transform([record.text for record in validation]) if validation else None
        best, tried = None, {}
        for strength in STRENGTHS if held_out is not None else (DEFAULT_STRENGTH,):
            models = [fit_label(matrix, column, strength) for column in gold.T]
            chances = chances_of(models, held_out) if held_out is not None else np.zeros((0, len(self.labels)))
            chosen = choose_set_rule(chances, golds, self.labels, metric, never_none=all(sets))
            tried[f"C={strength:g}, threshold={chosen.rule.threshold:g}"] = chosen.score
            if best is None or chosen.score > best[0]:
                best = (chosen.score, strength, models, chosen.rule)
        assert best is not None
        _, strength, self.models, self.rule = best
        fitted = [model for model in self.models if not isinstance(model, float)]
        self.trained_on = f"{len(train)} examples"
        self.parameters: int | None = sum(int(model.coef_.size + 1) for model in fitted)
        self.bytes: int | None = sum(int(model.coef_.nbytes + model.intercept_.nbytes) for model in fitted)
        self.settings: Mapping[str, Any] = {
            "C": strength,
            "threshold": self.rule.threshold,
            "chosen_on": f"validation {metric}, n = {len(golds)}" if golds else "not chosen: no validation set",
            "tried": tried,
            "features": int(matrix.shape[1]),
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The labels that reach the threshold."""
        size = options.batch_size or 1000
        for start in range(0, len(inputs), size):
            batch = inputs[start : start + size]
            chances = chances_of(self.models, self.features.transform([given.text for given in batch]))
            for given, text in zip(batch, self.rule.texts(chances, self.labels), strict=True):
                # Probabilities of labels that do not exclude each other are none of the answer's.
                yield Answer(id=given.id, label=text)


def fit_label(matrix: Any, gold: Any, strength: float) -> LogisticRegression | float:
    """A logistic regression for one label; its share where all records have it, or none.

    Args:
        matrix: Features, shape (N, F).
        gold: 1 where a record has the label, shape (N,).
        strength: scikit-learn's C.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    if len(set(gold.tolist())) < 2:
        return float(gold[0]) if len(gold) else 0.0
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=300, random_state=0)
    with warnings.catch_warnings():
        # A weak regularisation stops at the limit of iterations; validation judges the result either way.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, gold)


def chances_of(models: Sequence[LogisticRegression | float], matrix: Any) -> Floats:
    """Probability of each label, shape (N, C)."""
    rows = matrix.shape[0]
    columns = [
        np.full(rows, model) if isinstance(model, float) else model.predict_proba(matrix)[:, 1] for model in models
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0))


def build_majority(material: Material) -> MajoritySets:
    """The row `majority` of `LABEL_SET_SYSTEMS`."""
    return MajoritySets(material.train, material.validation, material.section.primary_metric)


def build_tfidf(material: Material) -> TfidfSets:
    """The row `tfidf` of `LABEL_SET_SYSTEMS`."""
    return TfidfSets(material.train, material.validation, material.labels, material.section.primary_metric)
