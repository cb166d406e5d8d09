"""What a user has for written answers without a language model: the input itself, and the nearest old answer.

Both take seconds. On replies, notes and commands the nearest answer is often hard to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.records import Input, Record
from metier.errors import DataError
from metier.evaluation.baselines import character_ngrams, word_ngrams
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.evaluation.text_counts import COUNTERS, Texts, point_values
from metier.evaluation.text_metrics import sign

FEATURES: Mapping[str, tuple[Callable[[], Any], ...]] = {
    "both": (word_ngrams, character_ngrams),
    "words": (word_ngrams,),
    "characters": (character_ngrams,),
}
"""What two texts are compared by; the first wins where validation sees no difference."""
MOST_JUDGED = 300
"""Validation records on which the features are chosen."""
CELLS_AT_ONCE = 20_000_000
"""Similarities held in memory together; about 80 MB."""
FALLBACK_METRIC = "chrf"
"""Chosen by where the primary metric needs more than texts."""


class CopyInput:
    """The input as its own answer: what a metric gives for saying nothing new."""

    name = "copy_input"
    kind = "the input as it is"
    parameters: int | None = None
    bytes: int | None = None
    trained_on = "no examples"
    settings: Mapping[str, Any] = {}

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """Each input's own text."""
        for given in inputs:
            yield Answer(id=given.id, label=None, text=given.text, stop="end of turn")


class NearestAnswer:
    """The answer of the training record whose text is most alike, by TF-IDF and cosine."""

    name = "nearest_answer"
    kind = "answer of the most similar training example"
    parameters: int | None = None

    def __init__(
        self,
        train: Sequence[Record],
        validation: Sequence[Record],
        *,
        metric: str,
        features: Sequence[str] = tuple(FEATURES),
    ) -> None:
        """Index `train`, and keep the features that do best on validation.

        Args:
            train: Where answers come from.
            validation: What features are chosen on; empty takes the first without choosing.
            metric: What "best" means; chrF where it needs more than texts.
            features: Names out of `FEATURES`.
        """
        if not train:
            raise DataError("train", "has no records", "at least one")
        self._answers = [record.gold for record in train]
        self._indices = _indices([record.text for record in train])
        possible = [name for name in features if all(part in self._indices for part in FEATURES[name])]
        names = possible or [next(name for name in FEATURES if FEATURES[name][0] in self._indices)]
        metric = countable(metric)
        judged = list(validation)[:MOST_JUDGED] if len(names) > 1 else []
        tried = {name: self._judge(name, judged, metric) for name in names} if judged else {}
        self.features = max(tried, key=lambda name: _rank(tried[name], metric)) if tried else names[0]
        self.trained_on = f"{len(train)} examples"
        self.bytes: int | None = sum(_size(matrix) for _, matrix in self._indices.values())
        self.settings: Mapping[str, Any] = {
            "features": self.features,
            "chosen_on": f"validation {metric}, n = {len(judged)}" if tried else "not chosen: no validation set",
            "tried": tried,
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The answer that belongs to the nearest text; the earliest where several are as near."""
        for given, place in zip(inputs, self.nearest([given.text for given in inputs], self.features), strict=True):
            yield Answer(id=given.id, label=None, text=self._answers[place], stop="end of turn")

    def nearest(self, texts: Sequence[str], features: str) -> list[int]:
        """The place in train of the nearest text, for each text.

        Args:
            texts: What was asked.
            features: A name out of `FEATURES`.
        """
        at_once = max(1, CELLS_AT_ONCE // len(self._answers))
        places: list[int] = []
        for start in range(0, len(texts), at_once):
            part = list(texts[start : start + at_once])
            alike = sum(self._alike(part, kind) for kind in FEATURES[features])
            # Rounded: equally near texts must not be told apart by the order of a sum.
            places += [int(place) for place in np.round(alike, 5).argmax(axis=1)]
        return places

    def _alike(self, texts: Sequence[str], kind: Callable[[], Any]) -> npt.NDArray[np.float32]:
        """Cosines, shape (texts, training records)."""
        vectoriser, matrix = self._indices[kind]
        cosines: npt.NDArray[np.float32] = (vectoriser.transform(texts) @ matrix.T).toarray()
        return cosines

    def _judge(self, features: str, records: Sequence[Record], metric: str) -> float | None:
        said = [self._answers[place] for place in self.nearest([record.text for record in records], features)]
        texts = Texts(
            golds=[record.gold for record in records],
            answers=said,
            stops=["end of turn"] * len(said),
            inputs=[record.text for record in records],
        )
        return point_values(texts, {metric})[metric]


def countable(metric: str) -> str:
    """The metric, or chrF where it needs more than texts."""
    return metric if metric in COUNTERS or metric in ("json_valid", "field_f1") else FALLBACK_METRIC


def _indices(texts: Sequence[str]) -> dict[Callable[[], Any], tuple[Any, Any]]:
    """Fitted features and the matrix of `texts`, for every kind that the texts allow."""
    found = {}
    for kind in FEATURES["both"]:
        vectoriser = kind()
        try:
            found[kind] = (vectoriser, vectoriser.fit_transform(texts))
        except ValueError:  # scikit-learn's only complaint here is an empty vocabulary
            continue
    if not found:
        fix = "Leave `nearest_answer` out of the systems."
        raise DataError("train", "no text has a word or two characters", "texts that can be compared", fix)
    return found


def _rank(value: float | None, metric: str) -> float:
    return -np.inf if value is None else sign(metric) * value


def _size(matrix: Any) -> int:
    return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)


def build_copy_input(material: Material) -> CopyInput:
    """The row `copy_input` of `WRITTEN_SYSTEMS`."""
    return CopyInput()


def build_nearest_answer(material: Material) -> NearestAnswer:
    """The row `nearest_answer` of `WRITTEN_SYSTEMS`."""
    return NearestAnswer(material.train, material.validation, metric=material.section.primary_metric)
