"""Gates: rules of the recipe that a candidate must pass, judged on the bound of an interval that is against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metier.evaluation.evidence import SliceReport, Trust
from metier.evaluation.metrics import unknown
from metier.evaluation.results import Comparison, Evaluation, GateResult

if TYPE_CHECKING:
    from metier.recipe.sections import GatesSection

NOT_LOOKED_AT = "it was not looked at"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What gates read beside the comparison; None: it was not looked at."""

    trust: Trust | None = None
    slices: SliceReport | None = None


def judge_gates(
    gates: GatesSection, comparison: Comparison, candidate: Evaluation, looked: Looked | None = None
) -> tuple[GateResult, ...]:
    """Every gate of the recipe with what was found. An unknown bound does not pass.

    Args:
        gates: The rules.
        comparison: The candidate against every baseline.
        candidate: The candidate's own numbers.
        looked: What the closer looks found. None: none were taken.
    """
    looked = looked or Looked()
    results = []
    if gates.verdict is not None:
        results.append(_verdict_gate(gates.verdict, comparison))
    results.extend(_minimum_gate(metric, wanted, candidate) for metric, wanted in gates.minimum.items())
    if gates.minimum_coverage is not None:
        results.append(_coverage_gate(gates.minimum_coverage, looked.trust))
    results.extend(_gap_gate(kind, widest, looked.slices) for kind, widest in gates.largest_gap.items())
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


def _coverage_gate(wanted: float, trust: Trust | None) -> GateResult:
    """The share that is answered at the promised threshold, if the set does not break the promise."""
    alone = None if trust is None else trust.alone
    passed = False
    if alone is None:
        found = f"unknown: {NOT_LOOKED_AT if trust is None else trust.reason}"
    elif alone.promise.threshold is None:
        found = f"0: {alone.promise.target:.4g} right cannot be promised ({alone.promise.reason})"
    elif alone.kept is False:
        accuracy = alone.accuracy.value or 0.0
        found = f"the promise is broken: {accuracy:.4g} right of what is answered, {alone.promise.target:.4g} promised"
    elif alone.coverage.low is None:
        found = f"{alone.coverage.value or 0.0:.4g} without a lower bound: {alone.coverage.reason}"
    else:
        found = f"{alone.coverage.low:.4g} (value {alone.coverage.value or 0.0:.4g})"
        passed = alone.coverage.low >= wanted
    return GateResult(gate="minimum_coverage", wanted=f"{wanted!r} or more as lower bound", found=found, passed=passed)


def _gap_gate(kind: str, widest: float, slices: SliceReport | None) -> GateResult:
    """The upper bound of the gap between the best and the worst slice of a kind must not be above `widest`."""
    gap = None if slices is None else next((each for each in slices.gaps if each.kind == kind), None)
    passed = False
    if gap is None:
        few = "fewer than two slices are large enough"
        reason = NOT_LOOKED_AT if slices is None else slices.left_out.get(kind, few)
        found = f"unknown: {reason}"
    elif gap.value.high is None:
        found = f"{gap.value.value or 0.0:.4g} without an upper bound: {gap.value.reason}"
    else:
        found = f"{gap.value.high:.4g} (value {gap.value.value or 0.0:.4g}, {gap.worst} to {gap.best})"
        passed = gap.value.high <= widest
    wanted = f"{widest!r} or less as upper bound"
    return GateResult(gate=f"largest_gap.{kind}", wanted=wanted, found=found, passed=passed)
