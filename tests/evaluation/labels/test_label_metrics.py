"""Metrics of labels beyond right and wrong, against scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from metier.errors import DataError
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.labels.label_metrics import (
    ABSTAINED,
    INVALID,
    MISSING,
    CostMatrix,
    LabelQuestions,
    count_labels,
    mcc,
    with_label_counts,
)
from metier.evaluation.metrics import answer_units, counts_of
from metier.evaluation.results import Evaluation, Item
from metier.recipe.sections import EvaluationSection

Items = Callable[..., list[Item]]
LABELS = ("low", "middle", "high", "top")
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from((*LABELS, None))), min_size=1, max_size=40)
full_pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=2, max_size=40)


def _items(rows: list[tuple[str, str | None]]) -> list[Item]:
    return [
        Item(
            id=f"i{place}", group=None, gold=gold, answer=answer, label_logprobs=None, prompt_hash=None,
            source="t.csv", row=place + 1,
        )
        for place, (gold, answer) in enumerate(rows)
    ]  # fmt: skip


def _evaluate(items: list[Item], system: str = "one") -> Evaluation:
    return evaluate_items(items, about=About(system=system), set_name="test", labels=LABELS, resamples=300, seed=1)


@given(rows=pairs)
@settings(max_examples=40, deadline=None)
def test_mcc_equals_scikit_learn(rows: list[tuple[str, str | None]]) -> None:
    units, _ = answer_units(_items(rows), [[answer for _, answer in rows]])
    golds, said = [gold for gold, _ in rows], [answer or "-" for _, answer in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn_metrics.matthews_corrcoef(golds, said)
    assert float(mcc(counts_of(units.total))) == pytest.approx(expected, abs=1e-12)


@given(rows=full_pairs)
@settings(max_examples=25, deadline=None)
def test_ordinal_metrics_equal_scikit_learn(rows: list[tuple[str, str]]) -> None:
    place = {label: number for number, label in enumerate(LABELS)}
    golds, said = np.array([[place[gold], place[answer]] for gold, answer in rows]).T
    items = with_label_counts(_items([*rows]), LabelQuestions(order=LABELS))
    found = _evaluate(items).metrics
    assert found["ordinal_error"].value == pytest.approx(sklearn_metrics.mean_absolute_error(golds, said))
    if found["quadratic_kappa"].value is None:
        assert len({*golds, *said}) == 1
    else:
        expected = sklearn_metrics.cohen_kappa_score(golds, said, weights="quadratic", labels=range(4))
        assert found["quadratic_kappa"].value == pytest.approx(expected, abs=1e-9)


def test_top_k_equals_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(size=(60, 4))
    golds = generator.integers(4, size=60)
    items = [
        replace(item, label_logprobs=dict(zip(LABELS, map(float, row), strict=True)))
        for item, row in zip(_items([(LABELS[gold], "low") for gold in golds]), scores, strict=True)
    ]
    found = _evaluate(with_label_counts(items, LabelQuestions())).metrics
    for k in (2, 3):
        expected = sklearn_metrics.top_k_accuracy_score(golds, scores, k=k, labels=range(4))
        assert found[f"top_{k}"].value == pytest.approx(expected)
        assert found[f"top_{k}"].method == "wilson"


def test_without_probabilities_top_k_is_unknown_and_not_zero() -> None:
    rows = count_labels(_items([("low", "low"), ("low", None)]), LabelQuestions())
    assert "top_2" not in rows[0] and rows[1]["top_2"] == (0.0, 1.0)
    assert "top_2" not in _evaluate(with_label_counts(_items([("low", "low")]), LabelQuestions())).metrics


def test_abstentions_invalid_and_missing_answers_are_told_apart() -> None:
    items = _items([("low", None), ("low", None), ("low", None), ("low", "low"), ("low", "high")])
    reasons = [ABSTAINED, f"{INVALID}: several labels", MISSING, "cut", None]
    items = [replace(item, reason=reason) for item, reason in zip(items, reasons, strict=True)]
    found = _evaluate(with_label_counts(items, LabelQuestions())).metrics
    values = {name: found[name].value for name in ("abstained", "invalid", "missing", "accuracy", "accuracy_answered")}
    assert values == {
        "abstained": 0.2, "invalid": 0.2, "missing": 0.2, "accuracy": 0.2, "accuracy_answered": 0.5,
    }  # fmt: skip
    assert found["accuracy_answered"].n == 2


def test_costs_are_those_of_the_matrix() -> None:
    costs = CostMatrix(costs={"high": {"low": 10.0}, "low": {"high": 1.5}}, other=2.0, unanswered=0.5)
    items = _items([("high", "low"), ("low", "high"), ("low", "middle"), ("low", None), ("low", "low")])
    rows = count_labels(items, LabelQuestions(costs=costs))
    assert [row["cost"][0] for row in rows] == [10.0, 1.5, 2.0, 0.5, 0.0]
    found = _evaluate(with_label_counts(items, LabelQuestions(costs=costs))).metrics["cost"]
    assert found.value == pytest.approx(2.8) and found.method.startswith("bca bootstrap")


def test_an_unanswered_item_is_as_far_off_as_it_can_be() -> None:
    rows = count_labels(_items([("low", None), ("middle", None), ("top", None)]), LabelQuestions(order=LABELS))
    assert [row["ordinal_error"][0] for row in rows] == [3.0, 2.0, 3.0]


def test_an_order_has_to_hold_every_gold_label_once() -> None:
    with pytest.raises(DataError, match="order of labels: lacks the gold labels 'top'"):
        count_labels(_items([("top", "low")]), LabelQuestions(order=LABELS[:3]))
    with pytest.raises(DataError, match="names a label twice"):
        count_labels(_items([("low", "low")]), LabelQuestions(order=("low", "low")))


def test_two_systems_are_compared_by_cost_and_lower_is_better() -> None:
    """A planted system that avoids the dear error wins by cost, whatever its accuracy."""
    generator = np.random.default_rng(5)
    golds = [LABELS[int(place)] for place in generator.integers(2, size=200)]
    careless = ["low" if generator.random() < 0.1 else gold for gold in golds]
    careful = [None if generator.random() < 0.2 else gold for gold in golds]
    costs = LabelQuestions(costs=CostMatrix(costs={"middle": {"low": 20.0}}, unanswered=1.0))
    ours = _evaluate(with_label_counts(_items([*zip(golds, careful, strict=True)]), costs), "careful")
    theirs = _evaluate(with_label_counts(_items([*zip(golds, careless, strict=True)]), costs), "careless")
    section = EvaluationSection.model_construct(
        primary_metric="cost", smallest_useful_gain=0.1, not_worse_margin=None, resamples=500
    )
    found = compare(ours, [theirs], section=section).differences[0]
    assert found.verdict == "improved" and found.difference.value is not None and found.difference.value > 0
    assert ours.metrics["cost"].value < theirs.metrics["cost"].value  # type: ignore[operator]
