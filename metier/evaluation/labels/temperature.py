"""One number that makes a system's probabilities believable: the temperature (Guo et al. 2017, arXiv 1706.04599).

Log-probabilities are divided by it and normalised again, which changes no answer. Fitted on validation only, by
least log loss; the loss is convex in 1 / temperature, so the least is found by bisection and is the only one.

Shape letters: N items, L labels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from metier.evaluation.evidence import Temperature
from metier.evaluation.statistics import CONFIDENCE, normal_quantile

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
LEAST, MOST = 0.05, 20.0
"""Temperatures that are considered."""
LEAST_ITEMS = 20
"""Items below which nothing is fitted."""


def tempered(logprobs: Floats, temperature: float) -> Floats:
    """Log-probabilities divided by a temperature and normalised again, shape (N, L).

    Args:
        logprobs: Shape (N, L), finite.
        temperature: Above 0; 1 leaves normalised ones as they are.

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature: {temperature:g}, wanted a number above 0")
    scaled = logprobs / temperature
    top = scaled.max(axis=1, keepdims=True)
    normal: Floats = scaled - top - np.log(np.exp(scaled - top).sum(axis=1, keepdims=True))
    return normal


def fit_temperature(logprobs: Floats, golds: Places, confidence: float = CONFIDENCE) -> Temperature:
    """The temperature under which the gold labels are most probable.

    Args:
        logprobs: Log-probabilities of the labels on validation, shape (N, L).
        golds: Column of each gold label; items with -1 (a label without probability) are left out.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The temperature; 1 with a reason where the data cannot say: too few items, or none wrong, when any
        sharpening would look better than the last.
    """
    known = golds >= 0
    rows, columns = logprobs[known], golds[known]
    n = len(rows)
    if n < LEAST_ITEMS:
        return _not_fitted(n, f"{n} items; a temperature needs {LEAST_ITEMS}")
    best = rows.max(axis=1)
    gold = rows[np.arange(n), columns]
    if np.all(gold >= best - 1e-12):
        return _not_fitted(n, "every answer is right: nothing says how sure to be")
    if float(np.ptp(rows, axis=1).max()) < 1e-12:
        return _not_fitted(n, "all labels are equally probable")
    low, high = math.log(1 / MOST), math.log(1 / LEAST)
    for _ in range(60):
        middle = (low + high) / 2
        if _slope(rows, gold, math.exp(middle)) < 0.0:
            low = middle  # the loss still falls as answers get sharper
        else:
            high = middle
    sharpness = math.exp((low + high) / 2)
    value = 1 / sharpness
    before = float(-tempered(rows, 1.0)[np.arange(n), columns].mean())
    after = float(-tempered(rows, value)[np.arange(n), columns].mean())
    if not LEAST * 1.001 < value < MOST * 0.999:
        return Temperature(value=value, low=None, high=None, n=n, loss_before=before, loss_after=after,
                           reason="at the edge of what is considered")  # fmt: skip
    # On the scale of logarithms the interval is nearly symmetric, and stays above 0.
    half = normal_quantile((1 + confidence) / 2) / (sharpness * math.sqrt(max(_curvature(rows, sharpness), 1e-12)))
    return Temperature(
        value=value, low=value * math.exp(-half), high=value * math.exp(half), n=n, loss_before=before, loss_after=after
    )


def _not_fitted(n: int, reason: str) -> Temperature:
    return Temperature(value=1.0, low=None, high=None, n=n, loss_before=None, loss_after=None, reason=reason)


def _slope(rows: Floats, gold: Floats, sharpness: float) -> float:
    """Derivative of the total loss by sharpness (1 / temperature): expected minus actual log-probability."""
    chances = np.exp(tempered(rows, 1 / sharpness))
    return float(((chances * rows).sum(axis=1) - gold).sum())


def _curvature(rows: Floats, sharpness: float) -> float:
    """Second derivative of the total loss: the variance of log-probabilities under the tempered ones."""
    chances = np.exp(tempered(rows, 1 / sharpness))
    mean = (chances * rows).sum(axis=1)
    return float(((chances * rows**2).sum(axis=1) - mean**2).sum())
