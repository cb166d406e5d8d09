"""What a system can answer by itself: risk against coverage, and a threshold with a promise.

Answers are sorted by how sure they are; handing the least sure to a person leaves fewer answers that are right
more often (selective classification, El-Yaniv and Wiener 2010). The threshold for a wanted accuracy is chosen on
validation with a bound that holds for new items, and then only looked at on test. Only numpy.

Shape letters: N items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.evidence import Promise, RiskCoverage, Selective
from metier.evaluation.metrics import unknown
from metier.evaluation.results import Estimate
from metier.evaluation.significance.bootstrap import bca_interval
from metier.evaluation.significance.design_effect import design_effect
from metier.evaluation.significance.distributions import binomial_at_most, clopper_pearson, lower_share
from metier.evaluation.significance.paired import Resampling, mean_score
from metier.evaluation.statistics import wilson_interval

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Accuracies for which thresholds are offered."""
STARTS = 2
"""Places from which the search for a threshold starts (few items, and half way), each with its part of what may go
wrong: one error among the surest must not end it, and more starts ask for more items."""
STEPS = 100
"""Coverages that are tried."""
CELLS_AT_ONCE = 4_000_000


def risk_coverage(
    confidence: Floats, right: Bools, groups: Places | None = None, how: Resampling | None = None
) -> RiskCoverage:
    """The risk-coverage curve with its area. Equal confidences are answered or handed over together.

    Args:
        confidence: How sure each answer is, in any unit that rises, shape (N,). What cannot be answered: -inf.
        right: Whether it was right, shape (N,).
        groups: Group number of each item. None: items stand alone.
        how: Resamples of the area's interval. None: the defaults.

    Raises:
        ArgumentError: There are no items, or the lengths differ.
    """
    _check(confidence, right)
    order, ends = _sorted(confidence)
    wrong = np.cumsum(~right[order])[ends]
    answered = ends + 1
    n = len(order)
    errors = int(np.count_nonzero(~right))
    return RiskCoverage(
        coverage=tuple((answered / n).tolist()),
        risk=tuple((wrong / answered).tolist()),
        threshold=tuple(confidence[order][ends].tolist()),
        aurc=_area(confidence, right, groups, how or Resampling()),
        aurc_best=float(sum((rank - (n - errors)) / rank for rank in range(n - errors + 1, n + 1)) / n),
        n=n,
    )


def _sorted(confidence: Floats) -> tuple[Places, Places]:
    """Items from sure to unsure, and the last place of each confidence in that order."""
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return order.astype(np.int64), ends.astype(np.int64)


def area_under_risk(weights: Floats, wrong: Floats, ends: Places) -> Floats:
    """Area under the risk-coverage curve of weighted items: the mean risk over all answered counts.

    Among equally sure items any order is as likely, so their risks are taken at their mean.

    Args:
        weights: How often each item occurs, sorted from sure to unsure, shape (..., N).
        wrong: 1 where the item is wrong, sorted alike, shape (N,).
        ends: Last place of each confidence.

    Returns:
        Shape (...); not a number where no item occurs.
    """
    answered, errors = np.cumsum(weights, axis=-1)[..., ends], np.cumsum(weights * wrong, axis=-1)[..., ends]
    size = np.diff(answered, axis=-1, prepend=0.0)
    added = np.diff(errors, axis=-1, prepend=0.0)
    before, errors_before = answered - size, errors - added
    # Sum over j = 1 .. size of (errors_before + j * rate) / (before + j), with sums of 1 / k from a table.
    rate = np.divide(added, size, out=np.zeros_like(added), where=size > 0)
    harmonic = _harmonic(round(float(answered.max(initial=0.0))))
    terms = harmonic[np.rint(answered).astype(np.int64)] - harmonic[np.rint(before).astype(np.int64)]
    total = rate * size + (errors_before - rate * before) * terms
    everything = answered[..., -1]
    nothing = np.full(everything.shape, np.nan)
    area: Floats = np.divide(total.sum(axis=-1), everything, out=nothing, where=everything > 0)
    return area


def _harmonic(most: int) -> Floats:
    """Sums of 1 / 1 to 1 / k, for k from 0."""
    return np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, most + 1))))


