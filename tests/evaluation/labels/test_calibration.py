"""Calibration error, Brier score and reliability: against scikit-learn, planted truth, simulated coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from metier.evaluation.labels.calibration import (
    calibration_error,
    confidences,
    equal_mass_bins,
    error_by_chance,
    judge_calibration,
    label_matrix,
    reliability,
)
from metier.evaluation.results import Item
from metier.evaluation.significance.paired import Resampling

Floats = npt.NDArray[np.float64]
LABELS = ("a", "b", "c")


def _item(place: int, gold: str, probabilities: Floats | None, group: str | None = None) -> Item:
    logprobs = None if probabilities is None else dict(zip(LABELS, np.log(probabilities).tolist(), strict=True))
    answer = None if probabilities is None else LABELS[int(probabilities.argmax())]
    return Item(
        id=f"id{place}", group=group, gold=gold, answer=answer, label_logprobs=logprobs, prompt_hash=None,
        source="test.csv", row=place + 1,
    )  # fmt: skip


def _items(n: int, power: float, seed: int = 0) -> list[Item]:
    """Items whose probabilities are the truth to a power: 1 calibrated, above 1 too sure."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet([0.5] * 3, n)
    said = truth**power
    said /= said.sum(axis=1, keepdims=True)
    golds = (np.cumsum(truth, axis=1) > generator.random((n, 1))).argmax(axis=1)
    return [_item(place, LABELS[golds[place]], said[place]) for place in range(n)]


def test_brier_and_log_loss_equal_scikit_learn() -> None:
    items = _items(200, 2.0)
    found = judge_calibration(items, LABELS)
    chances = np.array([[np.exp((item.label_logprobs or {})[label]) for label in LABELS] for item in items])
    golds = [item.gold for item in items]
    brier = brier_score_loss(golds, chances, labels=list(LABELS), scale_by_half=False)
    assert found.brier.value == pytest.approx(brier)
    assert found.log_loss.value == pytest.approx(log_loss(golds, chances, labels=list(LABELS)))
    squares = (chances**2).sum(axis=1) - 2 * chances[np.arange(200), [LABELS.index(gold) for gold in golds]] + 1
    assert found.brier_se == pytest.approx(squares.std(ddof=1) / np.sqrt(200))


def test_equal_mass_bins_hold_equally_many() -> None:
    confidence = np.random.default_rng(1).random(1500)
    bins = equal_mass_bins(confidence)
    assert np.bincount(bins).tolist() == [100] * 15
    order = np.argsort(confidence)
    assert np.all(np.diff(bins[order]) >= 0)


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    confidence = np.array([0.5] * 50 + [0.9] * 100 + [1.0] * 150)
    bins = equal_mass_bins(confidence)
    assert len(np.unique(bins)) == 3
    mixed = np.random.default_rng(0).permutation(300)
    assert np.array_equal(equal_mass_bins(confidence[mixed]), bins[mixed])


def test_the_error_is_the_weighted_gap_of_the_bins() -> None:
    confidence = np.repeat([0.6, 0.9], 50)
    right = np.array([True] * 20 + [False] * 30 + [True] * 45 + [False] * 5)
    found = calibration_error(confidence, right)
    assert found.value == pytest.approx(0.5 * abs(0.6 - 0.4) + 0.5 * abs(0.9 - 0.9))
    assert found.low is not None and found.high is not None and found.low < 0.1 < found.high


