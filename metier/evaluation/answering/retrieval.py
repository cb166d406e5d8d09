"""What a user has for written answers without a language model: the input itself, and the nearest old answer.

Both take seconds. On replies, notes and commands the nearest answer is often hard to beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metier.data.records import Input, Record
from metier.errors import DataError
from metier.evaluation.answering.text_index import FEATURES, TextIndex
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.evaluation.written.text_counts import COUNTERS, Texts, point_values
from metier.evaluation.written.text_metrics import sign

MOST_JUDGED = 300
"""Validation records on which the features are chosen."""
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
            features: Names out of `FEATURES`; the first wins where validation sees no difference.
        """
        if not train:
            raise DataError("train", "has no records", "at least one")
        self._answers = [record.gold for record in train]
        fix = "Leave `nearest_answer` out of the systems."
        self._index = TextIndex([record.text for record in train], fix=fix)
        names = self._index.possible(features)
        metric = countable(metric)
        judged = list(validation)[:MOST_JUDGED] if len(names) > 1 else []
        tried = {name: self._judge(name, judged, metric) for name in names} if judged else {}
        self.features = max(tried, key=lambda name: _rank(tried[name], metric)) if tried else names[0]
        self.trained_on = f"{len(train)} examples"
        self.bytes: int | None = self._index.bytes
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
        return [int(place) for place in self._index.nearest(texts, features)[:, 0]]

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


def _rank(value: float | None, metric: str) -> float:
    return -np.inf if value is None else sign(metric) * value


def build_copy_input(material: Material) -> CopyInput:
    """The row `copy_input` of `WRITTEN_SYSTEMS`."""
    return CopyInput()


def build_nearest_answer(material: Material) -> NearestAnswer:
    """The row `nearest_answer` of `WRITTEN_SYSTEMS`."""
    return NearestAnswer(material.train, material.validation, metric=material.section.primary_metric)
