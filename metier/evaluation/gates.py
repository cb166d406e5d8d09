"""Gates: rules of the recipe that a candidate must pass, judged on the lower bound of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metier.evaluation.metrics import unknown
from metier.evaluation.results import Comparison, Evaluation, GateResult

if TYPE_CHECKING:
    from metier.recipe.sections import GatesSection


def judge_gates(gates: GatesSection, comparison: Comparison, candidate: Evaluation) -> tuple[GateResult, ...]:
    """Every gate of the recipe with what was found. An unknown bound does not pass.

    Args:
        gates: The rules.
        comparison: The candidate against every baseline.
        candidate: The candidate's own numbers.
    """
    results = []
    if gates.verdict is not None:
        results.append(_verdict_gate(gates.verdict, comparison))
    results.extend(_minimum_gate(metric, wanted, candidate) for metric, wanted in gates.minimum.items())
    return tuple(results)


def _verdict_gate(wanted: str, comparison: Comparison) -> GateResult:
    """`improved`: better than every baseline. `not_worse`: no baseline is better by the margin or more."""
    if wanted == "improved":
        passed = comparison.verdict == "improved"
    else:
        margin = comparison.not_worse_margin or 0.0
        lows = [difference.difference.low for difference in comparison.differences]
        passed = all(low is not None and low > -margin for low in lows)
    return GateResult(gate="verdict", wanted=wanted, found=comparison.verdict, passed=passed)


def _minimum_gate(metric: str, wanted: float, candidate: Evaluation) -> GateResult:
    """The lower bound of the candidate's interval must reach `wanted`."""
    estimate = candidate.metrics.get(metric) or unknown(candidate.n, f"it is no metric of {candidate.task}")
    if estimate.value is None:
        found = f"unknown: {estimate.reason}"
    elif estimate.low is None:
        found = f"{estimate.value:.4g} without a lower bound: {estimate.reason}"
    else:
        found = f"{estimate.low:.4g} (value {estimate.value:.4g})"
    passed = estimate.low is not None and estimate.low >= wanted
    return GateResult(gate=f"minimum.{metric}", wanted=f"{wanted!r} or more as lower bound", found=found, passed=passed)