def test_the_error_equals_a_plain_loop() -> None:
    generator = np.random.default_rng(5)
    confidence, right = generator.random(450), generator.random(450) < 0.5
    order = np.argsort(confidence, kind="stable")
    gaps = [abs(confidence[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, 15)]
    assert calibration_error(confidence, right).value == pytest.approx(sum(gaps) / 450, abs=1e-12)


def test_calibrated_probabilities_are_believed_and_sharp_ones_not() -> None:
    good = judge_calibration(_items(1000, 1.0), LABELS)
    assert good.chance_p is not None and good.chance_p > 0.05
    assert good.ece.low == 0.0 and "0 not excluded" in good.ece.method
    assert good.sentence.startswith("Its probabilities can be believed as far as 1000 items show")
    sharp = judge_calibration(_items(1000, 4.0), LABELS)
    assert sharp.chance_p is not None and sharp.chance_p < 0.01
    assert sharp.ece.low is not None and sharp.ece.low > 0.05
    assert "surer than it is right" in sharp.sentence
    assert (sharp.ece_by_chance or 1) < (sharp.ece.value or 0)
    flat = judge_calibration(_items(1000, 0.3), LABELS)
    assert "less sure than it is right" in flat.sentence


def test_the_right_temperature_makes_it_calibrated() -> None:
    items = _items(2000, 3.0)
    before, after = judge_calibration(items, LABELS), judge_calibration(items, LABELS, temperature=3.0)
    assert (after.ece.value or 1) < 0.3 * (before.ece.value or 0)
    assert after.accuracy == before.accuracy
    assert after.temperature == 3.0


def test_items_without_probabilities_are_counted_and_left_out() -> None:
    items = [*_items(50, 1.0), _item(99, "a", None)]
    found = judge_calibration(items, LABELS)
    assert (found.n, found.without) == (50, 1)
    none = judge_calibration([_item(1, "a", None)], LABELS)
    assert none.ece.reason == "no item has label probabilities" and none.bins == ()
    assert none.sentence == "Calibration is unknown: the answers have no probabilities."


def test_a_gold_label_without_probability_is_wrong_and_not_zero() -> None:
    items = [replace(item, gold="unseen") for item in _items(40, 1.0)]
    found = judge_calibration(items, LABELS)
    assert found.accuracy == 0.0
    assert found.brier.value is not None and found.brier.value > 1.0
    _, golds, _ = label_matrix(items, LABELS)
    assert set(golds.tolist()) == {-1}


def test_reliability_has_every_item_once() -> None:
    confidence = np.random.default_rng(2).random(100)
    rows = reliability(confidence, confidence > 0.5, equal_mass_bins(confidence, 5))
    assert [row.n for row in rows] == [20] * 5
    assert all(row.low <= row.confidence <= row.high for row in rows)
    assert rows[0].accuracy == 0.0 and rows[-1].accuracy == 1.0
    assert rows[-1].accuracy_low < 1.0


def test_groups_are_drawn_whole() -> None:
    items = [replace(item, group=str(place // 10)) for place, item in enumerate(_items(300, 2.0))]
    found = judge_calibration(items, LABELS, how=Resampling(resamples=300))
    assert "30 groups" in found.ece.method
    assert found.brier.method == "clustered standard error"


def test_error_by_chance_is_what_perfect_answers_show() -> None:
    confidence = np.random.default_rng(3).uniform(0.4, 1.0, 300)
    chance, _ = error_by_chance(confidence, confidence > 0.5, how=Resampling(seed=1))
    generator = np.random.default_rng(9)
    seen = [calibration_error(confidence, generator.random(300) < confidence, how=Resampling(resamples=200)).value or 0
            for _ in range(200)]  # fmt: skip
    assert chance == pytest.approx(float(np.mean(seen)), rel=0.05)


def _coverage(repeats: int, n: int, power: float, resamples: int) -> float:
    """Share of intervals that hold the error which the bins have in truth."""
    held = 0
    generator = np.random.default_rng(1)
    for _ in range(repeats):
        truth = generator.uniform(0.4, 1.0, n)
        said = truth**power / (truth**power + (1 - truth) ** power)
        right = generator.random(n) < truth
        bins = equal_mass_bins(said)
        true = float(np.abs(np.bincount(bins, weights=said - truth)).sum()) / n
        found = calibration_error(said, right, how=Resampling(resamples=resamples))
        held += found.low is not None and found.high is not None and found.low <= true <= found.high
    return held / repeats


@pytest.mark.slow
@pytest.mark.parametrize("power", [1.3, 1.6, 2.5])
def test_the_interval_of_the_error_covers(power: float) -> None:
    assert 0.90 <= _coverage(400, 600, power, 500) <= 0.995


def test_chance_of_groups_is_larger_and_its_p_value_holds() -> None:
    generator = np.random.default_rng(12)
    groups = np.repeat(np.arange(60), 10)
    ps, alone = [], []
    for _ in range(100):
        confidence = np.repeat(generator.uniform(0.5, 0.95, 60), 10)
        # All items of a group are right together, as often as they claim: calibrated, but few independent looks.
        right = np.repeat(generator.random(60) < confidence[::10], 10)
        ps.append(error_by_chance(confidence, right, groups, Resampling(resamples=300))[1])
        alone.append(error_by_chance(confidence, right, None, Resampling(resamples=300))[1])
    assert np.mean(np.array(ps) <= 0.05) <= 0.15
    assert np.mean(np.array(alone) <= 0.05) >= 0.8


def test_confidences_are_of_the_answer_and_what_is_not_answered_is_never_sure() -> None:
    items = [*_items(30, 1.0), _item(98, "a", None)]
    silent = replace(items[0], answer=None)
    sure, right = confidences([silent, *items], LABELS)
    assert np.isneginf(sure[0]) and np.isneginf(sure[-1]) and not right[0] and not right[-1]
    best = [max(np.exp(list((item.label_logprobs or {}).values()))) for item in items[:-1]]
    assert sure[1:-1] == pytest.approx(best)
    assert right[1:-1].tolist() == [item.answer == item.gold for item in items[:-1]]
    warm, _ = confidences(items, LABELS, temperature=5.0)
    assert np.all(warm[:-1] <= sure[1:-1] + 1e-12)
    assert np.isneginf(confidences([items[-1]], LABELS)[0]).all()
