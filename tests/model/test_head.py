"""The closed-form head is scikit-learn's logistic regression on standardised features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metier.model import head as module
from metier.model.head import HEADS_KEPT, STRENGTHS, choose_head, fit_head


def planted(classes: int, rows: int = 120) -> tuple[Any, list[int]]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, rows)
    features = rng.normal(size=(rows, 6)) * [1, 5, 0.1, 1, 1, 1] + 3 + 0.8 * rng.normal(size=(classes, 6))[labels]
    return features, labels.tolist()


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("strength", [0.1, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(classes: int, strength: float, weighted: bool) -> None:
    features, labels = planted(classes)
    weights = {number: 1.0 + number for number in range(classes)} if weighted else None
    head = fit_head(features, labels, classes, strength, weights)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight=weights, max_iter=3000))
    wanted = reference.fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(np.exp(head.log_probabilities(features)), wanted, atol=1e-5)


@pytest.mark.parametrize("present", [[0, 2], [0, 2, 3]], ids=["two of four", "three of four"])
def test_a_class_without_examples_is_never_answered(present: list[int]) -> None:
    features, labels = planted(len(present))
    numbers = [present[label] for label in labels]
    rows = fit_head(features, numbers, 4, 1.0).log_probabilities(features)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=3000)).fit(features, numbers)
    np.testing.assert_allclose(np.exp(rows[:, present]), model.predict_proba(features), atol=1e-5)
    assert set(rows.argmax(axis=1)) <= set(present)


def test_a_feature_that_never_changes() -> None:
    features, labels = planted(3)
    features[:, 1] = 7.0
    head = fit_head(features, labels, 3, 1.0)
    assert np.isfinite(head.weight).all() and np.isfinite(head.bias).all()


def test_the_best_strength_on_validation_is_chosen() -> None:
    features, labels = planted(3)
    chosen = choose_head((features[:80], labels[:80]), (features[80:], labels[80:]), 3)
    assert set(chosen.losses) == set(STRENGTHS)
    assert chosen.losses[chosen.strength] == min(chosen.losses.values())
    rows = chosen.head.log_probabilities(features[80:])
    assert -rows[np.arange(40), labels[80:]].mean() == pytest.approx(chosen.losses[chosen.strength])
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0)


def test_the_same_head_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = planted(3)
    solve, solved = module._solve, []
    monkeypatch.setattr(module, "_solve", lambda *asked: solved.append(asked[3]) or solve(*asked))
    monkeypatch.setattr(module, "_solved", type(module._solved)())
    first = choose_head((features, labels), (features, labels), 3)
    again = choose_head((features.copy(), list(labels)), (features, labels), 3)
    assert solved == list(STRENGTHS)
    assert again.head is first.head
    others = (
        (features[::-1], labels, 3, 1.0), (features, labels[::-1], 3, 1.0), (features, labels, 4, 1.0),
        (features, labels, 3, 1.0, {0: 2.0}), (features, labels, 3, 1.0, None, [2.0] * len(labels)),
        (features.astype(np.float32), labels, 3, 1.0),
    )  # fmt: skip
    for asked in others:
        fit_head(*asked)
    assert len(solved) == len(STRENGTHS) + len(others)
    for strength in range(1, HEADS_KEPT + 2):
        fit_head(features, labels, 3, 100.0 + strength)
    assert len(module._solved) == HEADS_KEPT


@pytest.mark.parametrize(("multiplications", "few"), [(1e4, True), (1e12, False)])
def test_small_products_are_made_in_one_thread(multiplications: float, few: bool) -> None:
    from threadpoolctl import threadpool_info

    from metier.device import few_threads

    def threads() -> set[int]:
        return {int(each["num_threads"]) for each in threadpool_info() if each["user_api"] == "blas"}

    before = threads()
    with few_threads(multiplications):
        assert threads() == ({1} if few else before)
    assert threads() == before


def test_heads_are_solved_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info

    seen = []
    fit = LogisticRegression.fit

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        seen.append({each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"})
        return fit(self, *arguments, **named)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    features, labels = planted(3, rows=37)
    fit_head(features, labels, 3, 0.7)
    assert seen == [{1}]
