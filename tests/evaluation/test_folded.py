"""Out-of-fold answers: intervals from within folds, everywhere and again from the item rows alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from metier.errors import MetierError
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items, recompute
from metier.evaluation.folded import dependence, fold_values, is_folded
from metier.evaluation.results import Evaluation, Item
from metier.recipe.sections import EvaluationSection

FOLDS, N = 5, 300


def _evaluation(name: str, right: float, seed: int) -> Evaluation:
    rng = np.random.default_rng(seed)
    items = [
        Item(
            id=str(n), group=None, gold="ab"[n % 2], answer="ab"[n % 2] if rng.random() < right else "ba"[n % 2],
            label_logprobs=None, prompt_hash=None, source="", row=n, fold=n % FOLDS,
            flags=("duplicate",) * (n % 7 == 0),
        )
        for n in range(N)
    ]  # fmt: skip
    about = About(system=name)
    return evaluate_items(items, about=about, set_name="out_of_fold", labels=("a", "b"), resamples=200, seed=3)


def _by_fold(evaluation: Evaluation) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    right = np.array([item.gold == item.answer for item in evaluation.items], dtype=float)
    return np.array([right[fold::FOLDS].mean() for fold in range(FOLDS)])


def test_an_interval_is_nadeau_and_bengios() -> None:
    evaluation = _evaluation("tuned", 0.8, 1)
    accuracy, parts = evaluation.metrics["accuracy"], _by_fold(evaluation)
    assert fold_values(evaluation, "accuracy") == pytest.approx(parts)
    error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * parts.var(ddof=1))
    half = stats.t.ppf(0.975, FOLDS - 1) * error
    assert (accuracy.low, accuracy.high) == pytest.approx((accuracy.value - half, min(1.0, accuracy.value + half)))
    assert accuracy.method == "corrected resampled t (5 folds)"
    assert evaluation.clean_metrics["accuracy"].method == "corrected resampled t (5 folds)"
    assert all((each.low or 0) >= 0 and (each.high or 0) <= 1 for each in evaluation.metrics.values())


def test_the_same_comes_from_the_items_again() -> None:
    evaluation = _evaluation("tuned", 0.8, 1)
    assert recompute(replace(evaluation, metrics={})).metrics == evaluation.metrics
    moved = tuple(replace(item, fold=0 if item.fold == 1 else item.fold) for item in evaluation.items)
    assert recompute(replace(evaluation, items=moved)).metrics != evaluation.metrics


def test_a_comparison_is_paired_within_folds() -> None:
    ours, theirs = _evaluation("tuned", 0.95, 1), _evaluation("tfidf", 0.6, 2)
    section = EvaluationSection(primary_metric="accuracy", resamples=200)
    found = compare(ours, [theirs], section=section)
    (row,) = found.differences
    gaps = _by_fold(ours) - _by_fold(theirs)
    error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * gaps.var(ddof=1))
    half = stats.t.ppf(0.975, FOLDS - 1) * error
    assert (row.difference.low, row.difference.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
    assert row.p_value == pytest.approx(2 * stats.t.sf(gaps.mean() / error, FOLDS - 1))
    assert found.verdict == "improved"
    assert dependence(ours.items) in found.sentence and "4 in 5 of the rows" in found.sentence
    assert row.smallest_detectable is not None and row.smallest_detectable > 0


def test_a_later_look_has_a_wider_interval() -> None:
    ours, theirs = _evaluation("tuned", 0.95, 1), _evaluation("tfidf", 0.6, 2)
    section = EvaluationSection(primary_metric="macro_f1", resamples=200)
    (row,) = compare(ours, [theirs], section=section, openings=3).differences
    after, first = row.after_openings, row.difference
    assert after is not None and after.low is not None and first.low is not None and after.low < first.low


def test_answers_without_folds_are_left_as_they_are() -> None:
    evaluation = _evaluation("tuned", 0.8, 1)
    plain = recompute(replace(evaluation, items=tuple(replace(item, fold=None) for item in evaluation.items)))
    assert plain.metrics["accuracy"].method == "wilson" and dependence(plain.items) == ""


def test_half_a_fold_is_a_fault() -> None:
    items = _evaluation("tuned", 0.8, 1).items
    with pytest.raises(MetierError, match="299 of 300 have a fold"):
        is_folded([replace(items[0], fold=None), *items[1:]])


def test_folds_that_all_say_the_same_give_no_interval() -> None:
    perfect = _evaluation("tuned", 1.1, 1)
    accuracy = perfect.metrics["accuracy"]
    assert accuracy.value == 1.0 and accuracy.low is None and accuracy.reason == "all folds have the same value"
