"""What validation says about a model's probabilities, kept beside the model: a temperature and a promise.

Made once, from all validation items of the promoted attempt; the report looks at it on the test set, and
`metier predict` writes its confidences by it. Only numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metier.errors import ModelError
from metier.evaluation.evidence import Promise, Temperature
from metier.evaluation.labels.calibration import LOWEST_LOGPROB, confidences, label_matrix
from metier.evaluation.labels.risk_coverage import promise_accuracy
from metier.evaluation.labels.temperature import fit_temperature, tempered
from metier.evaluation.metrics import group_places
from metier.evaluation.results import Evaluation
from metier.store.files import read_json, write_json
from metier.store.fingerprint import file_sha256
from metier.store.values import from_plain

CALIBRATION = "calibration.json"
"""The file's name beside a model."""
FORMAT = "calibration"
NOT_ASKED = "evaluation.calibrate is false"
NO_PROBABILITIES = "its answers have no probabilities of labels"
PROMISES = (0.9, 0.95, 0.99)
"""Shares of right answers that are promised where the recipe names none: the highest that validation supports."""
SLACK = 1e-9
"""A confidence that is below a threshold by less is at it: it was computed in another order."""


@dataclass(frozen=True, kw_only=True)
class SavedCalibration:
    """`calibration.json` beside a model: how its probabilities are to be read, from validation."""

    model_sha256: str
    """Of `metier-model.json` beside it: a temperature belongs to one model."""
    labels: tuple[str, ...]
    temperature: Temperature
    promise: Promise | None
    """None where answers have no probabilities."""
    reason: str | None = None
    """Why there is no promise at all."""


def fit_calibration(
    validation: Evaluation, *, target: float | None, sure: float, calibrate: bool = True, model_sha256: str = ""
) -> SavedCalibration:
    """Temperature and promise from validation items.

    The promise is made on the tempered confidences of the very items that the temperature is fitted on: one number
    cannot learn them by heart, and whether the promise holds is looked at on other items.

    Args:
        validation: The promoted system on all of validation.
        target: Wanted share of right answers among those that are given, above 0 and below 1. None: the highest of
            `PROMISES` that is supported.
        sure: How sure the promise is, between 0 and 1.
        calibrate: Whether a temperature is fitted.
        model_sha256: Whose probabilities they are.
    """
    labels = validation.labels
    logprobs, golds, places = label_matrix(validation.items, labels)
    if len(places) == 0 or not labels:
        none = _one(0, NO_PROBABILITIES)
        return SavedCalibration(
            model_sha256=model_sha256, labels=labels, temperature=none, promise=None, reason=NO_PROBABILITIES
        )
    temperature = fit_temperature(logprobs, golds) if calibrate else _one(len(places), NOT_ASKED)
    confidence, right = confidences(validation.items, labels, temperature.value)
    groups, targets = group_places(validation.items), PROMISES if target is None else (target,)
    promise = None
    # Tested in a fixed order up to the first that fails, so that three tries are as sure as one (Maurer et al. 1995).
    for each in targets:
        made = promise_accuracy(confidence, right, each, groups=groups, sure=sure)
        promise = made if promise is None or made.threshold is not None else promise
        if made.threshold is None:
            break
    return SavedCalibration(model_sha256=model_sha256, labels=labels, temperature=temperature, promise=promise)


def write_calibration(folder: Path, saved: SavedCalibration) -> None:
    """Write a calibration beside its model.

    Args:
        folder: The model's folder.
        saved: With the hash of the file that says what the model is.
    """
    write_json(folder / CALIBRATION, saved, format=FORMAT)


def read_calibration(folder: Path, about: str) -> SavedCalibration | None:
    """The calibration beside a model; None where there is none.

    Args:
        folder: The model's folder.
        about: Name of the file there that says what the model is.

    Raises:
        ModelError: It was fitted on another model.
        RunFolderError: It is damaged.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    saved = from_plain(SavedCalibration, read_json(path, format=FORMAT), where=str(path))
    if saved.model_sha256 != file_sha256(folder / about):
        fix = "Copy both again from one run, or remove it: probabilities are then as they come."
        raise ModelError(str(path), "was fitted on another model", "the one beside this model", fix)
    return saved


def calibrated(logprobs: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Label log-probabilities after a temperature; which label is the most probable does not change.

    Args:
        logprobs: Of every label.
        temperature: Above 0; 1 leaves them as they are.
    """
    if temperature == 1.0 or not logprobs:
        return dict(logprobs)
    row = [max(value, LOWEST_LOGPROB) if math.isfinite(value) else LOWEST_LOGPROB for value in logprobs.values()]
    values = tempered(np.array([row]), temperature)[0]
    return dict(zip(logprobs, map(float, values), strict=True))


def _one(n: int, reason: str) -> Temperature:
    return Temperature(value=1.0, low=None, high=None, n=n, loss_before=None, loss_after=None, reason=reason)
