"""Confidences as validation calibrated them, and what is not sure enough handed to a person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Input
from metier.device import Hardware
from metier.errors import ArgumentError
from metier.evaluation.evidence import Promise, Temperature
from metier.evaluation.labels.saved_calibration import SavedCalibration
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.serving.abstaining import handed_over, promised_threshold
from metier.serving.predict import answered_row
from metier.serving.results import AnsweredRow
from metier.serving.specialist import Specialist


class Sure:
    """Says `yes`, 0.9 sure."""

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        for given in inputs:
            yield Answer(id=given.id, label="yes", label_logprobs={"yes": math.log(0.9), "no": math.log(0.1)})


def _specialist(
    threshold: float | None = 0.7, temperature: float = 2.0, labels: tuple[str, ...] = ("yes", "no")
) -> Any:
    promise = Promise(
        target=0.99, confidence=0.95, threshold=threshold, coverage=0.5, accuracy=1.0, at_least=0.99, n=800,
        answered=400, reason=None if threshold else "even the surest answers are wrong too often",
    )  # fmt: skip
    fitted = Temperature(value=temperature, low=1.0, high=3.0, n=800, loss_before=0.5, loss_after=0.4)
    saved = SavedCalibration(model_sha256="", labels=labels, temperature=fitted, promise=promise)
    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
    system: Any = Sure()
    return Specialist(
        folder=Path(), system=system, rules=None, labels=labels, hardware=hardware, calibration=saved
    )  # fmt: skip


def test_the_temperature_is_in_every_probability() -> None:
    (answer,) = _specialist().answer(["is it?"])
    softer = 0.9**0.5 / (0.9**0.5 + 0.1**0.5)
    assert answered_row(answer).probability == pytest.approx(softer) and answer.label == "yes"
    (plain,) = _specialist(temperature=1.0).answer(["is it?"])
    assert answered_row(plain).probability == pytest.approx(0.9)


def test_the_promised_threshold_is_taken_unless_there_is_an_own_one() -> None:
    assert promised_threshold(_specialist()) == 0.7
    assert promised_threshold(_specialist(), 0.5) == 0.5


def test_what_cannot_be_promised_is_said() -> None:
    with pytest.raises(ArgumentError, match=r"no promise of 99 % right .* because even the surest answers are wrong"):
        promised_threshold(_specialist(threshold=None))
    with pytest.raises(ArgumentError, match="the model writes its answers and has no probability of them"):
        promised_threshold(_specialist(labels=()))
    with pytest.raises(ArgumentError, match="found 0, wanted a probability above 0"):
        promised_threshold(_specialist(), 0.0)


def test_an_unsure_answer_is_taken_away_and_the_row_says_so() -> None:
    row = AnsweredRow(answer="yes", probability=0.75, reason="cut")
    assert handed_over(row, 0.7) is row and handed_over(row, 0.75) is row
    taken = handed_over(row, 0.8)
    assert (taken.answer, taken.probability) == (None, 0.75)
    assert taken.reason == "for a person: 0.750 sure, wanted 0.800; cut"
    empty = AnsweredRow(answer=None, probability=None, reason="empty text")
    assert handed_over(empty, 0.8) is empty
