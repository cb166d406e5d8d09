"""Out-of-fold answers: every row once, by a model that did not see its group, with intervals that hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from metier.data.records import Choice
from metier.errors import DataError, MetierError
from metier.evaluation.metrics import point_metrics
from metier.evaluation.results import Item
from metier.evaluation.significance.out_of_fold import (
    OutOfFold,
    answer_out_of_fold,
    compare_out_of_fold,
    corrected_error,
    fold_estimate,
    fold_scores,
    grouped_folds,
    measure_out_of_fold,
)
from metier.evaluation.statistics import wilson_interval

Make = Callable[..., list[Choice]]


def _items(records: Sequence[Choice], answers: Sequence[str]) -> list[Item]:
    return [
        Item(
            id=record.id, group=record.group, gold=record.label, answer=answer, label_logprobs=None, prompt_hash=None,
            source=record.source, row=record.row,
        )
        for record, answer in zip(records, answers, strict=True)
    ]  # fmt: skip


def _right(item: Item) -> float:
    return float(item.answer == item.gold)


def _accuracy(items: Sequence[Item]) -> float | None:
    return point_metrics([item.gold for item in items], [item.answer for item in items])["accuracy"]


def test_every_row_is_answered_once_by_a_model_without_its_group(make_records: Make) -> None:
    records = [
        Choice(id=record.id, text=record.text, label=record.label, group=f"g{place // 4}", source="a.csv", row=place)
        for place, record in enumerate(make_records(80))
    ]
    seen: list[int] = []

    def answer(train: Sequence[Choice], asked: Sequence[Choice], fold: int) -> list[Item]:
        assert not {record.group for record in train} & {record.group for record in asked}
        assert len(train) + len(asked) == 80
        seen.append(fold)
        return _items(asked, [record.label for record in asked])

    found = answer_out_of_fold(records, answer, seed=3, folds=4)
    assert seen == [0, 1, 2, 3]
    assert [item.id for item in found.items] == [record.id for record in records]
    assert np.bincount(found.fold_of).tolist() == [20] * 4
    assert "trained on 3 in 4 of the rows" in found.note and "Nadeau and Bengio" in found.note
    assert list(found.fold_of) == grouped_folds(records, 3, 4)


def test_what_a_fold_answers_is_checked(make_records: Make) -> None:
    records = make_records(20)
    with pytest.raises(MetierError, match="fold 1: 1 items that are not those of its 4 records"):
        answer_out_of_fold(records, lambda train, asked, fold: _items(asked[:1], ["x"]), seed=1)
    with pytest.raises(DataError, match="two records have one id"):
        answer_out_of_fold([records[0]] * 6, lambda train, asked, fold: [], seed=1)
    with pytest.raises(DataError, match="has 3 independent records or groups, wanted at least 5"):
        answer_out_of_fold(records[:3], lambda train, asked, fold: [], seed=1)


def test_the_interval_is_the_corrected_resampled_t() -> None:
    folds = [0.8, 0.9, 0.85, 0.75, 0.95]
    estimate, p_value = fold_estimate(0.85, folds, n=100)
    # Nadeau and Bengio 2003: the variance times 1 / k + test / train, k - 1 degrees of freedom.
    error = np.sqrt((1 / 5 + 20 / 80) * np.var(folds, ddof=1))
    assert corrected_error(np.array(folds)) == pytest.approx(error)
    half = stats.t.ppf(0.975, 4) * error
    assert (estimate.low, estimate.high) == pytest.approx((0.85 - half, 0.85 + half))
    assert p_value == pytest.approx(2 * stats.t.sf(0.85 / error, 4))
    assert estimate.method == "corrected resampled t (5 folds)" and estimate.n == 100


@pytest.mark.parametrize(
    ("folds", "reason"),
    [
        ([0.8], "fewer than two folds"),
        ([0.8, float("nan")], "a fold has no value"),
        ([0.8, 0.8, 0.8], "all folds have the same value"),
    ],
)
def test_what_folds_cannot_say_is_unknown(folds: list[float], reason: str) -> None:
    estimate, p_value = fold_estimate(0.8, folds, n=10)
    assert (estimate.low, estimate.high, estimate.reason, p_value) == (None, None, reason, None)


def _planted(records: Sequence[Choice], errors: int, seed: int) -> OutOfFold:
    wrong = set(np.random.default_rng(seed).permutation(len(records))[:errors].tolist())
    said = ["wrong" if place in wrong else record.label for place, record in enumerate(records)]
    by_id = dict(zip([record.id for record in records], said, strict=True))
    return answer_out_of_fold(
        records, lambda train, asked, fold: _items(asked, [by_id[record.id] for record in asked]), seed=1
    )


def test_metrics_over_all_rows(make_records: Make) -> None:
    found = _planted(make_records(200), 30, 1)
    estimates = measure_out_of_fold(found, {"accuracy": _accuracy, "none": lambda items: None})
    assert estimates["accuracy"].value == pytest.approx(0.85)
    assert estimates["accuracy"].low is not None and estimates["accuracy"].low < 0.85
    assert estimates["none"].reason == "it is undefined on these items"
    of_folds = fold_scores(np.array([_right(item) for item in found.items]), found.fold_of)
    assert fold_estimate(0.85, of_folds.tolist(), n=200)[0] == estimates["accuracy"]


def test_two_systems_are_compared_in_the_same_folds(make_records: Make) -> None:
    records = make_records(300)
    good, bad = _planted(records, 20, 1), _planted(records, 110, 2)
    estimate, p_value = compare_out_of_fold(good, bad, _right)
    assert estimate.value == pytest.approx(0.3)
    assert estimate.low is not None and estimate.low > 0
    assert p_value is not None and p_value < 0.05
    other = OutOfFold(items=bad.items, fold_of=(0,) * 300, folds=5, note="")
    with pytest.raises(DataError, match="other items or other folds"):
        compare_out_of_fold(good, other, _right)


def _coverage(repeats: int, n: int) -> tuple[float, float]:
    """Share of intervals that hold the true accuracy of nearest-mean models trained on 4 in 5 rows; and Wilson's."""
    generator = np.random.default_rng(8)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        labels = generator.integers(0, 2, size)
        return generator.normal(0, 1, (size, 10)) + 0.25 * (2 * labels[:, None] - 1), labels

    def fit(points: np.ndarray, labels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(points[labels == 1].mean(axis=0) - points[labels == 0].mean(axis=0))

    fresh, truth = draw(20_000)
    true = np.mean([np.mean((fresh @ fit(*draw(4 * n // 5)) > 0) == truth) for _ in range(200)])
    held, naive = 0, 0
    for _ in range(repeats):
        points, labels = draw(n)
        fold_of = np.arange(n) % 5
        right = np.zeros(n)
        for fold in range(5):
            direction = fit(points[fold_of != fold], labels[fold_of != fold])
            right[fold_of == fold] = (points[fold_of == fold] @ direction > 0) == labels[fold_of == fold]
        found, _ = fold_estimate(right.mean(), fold_scores(right, fold_of.tolist()).tolist(), n=n)
        held += found.low is not None and found.high is not None and found.low <= true <= found.high
        low, high = wilson_interval(right.sum(), n)
        naive += low <= true <= high
    return held / repeats, naive / repeats


@pytest.mark.slow
def test_intervals_that_respect_folds_cover() -> None:
    held, naive = _coverage(1500, 100)
    assert held >= 0.94
    assert naive < held
