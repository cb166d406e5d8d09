"""What is counted beside a task's own metrics: asked for by the recipe, counted again from the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice, Input
from metier.errors import ArgumentError
from metier.evaluation.beside import BESIDE, Beside, cost_matrix, counted_again, plain_costs
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
COSTS = {"cancel": {"refund": 7.0, "abstain": 0.25}, "track": {"cancel": 3.0}}


class Fixed:
    """Says the same label to everything, with probabilities."""

    name, kind, trained_on = "fixed", "planted", "nothing"
    parameters = bytes = None

    def __init__(self, label: str | None, seconds: float = 0.5) -> None:
        self.label, self.seconds = label, seconds
        self.settings: dict[str, Any] = {}

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        logs = {"refund": -0.1, "cancel": -2.5, "track": -5.0}
        for given in inputs:
            yield Answer(id=given.id, label=self.label, label_logprobs=logs, seconds=self.seconds, price=0.01)


def _evaluate(records: list[Choice], beside: Beside | None, label: str | None = "refund") -> Any:
    asked = RecordSet(name="test", records=records, labels=LABELS)
    section = EvaluationSection(resamples=200)
    return evaluate_system(Fixed(label), asked, section=section, seed=1, beside=beside)


def test_costs_and_order_come_from_the_recipe(make_records: Callable[..., list[Choice]]) -> None:
    section = EvaluationSection(costs=COSTS, label_order=list(LABELS))
    found = _evaluate(make_records(30), Beside.of(section, "classification", LABELS))
    # Of each label a third: 7 for what should be cancelled, 0 for refunds, 1 (not named) for what should be tracked.
    assert found.metrics["cost"].value == pytest.approx((7 + 0 + 1) / 3)
    assert found.metrics["ordinal_error"].value == pytest.approx(2 / 3)
    assert found.metrics["top_2"].value == pytest.approx(2 / 3) and "top_3" not in found.metrics
    assert "seconds" not in found.metrics and "abstained" not in found.metrics
    unanswered = _evaluate(make_records(30), Beside.of(section, "classification", LABELS), None)
    assert unanswered.metrics["cost"].value == pytest.approx((0.25 + 1 + 1) / 3)


def test_what_was_counted_is_counted_again_from_items_and_settings(make_records: Callable[..., list[Choice]]) -> None:
    section = EvaluationSection(costs=COSTS, label_order=list(LABELS))
    beside = replace(Beside.of(section, "classification", LABELS), outside=True)
    found = _evaluate(make_records(9), beside)
    read = replace(found, settings=json.loads(json.dumps(found.settings)))
    for item, again in zip(read.items, counted_again(read), strict=True):
        assert {name: item.counts[name] for name in again} == again
        assert set(item.counts) - set(again) == {"seconds", "price"}
    assert plain_costs(cost_matrix(COSTS)) == COSTS


def test_nothing_is_asked_for_and_nothing_is_said(make_records: Callable[..., list[Choice]]) -> None:
    plain = Beside.of(EvaluationSection(), "classification", LABELS)
    found = _evaluate(make_records(9), plain)
    assert BESIDE not in found.settings and set(found.items[0].counts) == {"top_2"}
    assert _evaluate(make_records(9), None).items[0].counts == {}


def test_the_fingerprint_is_that_of_the_files(tmp_path: Path) -> None:
    schema, scorer = tmp_path / "s.json", tmp_path / "own.py"
    scorer.write_text("def f(answer, gold, text):\n    return 1", encoding="utf-8")
    seen = set()
    for text in ('{"type": "object"}', '{"type": "array"}'):
        schema.write_text(text, encoding="utf-8")
        section = EvaluationSection.model_validate({"format": {"schema_file": str(schema)}, "scorer": f"{scorer}:f"})
        seen.add(Beside.of(section, "generation").fingerprint)
    scorer.write_text("def f(answer, gold, text):\n    return 2", encoding="utf-8")
    seen.add(Beside.of(section, "generation").fingerprint)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"costs": {"refnd": {"track": 2}}}, r"evaluation\.costs\.refnd: 'refnd' is no label of train, wanted one of"),
        ({"costs": {"refund": {"trak": 2}}}, r"evaluation\.costs\.refund\.trak: 'trak' is no label"),
        ({"label_order": ["cancel", "refund", "later"]}, r"evaluation\.label_order: 'later' is no label of train"),
        ({"label_order": ["cancel", "refund"]}, r"label_order: lacks track, wanted every label once"),
    ],
)
def test_labels_that_are_not_there_are_told_before_anything_is_asked(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Beside.of(EvaluationSection.model_validate(given), "classification", LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"schema_file: .* cannot be read \(No such file or directory\), wanted a file with a JSON Schema"),
        ("{", "is no readable JSON"),
        ("[]", "holds no JSON object"),
        ('{"type": "thing"}', r"schema\.type: cannot be read, wanted among null, boolean"),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_at_once(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    section = EvaluationSection.model_validate({"format": {"schema_file": str(path)}})
    with pytest.raises(ArgumentError, match=message):
        Beside.of(section, "generation")
