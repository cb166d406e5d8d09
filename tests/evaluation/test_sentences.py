"""The verdict in plain English, with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.evaluation.compare import compare
from metier.evaluation.results import Estimate, Evaluation
from metier.evaluation.sentences import interval_text, metric_name, number
from metier.recipe.sections import EvaluationSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]


def _sentence(pair: tuple[Evaluation, Evaluation], **fields: object) -> str:
    section = EvaluationSection.model_validate({"primary_metric": "accuracy", "resamples": 300, **fields})
    return compare(pair[0], [pair[1]], section=section).sentence


@pytest.mark.parametrize(
    ("table", "fields", "sentence"),
    [
        pytest.param(
            (200, 40, 5, 55),
            {},
            "Better than every alternative: accuracy 0.80 against 0.68 of tfidf, a gain of 0.12 "
            "(95 % interval 0.07 to 0.16, n = 300).",
            id="improved",
        ),
        pytest.param(
            (5000, 60, 10, 1930),
            {},
            "Better than every alternative: accuracy 0.723 against 0.716 of tfidf, a gain of 0.01 "
            "(95 % interval 0.005 to 0.010, n = 7000). "
            "The gain is real but below 0.02, the smallest that the recipe calls useful.",
            id="improved, but little",
        ),
        pytest.param(
            (200, 5, 40, 55),
            {},
            "Worse than tfidf: accuracy 0.68 against 0.80 of tfidf, a loss of 0.12 "
            "(95 % interval -0.16 to -0.07, n = 300). Use tfidf instead.",
            id="regressed",
        ),
        pytest.param(
            (900, 3, 3, 94),
            {},
            "No useful gain over tfidf: accuracy 0.90 against 0.90 of tfidf, no difference "
            "(95 % interval -0.01 to 0.01, n = 1000), so a gain of 0.02 is ruled out. "
            "Use tfidf, which is as good, instead.",
            id="no evidence",
        ),
        pytest.param(
            (900, 3, 3, 94),
            {"not_worse_margin": 0.05},
            "Not worse than tfidf by 0.05 or more: accuracy 0.90 against 0.90 of tfidf, no difference "
            "(95 % interval -0.01 to 0.01, n = 1000).",
            id="not worse",
        ),
        pytest.param(
            (60, 10, 8, 22),
            {},
            "Cannot tell whether it is better than tfidf: accuracy 0.70 against 0.68 of tfidf, a gain of 0.02 "
            "(95 % interval -0.07 to 0.10, n = 100). "
            "To find a gain of 0.02, about 3,500 more test items are needed.",
            id="underpowered",
        ),
    ],
)
def test_every_verdict_has_its_sentence(
    table: tuple[int, int, int, int], fields: dict[str, object], sentence: str, make_paired: Paired
) -> None:
    assert _sentence(make_paired(*table), **fields) == sentence


def test_a_baseline_without_training_that_is_as_good_is_recommended(make_paired: Paired) -> None:
    sentence = _sentence(make_paired(900, 3, 3, 94, ("tuned", "zero_shot")))
    assert sentence.endswith("Do not train; use zero_shot, which needs no training.")


def test_while_it_cannot_be_told_the_system_without_training_is_recommended(make_paired: Paired) -> None:
    sentence = _sentence(make_paired(60, 8, 10, 22, ("tuned", "few_shot")))
    assert sentence.endswith("Until then use few_shot: it scores as high without training.")


def test_a_perfect_tie_says_that_there_is_no_interval(make_paired: Paired) -> None:
    sentence = _sentence(make_paired(20, 0, 0, 0), primary_metric="macro_f1")
    assert sentence.startswith(
        "Cannot tell whether it is better than tfidf: macro F1 1.00 against 1.00 of tfidf, no difference "
        "(no interval: every resample gives the same value, n = 20). This set shows accuracy gains of 0."
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.914, "0.91"),
        (0.999, "0.999"),
        (1.0, "1.00"),
        (0.0, "0.00"),
        (0.004, "0.004"),
        (-0.002, "-0.002"),
        (None, "unknown"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_metrics_are_written_as_people_do() -> None:
    assert [metric_name(name) for name in ("macro_f1", "accuracy")] == ["macro F1", "accuracy"]


def test_an_estimate_without_interval_says_why() -> None:
    estimate = Estimate(value=0.5, low=0.4, high=0.6, n=20, method="wilson")
    assert interval_text(estimate) == "95 % interval 0.40 to 0.60, n = 20"
    assert interval_text(replace(estimate, low=None, high=None, reason="one group")) == "no interval: one group, n = 20"
