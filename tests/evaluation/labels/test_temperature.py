"""The temperature: a planted one comes back, and nothing is fitted where nothing can be."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, special

from metier.evaluation.labels.temperature import LEAST, fit_temperature, tempered

Floats = npt.NDArray[np.float64]


def _planted(n: int, labels: int, temperature: float, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Log-probabilities that are too sharp (above 1) or too flat by a temperature, with golds drawn from the truth."""
    generator = np.random.default_rng(seed)
    truth = special.log_softmax(generator.normal(0, 2, (n, labels)), axis=1)
    golds = (np.cumsum(np.exp(truth), axis=1) > generator.random((n, 1))).argmax(axis=1)
    return special.log_softmax(truth * temperature, axis=1), golds.astype(np.int64)


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.5, 6.0])
def test_a_planted_temperature_comes_back_within_five_percent(planted: float) -> None:
    found = fit_temperature(*_planted(8000, 10, planted))
    assert found.value == pytest.approx(planted, rel=0.05)
    assert found.low is not None and found.high is not None and found.low <= planted <= found.high
    assert found.loss_after is not None and found.loss_before is not None
    assert found.loss_after <= found.loss_before + 1e-12


def test_it_is_the_least_loss_that_scipy_finds() -> None:
    logprobs, golds = _planted(300, 4, 3.0)

    def loss(temperature: float) -> float:
        return float(-tempered(logprobs, temperature)[np.arange(300), golds].mean())

    scipys = optimize.minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-8})
    found = fit_temperature(logprobs, golds)
    assert found.value == pytest.approx(scipys.x, rel=1e-4)
    assert found.loss_after == pytest.approx(loss(found.value), rel=1e-12)


def test_the_interval_covers_the_planted_temperature() -> None:
    held = 0
    for seed in range(150):
        found = fit_temperature(*_planted(200, 5, 2.0, seed))
        held += found.low is not None and found.high is not None and found.low <= 2.0 <= found.high
    assert 0.89 <= held / 150 <= 1.0


def test_a_temperature_changes_no_answer() -> None:
    logprobs, _ = _planted(50, 6, 2.0)
    warm = tempered(logprobs, 2.0)
    assert np.array_equal(warm.argmax(axis=1), logprobs.argmax(axis=1))
    assert np.exp(warm).sum(axis=1) == pytest.approx(np.ones(50))
    assert tempered(logprobs, 1.0) == pytest.approx(logprobs, abs=1e-12)


def test_golds_without_a_column_are_left_out() -> None:
    logprobs, golds = _planted(400, 4, 2.0)
    some = golds.copy()
    some[:100] = -1
    assert fit_temperature(logprobs, some) == fit_temperature(logprobs[100:], golds[100:])


@pytest.mark.parametrize(
    ("logprobs", "golds", "reason"),
    [
        pytest.param(np.zeros((5, 3)), np.zeros(5, dtype=np.int64), "5 items; a temperature needs 20", id="few"),
        pytest.param(
            np.tile(np.log([0.8, 0.2]), (30, 1)), np.zeros(30, dtype=np.int64),
            "every answer is right: nothing says how sure to be", id="all right",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_stays_one(logprobs: Floats, golds: npt.NDArray[np.int64], reason: str) -> None:
    found = fit_temperature(logprobs, golds)
    assert (found.value, found.reason, found.low) == (1.0, reason, None)


def test_hopeless_probabilities_end_at_the_edge() -> None:
    logprobs = np.tile(np.log([0.99, 0.01]), (40, 1))
    found = fit_temperature(logprobs, np.array([1] * 39 + [0]))
    assert found.reason == "at the edge of what is considered"
    assert found.value == pytest.approx(20, rel=0.01) and found.value > LEAST


def test_no_temperature_below_zero() -> None:
    with pytest.raises(ValueError, match="temperature: 0, wanted a number above 0"):
        tempered(np.log(np.full((1, 2), 0.5)), 0.0)
    assert math.isfinite(tempered(np.array([[0.0, -1e4]]), 0.05)[0, 1])
