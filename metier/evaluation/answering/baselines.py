"""What a user has without a language model: the most frequent label, and n-grams with logistic regression.

Both take seconds on a laptop. A tuned model that does not beat them is not worth having.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.data.records import Choice, Input
from metier.device import few_threads
from metier.errors import DataError
from metier.evaluation.metrics import point_metrics
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import FeatureUnion  # type: ignore[import-untyped]

C_TABLE = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse regularisation strengths that are tried on validation."""
DEFAULT_C = 10.0
"""Used where there is no validation set to choose on."""
SMALLEST_PROBABILITY = 1e-12
"""Floor of a label's probability: a label unseen in training still has a finite logarithm."""


class MajoritySystem:
    """Always the most frequent label of train; the first by name where several are."""

    name = "majority"
    kind = "most frequent label"
    parameters: int | None = None
    bytes: int | None = None

    def __init__(self, train: Sequence[Choice], labels: Sequence[str]) -> None:
        """Count the labels of `train`; `labels` are those that get a probability."""
        if not train:
            raise DataError("train", "has no records", "at least one")
        counts = Counter(record.label for record in train)
        self.label = min(counts, key=lambda label: (-counts[label], label))
        self.trained_on = f"{len(train)} examples"
        self.settings: Mapping[str, Any] = {"label": self.label, "share_of_train": counts[self.label] / len(train)}
        # One more of each: a label that train lacks is rare, not impossible.
        total = len(train) + len(labels)
        self._logprobs = {label: math.log((counts[label] + 1) / total) for label in labels}

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The same answer for every input."""
        for given in inputs:
            yield Answer(id=given.id, label=self.label, label_logprobs=self._logprobs)


class TfidfSystem:
    """Word 1-2-grams and character 2-5-grams, logistic regression; C chosen on validation, fitted on train."""

    name = "tfidf"
    kind = "word and character n-grams, logistic regression"

    def __init__(
        self,
        train: Sequence[Choice],
        validation: Sequence[Choice],
        labels: Sequence[str],
        *,
        metric: str = "macro_f1",
        table: Sequence[float] = C_TABLE,
    ) -> None:
        """Fit every C of the table on train, and keep the best on validation (the smaller C where equal).

        Args:
            train: What it learns from.
            validation: What C is chosen on; empty takes the table's middle without choosing.
            labels: Labels that get a probability.
            metric: What "best" means.
            table: The values of C, ascending.
        """
        if len({record.label for record in train}) < 2:
            raise DataError("train", "has records of fewer than two labels", "at least two labels")
        self.features = ngram_features()
        matrix = fit_features(self.features, train)
        golds = [record.label for record in train]
        held_out = self.features.transform([record.text for record in validation]) if validation else None
        scores: dict[float, float] = {}
        best: tuple[float, float, LogisticRegression] | None = None
        for c in table if held_out is not None else (DEFAULT_C,):
            model = fit_logistic(matrix, golds, c)
            score = 0.0
            if held_out is not None:
                answers = [str(label) for label in model.predict(held_out)]
                score = point_metrics([record.label for record in validation], answers)[metric] or 0.0
                scores[c] = score
            if best is None or score > best[1]:
                best = (c, score, model)
        assert best is not None
        self.c, _, self.model = best
        self.labels = tuple(labels)
        self.trained_on = f"{len(train)} examples"
        self.parameters: int | None = int(self.model.coef_.size + self.model.intercept_.size)
        self.bytes: int | None = int(self.model.coef_.nbytes + self.model.intercept_.nbytes)
        self.settings: Mapping[str, Any] = {
            "C": self.c,
            "chosen_on": f"validation {metric}, n = {len(validation)}" if scores else "not chosen: no validation set",
            "tried": {f"C={c:g}": score for c, score in scores.items()},
            "features": int(matrix.shape[1]),
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The most probable label and the log-probability of every label."""
        size = options.batch_size or 1000
        for start in range(0, len(inputs), size):
            batch = inputs[start : start + size]
            chances = self.model.predict_proba(self.features.transform([given.text for given in batch]))
            for given, row in zip(batch, chances, strict=True):
                known = dict(zip(map(str, self.model.classes_), map(float, row), strict=True))
                logs = {label: math.log(max(known.get(label, 0.0), SMALLEST_PROBABILITY)) for label in self.labels}
                yield Answer(id=given.id, label=str(self.model.classes_[int(np.argmax(row))]), label_logprobs=logs)


def word_ngrams() -> TfidfVectorizer:
    """Sublinear TF-IDF of words and pairs of words, unfitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # One-letter words count too: in short commands ("turn on a b") they can be the difference.
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)


def character_ngrams() -> TfidfVectorizer:
    """Sublinear TF-IDF of 2 to 5 characters within words, unfitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)


def ngram_features() -> FeatureUnion:
    """Word and character n-grams side by side, unfitted."""
    from sklearn.pipeline import FeatureUnion

    return FeatureUnion([("words", word_ngrams()), ("characters", character_ngrams())])


def fit_features(features: FeatureUnion, records: Sequence[Choice]) -> Any:
    """Fit `features` on `records` and return their matrix.

    Args:
        features: Unfitted features.
        records: Training records.

    Raises:
        DataError: No text has a word.
    """
    try:
        return features.fit_transform([record.text for record in records])
    except ValueError as error:  # scikit-learn's only complaint here is an empty vocabulary
        raise DataError(
            "train", "no text has a word", "texts with words", "Leave `tfidf` out of the systems."
        ) from error


def fit_logistic(matrix: Any, golds: Sequence[str], c: float) -> LogisticRegression:
    """Logistic regression with inverse regularisation strength `c`."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        # A weak regularisation stops at the limit of iterations; validation judges the result either way.
        warnings.simplefilter("ignore", ConvergenceWarning)
        with few_threads(0.0):  # products of sparse matrices are made in one thread anyway
            return model.fit(matrix, list(golds))


def build_majority(material: Material) -> MajoritySystem:
    """The row `majority` of `SYSTEMS`."""
    return MajoritySystem(material.train, material.labels)


def build_tfidf(material: Material) -> TfidfSystem:
    """The row `tfidf` of `SYSTEMS`."""
    metric = material.section.primary_metric
    return TfidfSystem(material.train, material.validation, material.labels, metric=metric)
