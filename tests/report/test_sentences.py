"""Sentences say what the numbers say, also when they are awkward."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metier.evaluation.results import Estimate
from metier.report import sentences
from metier.report.summary import RunSummary


def with_validation(summary: RunSummary, values: dict[str, float | None]) -> RunSummary:
    """The run with these macro F1 values on validation."""
    attempts = []
    for attempt in summary.attempts:
        value = values[attempt.name]
        found = Estimate(value=value, low=None, high=None, n=99, method="none")
        metrics = {**attempt.validation.metrics, "macro_f1": found}
        attempts.append(replace(attempt, validation=replace(attempt.validation, metrics=metrics)))
    return replace(summary, attempts=tuple(attempts))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"encoder": 0.9, "llm": 0.8, "probe": 0.7}, "0.900 (n = 99), the highest; next is llm with 0.800."),
        (
            {"encoder": 0.9, "llm": 0.9, "probe": 0.7},
            "0.900 (n = 99), the same as that of llm, and it is the smaller model.",
        ),
        ({"encoder": 0.8, "llm": 0.9, "probe": 0.7}, "0.800 (n = 99), below that of llm with 0.900."),
        ({"encoder": 0.8, "llm": None, "probe": None}, "no other candidate has one."),
        ({"encoder": None, "llm": 0.9, "probe": 0.7}, "Its macro F1 on validation is unknown."),
    ],
    ids=["highest", "tie", "not the highest", "alone with a value", "unknown"],
)
def test_promotion_is_told_as_it_was(summary: RunSummary, values: dict[str, float | None], expected: str) -> None:
    assert sentences.promotion_sentence(with_validation(summary, values)).endswith(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"encoder": 0.8, "llm": 0.9, "probe": 1.7}, "0.800 (n = 99), the lowest; next is llm with 0.900."),
        ({"encoder": 0.9, "llm": 0.8, "probe": 1.7}, "0.900 (n = 99), above that of llm with 0.800."),
    ],
    ids=["lowest", "not the lowest"],
)
def test_promotion_by_a_metric_of_which_less_is_better(
    summary: RunSummary, values: dict[str, float | None], expected: str
) -> None:
    changed = with_validation(summary, values)
    attempts = [
        replace(each, validation=replace(each.validation, metrics={"loss": each.validation.metrics["macro_f1"]}))
        for each in changed.attempts
    ]
    by_loss = replace(changed, attempts=tuple(attempts), comparison=replace(summary.comparison, primary_metric="loss"))
    assert sentences.promotion_sentence(by_loss).endswith(expected)


def test_one_candidate_had_no_rival(summary: RunSummary) -> None:
    alone = replace(summary, attempts=tuple(attempt for attempt in summary.attempts if attempt.promoted))
    assert "validation had nothing to choose between" in sentences.promotion_sentence(alone)


def test_limits_name_size_seed_openings_source_and_weights(summary: RunSummary) -> None:
    text = "\n".join(sentences.limitations(summary))
    for part in (
        "240 records", "below 0.041", "opened twice", "one seed (17)", "drawn from the same files", "No group column",
        "duplicate 3, in_train 1", "smollm2-135m: Packaged weights are dequantised", "Not measured in this run",
    ):  # fmt: skip
        assert part in text


def test_calibration_is_missing_only_where_it_is_missing(summary: RunSummary) -> None:
    assert any("calibration" in line for line in sentences.not_measured(summary))
    tuned = summary.test[-1]
    measured = replace(tuned, metrics={**tuned.metrics, "expected_calibration_error": tuned.metrics["accuracy"]})
    assert not any("calibration" in line for line in sentences.not_measured(replace(summary, test=(measured,))))


def test_stated_limitations_of_the_author_are_among_the_limits(summary: RunSummary) -> None:
    made = replace(summary, recipe={**summary.recipe, "card": {"limitations": "Not for children."}})
    assert "Not for children." in sentences.limitations(made)


def test_allowed_leaks_and_a_test_set_by_time_are_among_the_limits(summary: RunSummary) -> None:
    drawn = {**summary.data.splits, "test": replace(summary.data.splits["test"], official=False)}
    made = replace(summary, data=replace(summary.data, splits=drawn))
    plain = "\n".join(sentences.limitations(made))
    assert "not on other sources or later times" in plain and "Leaks" not in plain
    asked = {"data": {"train": "d.csv", "time": "created", "leaks": "allow"}}
    said = "\n".join(sentences.limitations(replace(made, recipe={**summary.recipe, **asked})))
    assert "The test set is the newest part of the same files" in said and "later times" not in said
    assert "Leaks between splits were allowed (data.leaks: allow)" in said
