"""Gates are judged on lower bounds, and an unknown bound does not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.evaluation.closer.slice_report import report_slices
from metier.evaluation.compare import compare
from metier.evaluation.evidence import Promise, Selective, Temperature, Trust
from metier.evaluation.gates import Looked, judge_gates
from metier.evaluation.results import Estimate, Evaluation, GateResult
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


def _selective(kept: bool | None, low: float | None, threshold: float | None = 0.8) -> Selective:
    promise = Promise(
        target=0.95, confidence=0.95, threshold=threshold, coverage=0.7, accuracy=0.97, at_least=0.955, n=300,
        answered=210, reason=None if threshold else "even the surest answers are wrong too often",
    )  # fmt: skip
    share = Estimate(value=0.7, low=low, high=0.8, n=200, method="wilson", reason=None if low else "too few groups")
    accuracy = Estimate(value=0.9, low=0.85, high=0.94, n=140, method="clopper-pearson")
    return Selective(
        promise=promise, set="test", coverage=share, accuracy=accuracy, at_least=0.86, accuracy_all=0.8, kept=kept,
        sentence="",
    )  # fmt: skip


def _trust(alone: Selective | None, reason: str | None = None) -> Trust:
    none = Temperature(value=1.0, low=None, high=None, n=0, loss_before=None, loss_after=None)
    return Trust(
        system="tuned", calibration={}, temperature=none, tempered=None, curve=None, alone=alone, reason=reason
    )


@pytest.mark.parametrize(
    ("trust", "found", "passed"),
    [
        pytest.param(_trust(_selective(True, 0.64)), "0.64 (value 0.7)", True, id="reached"),
        pytest.param(_trust(_selective(None, 0.64)), "0.64 (value 0.7)", True, id="cannot tell whether it is kept"),
        pytest.param(_trust(_selective(True, 0.59)), "0.59 (value 0.7)", False, id="not reached"),
        pytest.param(
            _trust(_selective(False, 0.64)), "the promise is broken: 0.9 right of what is answered, 0.95 promised",
            False, id="broken",
        ),
        pytest.param(
            _trust(_selective(None, 0.0, None)), "0: 0.95 right cannot be promised (even the surest answers are wrong",
            False, id="no promise",
        ),
        pytest.param(_trust(_selective(True, None)), "0.7 without a lower bound: too few groups", False, id="no bound"),
        pytest.param(_trust(None, "no probabilities"), "unknown: no probabilities", False, id="no probabilities"),
        pytest.param(None, "unknown: it was not looked at", False, id="not looked at"),
    ],
)  # fmt: skip
def test_coverage_is_judged_on_its_lower_bound_and_on_the_promise(
    trust: Trust | None, found: str, passed: bool, make_paired: Paired
) -> None:
    gate = _looked(make_paired, {"minimum_coverage": 0.6}, Looked(trust=trust))
    assert (gate.gate, gate.wanted, gate.passed) == ("minimum_coverage", "0.6 or more as lower bound", passed)
    assert gate.found.startswith(found)


@pytest.mark.parametrize(("widest", "passed"), [(0.75, True), (0.3, False)])
def test_a_gap_is_judged_on_its_upper_bound(widest: float, passed: bool, make_paired: Paired) -> None:
    tuned, tfidf = make_paired(60, 20, 5, 15)
    halves = ["first" if place < 50 else "second" for place in range(100)]
    wrong = [place < 20 for place in range(100)]
    items = [replace(item, answer="none" if bad else item.gold) for item, bad in zip(tuned.items, wrong, strict=True)]
    slices = report_slices(replace(tuned, items=tuple(items)), tfidf, "accuracy", {"half": halves}, {})
    gate = _looked(make_paired, {"largest_gap": {"half": widest}}, Looked(slices=slices))
    assert (gate.gate, gate.passed) == ("largest_gap.half", passed)
    assert "(value 0.4, first to second)" in gate.found and gate.wanted == f"{widest} or less as upper bound"


def test_a_kind_that_is_not_there_does_not_pass_and_says_why(make_paired: Paired) -> None:
    tuned, _ = make_paired(60, 20, 5, 15)
    slices = report_slices(tuned, None, "accuracy", {}, {"language": "no library"})
    gates = {"largest_gap": {"language": 0.5}}
    assert _looked(make_paired, gates, Looked(slices=slices)).found == "unknown: no library"
    assert not _looked(make_paired, gates, Looked()).passed


def _looked(make_paired: Paired, gates: dict[str, object], looked: Looked) -> GateResult:
    tuned, tfidf = make_paired(60, 20, 5, 15)
    comparison = compare(tuned, [tfidf], section=EvaluationSection(primary_metric="accuracy", resamples=200))
    (gate,) = judge_gates(GatesSection.model_validate(gates), comparison, tuned, looked)
    return gate
