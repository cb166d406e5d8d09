"""A classification head: one linear layer on pooled features, solved as a converged logistic regression."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.device import few_threads

Floats = npt.NDArray[np.floating]
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Inverse regularisation strengths tried on standardised features; the best on validation is used."""
HEADS_KEPT = 32
"""Solved heads that are remembered: the probe is set up twice, and a candidate may solve the same head again."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Scores = features @ weight.T + bias."""

    weight: npt.NDArray[np.float32]
    """Shape (C, hidden)."""
    bias: npt.NDArray[np.float32]
    """Shape (C,)."""

    def log_probabilities(self, features: Floats) -> npt.NDArray[np.float64]:
        """Normalised log-probabilities, shape (N, C), of features of shape (N, hidden)."""
        scores = features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        top = scores.max(axis=1, keepdims=True)
        normalised: npt.NDArray[np.float64] = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        return normalised


_solved: OrderedDict[bytes, LinearHead] = OrderedDict()
"""By what a head was solved from; solving is exact, so a head that was solved before is the same head."""


def fit_head(
    features: Floats,
    labels: Sequence[int],
    classes: int,
    strength: float,
    weights: Mapping[int, float] | None = None,
    own: Sequence[float] | None = None,
) -> LinearHead:
    """Multinomial logistic regression on standardised features, folded into one linear layer; solved once.

    Args:
        features: Shape (N, hidden).
        labels: N class numbers; a class without an example gets a score below all others.
        classes: Number of classes, C.
        strength: scikit-learn's C.
        weights: Weight of each class's examples. None: all 1.
        own: What each example weighs besides. None: all 1.
    """
    said = (features.shape, features.dtype.str, list(labels), classes, strength, weights and sorted(weights.items()))
    key = hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16)
    key.update(repr((said, None if own is None else list(own))).encode())
    head = _solved.pop(key.digest(), None)
    if head is None:
        head = _solve(features, labels, classes, strength, weights, own)
    _solved[key.digest()] = head
    while len(_solved) > HEADS_KEPT:
        _solved.popitem(last=False)
    return head


def _solve(
    features: Floats,
    labels: Sequence[int],
    classes: int,
    strength: float,
    weights: Mapping[int, float] | None,
    own: Sequence[float] | None,
) -> LinearHead:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-8, spread, 1.0)
    model = LogisticRegression(C=strength, max_iter=3000, class_weight=dict(weights) if weights else None)
    standard, answers = (features - mean) / spread, np.asarray(labels)
    with few_threads(float(features.size) * classes):
        model.fit(standard, answers, sample_weight=None if own is None else np.asarray(own))
    weight = np.zeros((classes, features.shape[1]))
    bias = np.full(classes, -30.0)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
    weight[model.classes_] = coefficients / spread
    bias[model.classes_] = intercepts - (coefficients / spread) @ mean
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


@dataclass(frozen=True, eq=False)
class ChosenHead:
    """The head with the best validation log-likelihood, and how every strength did."""

    head: LinearHead
    strength: float
    losses: Mapping[float, float]
    """Validation loss (mean negative log-likelihood of the gold label) by strength."""


def choose_head(
    train: tuple[Floats, Sequence[int]],
    validation: tuple[Floats, Sequence[int]],
    classes: int,
    weights: Mapping[int, float] | None = None,
    own: Sequence[float] | None = None,
    *,
    seen: Sequence[bool] = (),
) -> ChosenHead:
    """Fit one head a strength on train and keep the one with the lowest validation loss.

    Args:
        train: Features, shape (N, hidden), and N class numbers.
        validation: The same of the examples that the strength is chosen on.
        classes: Number of classes.
        weights: Weight of each class's examples. None: all 1.
        own: What each example of train weighs besides. None: all 1.
        seen: Whether each example of train is among those of validation too: the strength is then chosen without them,
            and the head that is kept learns from all. Empty: none is.
    """
    if any(seen):
        rest = [place for place, is_seen in enumerate(seen) if not is_seen]
        inside = (train[0][rest], [train[1][place] for place in rest])
        known = set(inside[1])
        by_class = None if weights is None else {label: w for label, w in weights.items() if label in known}
        found = choose_head(inside, validation, classes, by_class, None if own is None else [own[i] for i in rest])
        return replace(found, head=fit_head(train[0], train[1], classes, found.strength, weights, own))
    heads = {strength: fit_head(train[0], train[1], classes, strength, weights, own) for strength in STRENGTHS}
    gold = np.asarray(validation[1])
    losses = {}
    for strength, head in heads.items():
        scores = head.log_probabilities(validation[0])
        losses[strength] = float(-scores[np.arange(len(gold)), gold].mean())
    best = min(losses, key=lambda strength: losses[strength])
    return ChosenHead(heads[best], best, losses)
