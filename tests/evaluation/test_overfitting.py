"""Memorising is said only where the interval supports it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.errors import ArgumentError
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Evaluation

Make = Callable[..., Evaluation]


@pytest.fixture
def make_set(make_evaluation: Make) -> Callable[[str, int, int], Evaluation]:
    """A set of n items of which some are right."""

    def make(name: str, right: int, n: int) -> Evaluation:
        golds = ["yes" if place % 2 else "no" for place in range(n)]
        wrong = {"yes": "no", "no": "yes"}
        answers = [gold if place < right else wrong[gold] for place, gold in enumerate(golds)]
        return make_evaluation("tuned", golds, answers, set_name=name)

    return make


Sets = Callable[[str, int, int], Evaluation]


def test_a_wide_gap_is_called_memorising(make_set: Sets) -> None:
    found = judge_overfitting(
        {
            "train": make_set("train", 99, 100),
            "validation": make_set("validation", 140, 200),
            "test": make_set("test", 68, 100),
        },
        "accuracy",
    )
    assert found.sentence == (
        "Accuracy: 0.99 on train (n = 100), 0.70 on validation (n = 200), 0.68 on test (n = 100). "
        "Its accuracy on train is 0.29 above validation (95 % interval 0.22 to 0.36): "
        "it memorises part of its training records."
    )
    assert list(found.values) == ["train", "validation", "test"]


def test_a_gap_within_the_noise_is_not(make_set: Sets) -> None:
    sets = {"train": make_set("train", 46, 50), "validation": make_set("validation", 43, 50)}
    assert judge_overfitting(sets, "accuracy").sentence.endswith(
        "no sign of memorising, as far as these numbers of records can show."
    )


def test_a_sure_but_small_gap_is_called_small(make_set: Sets) -> None:
    sets = {"train": make_set("train", 1960, 2000), "validation": make_set("validation", 1900, 2000)}
    assert judge_overfitting(sets, "accuracy").sentence.endswith("a small gap, as every fitted model has.")


def test_train_below_validation_is_said_so(make_set: Sets) -> None:
    sets = {"train": make_set("train", 40, 50), "validation": make_set("validation", 45, 50)}
    assert "on train is 0.10 below validation" in judge_overfitting(sets, "accuracy").sentence


def test_a_perfect_training_score_is_judged_by_accuracy(make_set: Sets) -> None:
    sets = {"train": make_set("train", 100, 100), "validation": make_set("validation", 150, 200)}
    sentence = judge_overfitting(sets, "macro_f1").sentence
    assert "Its accuracy on train is 0.25 above validation" in sentence
    assert "memorises part" in sentence


def test_test_stands_in_for_a_missing_validation(make_set: Sets) -> None:
    sets = {"train": make_set("train", 40, 50), "test": make_set("test", 40, 50)}
    assert "above test" in judge_overfitting(sets, "accuracy").sentence


def test_without_train_it_is_unknown(make_set: Sets) -> None:
    found = judge_overfitting({"validation": make_set("validation", 40, 50)}, "accuracy")
    assert found.sentence.endswith("Whether it memorises is unknown: it was not scored on train and on unseen records.")


def test_nothing_is_refused() -> None:
    with pytest.raises(ArgumentError, match="overfitting: found no evaluation, wanted train and validation"):
        judge_overfitting({}, "accuracy")
