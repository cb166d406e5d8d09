"""Gates are judged on lower bounds, and an unknown bound does not pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.evaluation.compare import compare
from metier.evaluation.results import Evaluation, GateResult
from metier.recipe.sections import EvaluationSection, GatesSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]


def _gates(
    pair: tuple[Evaluation, Evaluation], gates: dict[str, object], margin: float | None = None
) -> list[GateResult]:
    section = EvaluationSection(primary_metric="accuracy", resamples=300, not_worse_margin=margin)
    found = compare(pair[0], [pair[1]], section=section, gates=GatesSection.model_validate(gates))
    return list(found.gates)


@pytest.mark.parametrize(
    ("table", "wanted", "margin", "passed"),
    [
        pytest.param((200, 40, 5, 55), "improved", None, True, id="improved"),
        pytest.param((900, 3, 3, 94), "improved", None, False, id="no evidence is not improved"),
        pytest.param((900, 3, 3, 94), "not_worse", 0.02, True, id="not worse"),
        pytest.param((900, 3, 3, 94), "not_worse", 0.001, False, id="margin too narrow"),
        pytest.param((200, 40, 5, 55), "not_worse", None, True, id="improved is not worse"),
        pytest.param((60, 10, 8, 22), "not_worse", 0.02, False, id="unsure is not a pass"),
    ],
)
def test_the_verdict_gate(
    table: tuple[int, int, int, int], wanted: str, margin: float | None, passed: bool, make_paired: Paired
) -> None:
    (gate,) = _gates(make_paired(*table), {"verdict": wanted}, margin)
    assert (gate.gate, gate.wanted, gate.passed) == ("verdict", wanted, passed)


@pytest.mark.parametrize(("minimum", "passed"), [(0.75, True), (0.79, False)])
def test_a_minimum_is_judged_on_the_lower_bound(minimum: float, passed: bool, make_paired: Paired) -> None:
    (gate,) = _gates(make_paired(200, 40, 5, 55), {"minimum": {"accuracy": minimum}})  # 0.8, low 0.751
    assert gate == GateResult(
        gate="minimum.accuracy",
        wanted=f"{minimum} or more as lower bound",
        found="0.7511 (value 0.8)",
        passed=passed,
    )


def test_a_perfect_score_without_interval_does_not_pass_and_says_why(make_paired: Paired) -> None:
    gates = _gates(make_paired(100, 10, 0, 0), {"minimum": {"macro_f1": 0.5, "accuracy": 0.9}})
    assert [gate.passed for gate in gates] == [False, True]
    assert gates[0].found == "1 without a lower bound: every resample gives the same value"


def test_an_unknown_metric_does_not_pass(make_evaluation: Callable[..., Evaluation]) -> None:
    golds = ["yes", "no"] * 10
    pair = make_evaluation("silent", golds, [None] * 20), make_evaluation("x", golds, golds)
    (gate,) = _gates(pair, {"minimum": {"macro_precision": 0.1}})
    assert (gate.passed, gate.found) == (False, "unknown: nothing was answered")


def test_without_gates_there_are_none(make_paired: Paired) -> None:
    assert _gates(make_paired(200, 40, 5, 55), {}) == []