def _area(confidence: Floats, right: Bools, groups: Places | None, how: Resampling) -> Estimate:
    """The area with its BCa interval, over items or whole groups."""
    order, ends = _sorted(confidence)
    wrong, n = (~right[order]).astype(np.float64), len(order)
    unit_of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1][order]
    units = int(unit_of.max()) + 1
    value = float(area_under_risk(np.ones(n), wrong, ends))
    generator = np.random.default_rng(how.seed)
    at_once = max(1, CELLS_AT_ONCE // n)
    drawn = []
    for start in range(0, how.resamples, at_once):
        rows = min(at_once, how.resamples - start)
        counts = generator.multinomial(units, np.full(units, 1 / units), size=rows).astype(np.float64)
        drawn.append(area_under_risk(counts[:, unit_of], wrong, ends))
    without = []
    for start in range(0, units, at_once):
        left_out = np.arange(start, min(start + at_once, units))
        without.append(area_under_risk((unit_of != left_out[:, None]).astype(np.float64), wrong, ends))
    ones = np.ones(units, dtype=np.int64)
    interval = bca_interval(value, np.concatenate(drawn), np.concatenate(without), ones, how.confidence)
    what = f"{how.resamples}" if groups is None else f"{how.resamples}, {units} groups"
    method = "none" if interval.reason else f"bca bootstrap ({what})"
    return Estimate(value=value, low=interval.low, high=interval.high, n=n, method=method, reason=interval.reason)


def promise_accuracy(
    confidence: Floats, right: Bools, target: float, *, groups: Places | None = None, sure: float = 0.95
) -> Promise:
    """The threshold that answers most while a wanted accuracy can be promised for new items.

    Coverages are tested from few, sure answers to many, each by the exact binomial test of "the error is above
    1 - target" (learn then test, Angelopoulos et al., arXiv 2110.01052, section 4; fixed sequences from several
    starts, each with its part of what may go wrong). It stops at the first that fails, so trying many coverages
    costs nothing. Which coverages are tried depends on N alone. Valid where surer answers are wrong no more often,
    which the look on test checks. Items of groups count as their effective number (Korn and Graubard 1998).

    Args:
        confidence: How sure each answer is, shape (N,). What cannot be answered: -inf.
        right: Whether it was right, shape (N,).
        target: Wanted share of right answers, above 0 and below 1.
        groups: Group number of each item. None: items stand alone.
        sure: Wanted probability that the promise holds, between 0 and 1.

    Raises:
        ArgumentError: There are no items, the lengths differ, or the target is not between 0 and 1.
    """
    _check(confidence, right)
    if not 0.0 < target < 1.0:
        raise ArgumentError("target accuracy", f"found {target:g}", "a share between 0 and 1")
    n, alpha = len(right), 1.0 - target
    effect = design_effect((~right).astype(np.float64), groups)
    fewest = math.ceil(math.log((1 - sure) / STARTS) / math.log(target) * effect)
    order, ends = _sorted(confidence)
    if np.isneginf(confidence[order][ends[-1]]):
        ends = ends[:-1]
    wrong = np.cumsum((~right[order]).astype(np.int64))
    best = _furthest(wrong, ends, n, fewest, _Test(alpha=alpha, level=(1 - sure) / STARTS, effect=effect))
    if best is None:
        return _no_promise(target, sure, n, fewest)
    answered, errors = best + 1, int(wrong[best])
    bound = lower_share((answered - errors) / effect, answered / effect, sure)
    return Promise(
        target=target, confidence=sure, threshold=float(confidence[order][best]), coverage=answered / n,
        accuracy=1 - errors / answered, at_least=bound, n=n, answered=answered,
    )  # fmt: skip


@dataclass(frozen=True)
class _Test:
    """The test of one coverage."""

    alpha: float
    """Error that is allowed."""
    level: float
    """How often the test may be wrong."""
    effect: float
    """Items that tell as much as one."""

    def passes(self, errors: int, answered: int) -> bool:
        """Whether so few errors would hardly be seen if the true error were above `alpha`."""
        trials = math.floor(answered / self.effect)
        seen = math.ceil(errors / self.effect)
        return trials > 0 and binomial_at_most(seen, trials, self.alpha) <= self.level


def _furthest(wrong: Places, ends: Places, n: int, fewest: int, test: _Test) -> int | None:
    """The last place in the order up to which answers may be given; None where no coverage passes."""
    if fewest > n or len(ends) == 0:
        return None
    counts = np.unique(np.linspace(fewest, n, STEPS).round().astype(np.int64))
    # All of a confidence or none of it: a count is carried to the end of its confidence.
    where = ends[np.minimum(np.searchsorted(ends, counts - 1), len(ends) - 1)]
    best: int | None = None
    for start in sorted({round(part) for part in np.linspace(0, len(where) - 1, STARTS + 1)[:-1]}):
        for place in where[start:]:
            if not test.passes(int(wrong[place]), int(place) + 1):
                break
            best = int(place) if best is None else max(best, int(place))
    return best


def _no_promise(target: float, sure: float, n: int, fewest: int) -> Promise:
    if fewest > n:
        reason = f"{n} validation items are too few: {fewest} right answers in a row are needed"
    else:
        reason = "even the surest answers are wrong too often"
    return Promise(
        target=target, confidence=sure, threshold=None, coverage=0.0, accuracy=None, at_least=None, n=n, answered=0,
        reason=reason,
    )  # fmt: skip


def look_at_promise(
    promise: Promise, confidence: Floats, right: Bools, *, set_name: str = "test", groups: Places | None = None
) -> Selective:
    """What a promise gives on items that had no part in it.

    Args:
        promise: From validation.
        confidence: How sure each answer is, shape (N,).
        right: Whether it was right, shape (N,).
        set_name: What the items are called.
        groups: Group number of each item. None: items stand alone.

    Raises:
        ArgumentError: There are no items, or the lengths differ.
    """
    _check(confidence, right)
    n, everything = len(right), float(right.mean())
    chosen = confidence >= promise.threshold if promise.threshold is not None else np.zeros(n, dtype=np.bool_)
    answered, hits = int(np.count_nonzero(chosen)), int(np.count_nonzero(right[chosen]))
    coverage = _share(chosen, groups)
    if answered == 0:
        accuracy, at_least, kept = unknown(0, promise.reason or "nothing is sure enough"), None, None
    else:
        effect = design_effect((~right[chosen]).astype(np.float64), None if groups is None else groups[chosen])
        trials, successes = answered / effect, hits / effect
        at_least = lower_share(successes, trials, promise.confidence)
        low, high = clopper_pearson(successes, trials)
        method = "clopper-pearson" if groups is None else f"clopper-pearson ({math.floor(trials)} effective items)"
        accuracy = Estimate(value=hits / answered, low=low, high=high, n=answered, method=method)
        missed = high < promise.target
        kept = True if at_least >= promise.target else False if missed else None
    selective = Selective(
        promise=promise, set=set_name, coverage=coverage, accuracy=accuracy, at_least=at_least,
        accuracy_all=everything, kept=kept, sentence=_sentence(promise, coverage, accuracy, at_least, n),
    )  # fmt: skip
    return selective


def _share(chosen: Bools, groups: Places | None) -> Estimate:
    """Share of items that are answered: Wilson, or the cluster bootstrap."""
    n, answered = len(chosen), int(np.count_nonzero(chosen))
    if groups is not None and 0 < answered < n:
        return mean_score(chosen.astype(np.float64), groups)
    low, high = wilson_interval(answered, n)
    return Estimate(value=answered / n, low=low, high=high, n=n, method="wilson")


def _sentence(promise: Promise, coverage: Estimate, accuracy: Estimate, at_least: float | None, n: int) -> str:
    """`Answers 80 % by itself with 99 % right (…), hands 20 % to a person.`"""
    wanted = f"{100 * promise.target:.4g} %"
    if promise.threshold is None:
        return f"Hands everything to a person: {wanted} right cannot be promised ({promise.reason})."
    share = 100 * (coverage.value or 0.0)
    if accuracy.value is None or at_least is None:
        return f"Hands everything to a person: none of {n} items is sure enough for {wanted} right."
    right = percent(accuracy.value)
    kept = f"at least {percent(at_least, down=True)} with {100 * promise.confidence:.4g} % confidence"
    handed = "hands nothing over" if share == 100 else f"hands {100 - round(share)} % to a person"
    return f"Answers {round(share)} % by itself with {right} right ({kept}, n = {accuracy.n}), {handed}."


def percent(share: float, *, down: bool = False) -> str:
    """A share as percent with the decimals that it deserves near 100: `97 %`, `99.2 %`, `99.95 %`.

    Args:
        share: Between 0 and 1.
        down: Whether to round down, for what is promised.
    """
    left = 1 - share
    decimals = 0 if left > 0.03 - 1e-9 or left == 0 else 1 if left >= 0.005 else 2
    scale = 100 * 10**decimals
    whole = math.floor(share * scale + 1e-9) if down else round(share * scale)
    if whole == scale and share < 1:
        whole -= 1  # never "100 %" of what is not all
    return f"{whole / 10**decimals:.{decimals}f} %"


def _check(confidence: Floats, right: Bools) -> None:
    if len(confidence) != len(right) or len(right) == 0:
        found = f"found {len(confidence)} confidences and {len(right)} answers"
        raise ArgumentError("risk and coverage", found, "one confidence for every answer, at least one")
    if np.isnan(confidence).any():
        raise ArgumentError("risk and coverage", "found a confidence that is not a number", "numbers, or -inf")
