"""Temperature and promise from validation, kept beside the model that they belong to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metier.errors import ModelError, RunFolderError
from metier.evaluation.labels.saved_calibration import (
    NO_PROBABILITIES,
    NOT_ASKED,
    calibrated,
    fit_calibration,
    read_calibration,
    write_calibration,
)
from metier.evaluation.results import Evaluation

LABELS = ("a", "b", "c")
Make = Callable[..., Evaluation]


def overconfident(make: Make, n: int = 1500, *, sharpness: float = 3.0, seed: int = 0) -> Evaluation:
    """Answers whose log-probabilities are `sharpness` times what they should be."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (n, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    golds = [LABELS[int(generator.choice(3, p=row))] for row in true]
    sharp = logits * sharpness
    logprobs = sharp - np.log(np.exp(sharp).sum(1, keepdims=True))
    evaluation = make("tuned", golds, [LABELS[int(row.argmax())] for row in logits], set_name="validation")
    items = tuple(
        replace(item, label_logprobs=dict(zip(LABELS, map(float, row), strict=True)))
        for item, row in zip(evaluation.items, logprobs, strict=True)
    )
    return replace(evaluation, items=items, labels=LABELS)


def test_the_planted_temperature_is_found(make_evaluation: Make) -> None:
    saved = fit_calibration(overconfident(make_evaluation), target=0.7, sure=0.95)
    assert saved.temperature.low is not None and saved.temperature.high is not None
    assert saved.temperature.low < 3.0 < saved.temperature.high
    assert saved.promise is not None and saved.promise.threshold is not None
    assert 0.4 < saved.promise.threshold < 0.65


def test_without_calibration_the_confidences_stay_as_they_come(make_evaluation: Make) -> None:
    saved = fit_calibration(overconfident(make_evaluation), target=0.7, sure=0.95, calibrate=False)
    assert (saved.temperature.value, saved.temperature.reason) == (1.0, NOT_ASKED)
    fitted = fit_calibration(overconfident(make_evaluation), target=0.7, sure=0.95)
    assert saved.promise is not None and fitted.promise is not None
    assert (saved.promise.threshold or 0.0) > (fitted.promise.threshold or 1.0) + 0.1
    assert saved.promise.answered == pytest.approx(fitted.promise.answered, abs=100), "nearly the same answers"


def test_too_few_items_promise_nothing_and_say_why(make_evaluation: Make) -> None:
    saved = fit_calibration(overconfident(make_evaluation, 40), target=0.99, sure=0.95)
    assert saved.promise is not None and saved.promise.threshold is None
    assert "40 validation items are too few" in (saved.promise.reason or "")


def test_answers_without_probabilities_have_no_promise(make_evaluation: Make) -> None:
    saved = fit_calibration(make_evaluation("tuned", ["a", "b"] * 20, ["a"] * 40), target=0.9, sure=0.95)
    assert (saved.promise, saved.reason) == (None, NO_PROBABILITIES)


def test_it_is_read_beside_its_own_model_alone(make_evaluation: Make, tmp_path: Path) -> None:
    from metier.store.fingerprint import file_sha256

    (tmp_path / "about.json").write_text("{}", encoding="utf-8")
    assert read_calibration(tmp_path, "about.json") is None
    hashed = file_sha256(tmp_path / "about.json")
    saved = fit_calibration(overconfident(make_evaluation, 200), target=0.8, sure=0.9, model_sha256=hashed)
    write_calibration(tmp_path, saved)
    assert read_calibration(tmp_path, "about.json") == saved
    (tmp_path / "about.json").write_text('{"other": 1}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"calibration\.json.*was fitted on another model.*Copy both again"):
        read_calibration(tmp_path, "about.json")
    (tmp_path / "calibration.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"calibration\.json"):
        read_calibration(tmp_path, "about.json")


def test_a_temperature_changes_how_sure_and_never_what() -> None:
    given = {"a": math.log(0.9), "b": math.log(0.1), "c": -math.inf}
    soft = calibrated(given, 2.0)
    assert list(soft) == list(given) and max(soft, key=lambda label: soft[label]) == "a"
    assert math.exp(soft["a"]) == pytest.approx(0.9**0.5 / (0.9**0.5 + 0.1**0.5))
    assert calibrated(given, 1.0) == given


@pytest.mark.parametrize(("n", "target"), [(20, 0.9), (50, 0.9), (100, 0.95), (500, 0.99)])
def test_without_a_target_the_highest_supported_accuracy_is_promised(
    make_evaluation: Make, n: int, target: float
) -> None:
    golds = [LABELS[place % 3] for place in range(n)]
    evaluation = make_evaluation("tuned", golds, golds, set_name="validation")
    sure = [{label: math.log(0.9 if label == gold else 0.05) for label in LABELS} for gold in golds]
    items = tuple(replace(item, label_logprobs=row) for item, row in zip(evaluation.items, sure, strict=True))
    promise = fit_calibration(replace(evaluation, items=items, labels=LABELS), target=None, sure=0.95).promise
    assert promise is not None and promise.target == target
    assert (promise.threshold is None) == (n == 20)
    assert promise.reason == (
        "20 validation items are too few: 36 right answers in a row are needed" if n == 20 else None
    )
