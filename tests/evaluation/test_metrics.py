"""Metrics against scikit-learn, intervals, and what is unknown rather than zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from metier.evaluation.metrics import (
    METRICS,
    answer_units,
    confusion_of,
    counts_of,
    measure,
    point_metrics,
    score_classes,
)
from metier.evaluation.results import Item
from metier.recipe.tasks import ADDED_OF, METRICS_OF

Items = Callable[..., list[Item]]
LABELS = ("a", "b", "c", "d")
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from((*LABELS, None))), min_size=1, max_size=40)


def _sklearn(name: str, golds: list[str], answers: list[str | None]) -> float:
    """What scikit-learn says; an unanswered item is an answer that is no label."""
    if name == "accuracy":
        return float(sklearn_metrics.accuracy_score(golds, [answer or "-" for answer in answers]))
    if name == "mcc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(sklearn_metrics.matthews_corrcoef(golds, [answer or "-" for answer in answers]))
    average, kind = name.split("_")
    function = getattr(sklearn_metrics, f"{kind}_score")
    labels = sorted({*golds, *(answer for answer in answers if answer)})
    said = [answer or "-" for answer in answers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(golds, said, labels=labels, average=average, zero_division=0))


@given(rows=pairs)
@settings(max_examples=60, deadline=None)
def test_every_metric_equals_scikit_learn(rows: list[tuple[str, str | None]]) -> None:
    golds, answers = [gold for gold, _ in rows], [answer for _, answer in rows]
    found = point_metrics(golds, answers)
    for name in METRICS:
        if found[name] is None:
            assert name.endswith("precision") and not any(answers)
        else:
            assert found[name] == pytest.approx(_sklearn(name, golds, answers), abs=1e-12), name


def test_without_unanswered_items_scikit_learns_own_default_agrees() -> None:
    golds, answers = list("aabbccdd"), list("abbbccda")
    found = point_metrics(golds, answers)
    assert found["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(golds, answers, average="macro"))


def test_the_table_has_the_metrics_that_a_recipe_can_name() -> None:
    assert set(METRICS) == set(METRICS_OF["classification"]) - set(ADDED_OF["classification"])


def test_measure_has_the_same_values_as_point_metrics(make_items: Items) -> None:
    golds, answers = list("aabbccdd" * 5), [*"abbbccda" * 4, *"abbbccd", None]
    measured = measure(make_items(golds, answers), resamples=200, seed=1)
    point = point_metrics(golds, answers)
    for name, estimate in measured.items():
        assert estimate.value == pytest.approx(point[name])
        assert estimate.low is not None and estimate.value is not None and estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == 40


def test_every_resample_has_scikit_learns_value(make_items: Items) -> None:
    golds, answers = list("aabbccdd"), list("abbbccda")
    units, grouped = answer_units(make_items(golds, answers), [answers])
    assert not grouped
    items = [(row, int(count)) for row, count in zip(units.sums, units.counts, strict=True)]
    twice = sum(row * count for row, count in items) + items[0][0]  # one unit drawn once more
    extra = next(place for place, gold in enumerate(golds) if gold == "a" and answers[place] == "a")
    expected = sklearn_metrics.f1_score([*golds, golds[extra]], [*answers, answers[extra]], average="macro")
    assert float(METRICS["macro_f1"](counts_of(twice))) == pytest.approx(expected)


def test_accuracy_has_the_wilson_interval(make_items: Items) -> None:
    estimate = measure(make_items(["a"] * 50, ["a"] * 40 + ["b"] * 10), resamples=200, seed=1)["accuracy"]
    expected = stats.binomtest(40, 50).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.method == "wilson"


def test_other_metrics_have_a_bca_interval(make_items: Items) -> None:
    estimate = measure(make_items(list("ab" * 30), list("aabb" * 15)), resamples=300, seed=1)["macro_f1"]
    assert estimate.method == "bca bootstrap (300)"


def test_macro_f1_interval_is_scipys_within_monte_carlo_error(make_items: Items) -> None:
    generator = np.random.default_rng(7)
    golds = [LABELS[place] for place in generator.integers(0, 3, 120)]
    answers = [gold if generator.random() < 0.8 else LABELS[int(generator.integers(3))] for gold in golds]

    def score(gold: np.ndarray, said: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(sklearn_metrics.f1_score(gold, said, average="macro"))

    scipys = stats.bootstrap(
        (np.array(golds), np.array(answers)), score, paired=True, vectorized=False, n_resamples=400, method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    ours = measure(make_items(golds, answers), resamples=5000, seed=1)["macro_f1"]
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=0.025)


def test_perfect_answers_have_no_bootstrap_interval_but_a_reason(make_items: Items) -> None:
    measured = measure(make_items(list("ab" * 20), list("ab" * 20)), resamples=200, seed=1)
    assert measured["macro_f1"].value == 1.0
    assert measured["macro_f1"].low is None and measured["macro_f1"].high is None
    assert measured["macro_f1"].reason == "every resample gives the same value"
    assert measured["accuracy"].low == pytest.approx(0.9124, abs=1e-3)


def test_no_answer_at_all_leaves_precision_unknown_not_zero(make_items: Items) -> None:
    measured = measure(make_items(["a", "b"] * 5, [None] * 10), resamples=200, seed=1)
    for average in ("micro", "macro", "weighted"):
        assert measured[f"{average}_precision"].value is None
        assert measured[f"{average}_precision"].reason == "nothing was answered"
    assert measured["accuracy"].value == 0.0


def test_no_items_leave_everything_unknown() -> None:
    measured = measure([], resamples=200, seed=1)
    assert all(estimate.value is None and estimate.reason == "there are no items" for estimate in measured.values())


def test_groups_are_drawn_whole(make_items: Items) -> None:
    golds, answers = ["a"] * 60, ["a"] * 30 + ["b"] * 30
    groups = [str(place // 10) for place in range(60)]  # a group is all right or all wrong
    alone = measure(make_items(golds, answers), resamples=2000, seed=1)["accuracy"]
    together = measure(make_items(golds, answers, groups), resamples=2000, seed=1)["accuracy"]
    assert together.method == "bca bootstrap (2000, 6 groups)"
    assert together.low is not None and alone.low is not None
    assert together.low < alone.low - 0.15


def test_groups_of_one_are_items(make_items: Items) -> None:
    items = make_items(["a"] * 10, ["a"] * 9 + ["b"], [str(place) for place in range(10)])
    assert measure(items, resamples=200, seed=1)["accuracy"].method == "wilson"


def test_a_group_named_like_an_id_is_not_that_item(make_items: Items) -> None:
    items = make_items(["a"] * 4, list("aaab"), ["id00003", None, None, None])
    assert measure(items, resamples=200, seed=1)["accuracy"].method == "wilson"


def test_perfect_accuracy_of_groups_is_bounded_by_the_number_of_groups(make_items: Items) -> None:
    groups = [str(place // 10) for place in range(100)]
    estimate = measure(make_items(["a"] * 100, ["a"] * 100, groups), resamples=200, seed=1)["accuracy"]
    assert estimate.method == "wilson (10 groups)"
    assert estimate.low == pytest.approx(0.7225, abs=1e-3)


def test_one_group_has_no_interval(make_items: Items) -> None:
    estimate = measure(make_items(["a"] * 10, ["a"] * 9 + ["b"], ["x"] * 10), resamples=200, seed=1)["accuracy"]
    assert estimate.value == 0.9
    assert (estimate.low, estimate.reason) == (None, "fewer than two independent units")


def test_the_order_of_items_changes_nothing(make_items: Items) -> None:
    items = make_items(list("abc" * 20), list("abcbca" * 10), [str(place % 13) for place in range(60)])
    forward, backward = measure(items, resamples=300, seed=1), measure(items[::-1], resamples=300, seed=1)
    for name in METRICS:
        assert forward[name] == backward[name]


def test_classes_have_scikit_learns_scores_and_none_where_undefined(make_items: Items) -> None:
    items = make_items(list("aabbb"), ["a", "b", "b", "c", None])
    scores = score_classes(items, ("a", "b", "c", "unseen"))
    assert (scores["a"].precision, scores["a"].recall, scores["a"].f1) == pytest.approx((1.0, 0.5, 2 / 3))
    assert (scores["b"].precision, scores["b"].recall, scores["b"].f1) == pytest.approx((0.5, 1 / 3, 0.4))
    assert (scores["c"].precision, scores["c"].recall, scores["c"].f1, scores["c"].support) == (0.0, None, None, 0)
    assert (scores["unseen"].precision, scores["unseen"].recall, scores["unseen"].f1) == (None, None, None)


def test_a_gold_that_training_never_saw_is_counted(make_items: Items) -> None:
    scores = score_classes(make_items(["new"], ["a"]), ("a",))
    assert (scores["new"].support, scores["new"].recall, scores["new"].f1) == (1, 0.0, 0.0)


def test_the_confusion_counts_every_item(make_items: Items) -> None:
    confusion = confusion_of(make_items(list("aabb"), ["a", None, "b", "b"]), ("a", "b", "c"))
    assert confusion == {"a": {"(none)": 1, "a": 1}, "b": {"b": 2}, "c": {}}
