"""A head for any number of labels: one logistic regression a label on pooled features, folded into a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from metier.device import few_threads
from metier.model.head import STRENGTHS, ChosenHead, Floats, LinearHead

ALWAYS, NEVER = 30.0, -30.0
"""Scores of a label that all examples have, or none."""
_CLOSEST = 1e-7


def label_chances(scores: Floats) -> npt.NDArray[np.float64]:
    """Probability of each label, shape (N, C), from a head's scores."""
    chances: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(scores.astype(np.float64), -60.0, 60.0)))
    return chances


def set_scores(head: LinearHead, features: Floats) -> npt.NDArray[np.float64]:
    """Scores of each label, shape (N, C), of features of shape (N, hidden)."""
    scores: npt.NDArray[np.float64] = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    return scores


def fit_set_head(features: Floats, gold: Floats, strength: float, own: Floats | None = None) -> LinearHead:
    """A logistic regression for each label on standardised features, folded into one linear layer.

    Args:
        features: Shape (N, hidden).
        gold: 1 where an example has the label, shape (N, C).
        strength: scikit-learn's C.
        own: What each example weighs, shape (N,). None: all 1.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-8, spread, 1.0)
    standard = (features - mean) / spread
    weight = np.zeros((gold.shape[1], features.shape[1]))
    bias = np.zeros(gold.shape[1])
    with few_threads(float(standard.size)):
        for label, column in enumerate(gold.T):
            if len(np.unique(column)) < 2:
                bias[label] = ALWAYS if len(column) and column[0] else NEVER
                continue
            model = LogisticRegression(C=strength, max_iter=3000)
            model.fit(standard, column, sample_weight=own)
            weight[label] = model.coef_[0] / spread
            bias[label] = model.intercept_[0] - weight[label] @ mean
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def choose_set_head(
    train: tuple[Floats, Floats],
    validation: tuple[Floats, Floats],
    own: Floats | None = None,
    *,
    seen: Sequence[bool] = (),
) -> ChosenHead:
    """Fit one head a strength on train and keep the one with the lowest validation loss.

    Args:
        train: Features (N, hidden) and labels (N, C).
        validation: The same.
        own: What each training example weighs. None: all 1.
        seen: Whether each example of train is among those of validation too: the strength is then chosen without them,
            and the head that is kept learns from all. Empty: none is.
    """
    if any(seen):
        rest = ~np.asarray(seen)
        found = choose_set_head((train[0][rest], train[1][rest]), validation, None if own is None else own[rest])
        return replace(found, head=fit_set_head(*train, found.strength, own))
    heads = {strength: fit_set_head(*train, strength, own) for strength in STRENGTHS}
    losses = {strength: set_loss(set_scores(head, validation[0]), validation[1]) for strength, head in heads.items()}
    best = min(losses, key=lambda strength: losses[strength])
    return ChosenHead(heads[best], best, losses)


def set_loss(scores: Floats, gold: Floats) -> float:
    """Mean binary cross-entropy over examples and labels, in nats; 0 where there are none."""
    if not gold.size:
        return 0.0
    chances = np.clip(label_chances(scores), _CLOSEST, 1 - _CLOSEST)
    return float(-(gold * np.log(chances) + (1 - gold) * np.log(1 - chances)).mean())
