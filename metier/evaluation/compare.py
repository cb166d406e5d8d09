"""The candidate against every baseline on the same items, one verdict, one honest sentence.

Verdicts, by the paired 95 % interval of the difference (candidate minus baseline, turned around where lower
values are better: positive is always better):

    improved       low > 0
    regressed      high < 0
    not worse      low > -margin, where the recipe sets a margin
    no evidence    contains 0, and high < smallest useful gain
    underpowered   contains 0, and high >= smallest useful gain: this set cannot tell

Overall *improved* means better than every baseline (intersection-union: each at 95 %, no correction).
Imports neither torch nor scipy nor scikit-learn: two finished runs are compared in under a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError, DataError
from metier.evaluation.advice import with_advice
from metier.evaluation.folded import dependence, fold_differences, is_folded
from metier.evaluation.gates import judge_gates
from metier.evaluation.measures import MEASURES, Measures, is_bounded, passes
from metier.evaluation.metrics import bootstrap_name, group_places, unknown
from metier.evaluation.results import Comparison, Difference, Estimate, Evaluation, Item
from metier.evaluation.sentences import comparison_sentence
from metier.evaluation.significance.bootstrap import Draws, Interval
from metier.evaluation.significance.out_of_fold import fold_estimate
from metier.evaluation.significance.paired import newcombe_of, one_sided, pass_difference
from metier.evaluation.statistics import (
    CONFIDENCE,
    POWER,
    holm,
    items_needed,
    normal_quantile,
    smallest_detectable,
)
from metier.evaluation.written.text_metrics import sign

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection, GatesSection

IMPROVED, REGRESSED, NOT_WORSE = "improved", "regressed", "not worse"
NO_EVIDENCE, UNDERPOWERED = "no evidence", "underpowered"
NO_DIFFERENCE = 1e-12
"""A difference below this is rounding."""
Passed = npt.NDArray[np.bool_]
"""What two systems got right, item by item, shape (2, items)."""


def compare(
    candidate: Evaluation,
    baselines: Sequence[Evaluation],
    *,
    section: EvaluationSection,
    gates: GatesSection | None = None,
    openings: int | None = None,
    seed: int = 17,
    discordances: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare `candidate` with every baseline, item by item.

    Args:
        candidate: The system that is judged.
        baselines: What it must be better than; at least one, on the same items.
        section: Primary metric, smallest useful gain, margin, resamples.
        gates: Rules that must hold. None: none.
        openings: How often this test set was opened, kept with the result; from the second time on every
            difference also gets an interval at 1 - 5 % / openings, as each look was another chance.
        seed: Seed of the resamples.
        discordances: By baseline the share of items on which the two differed on validation: power is then
            stated as it was known beforehand. None, or no row: at this set's own.

    Returns:
        The differences, the verdict and its sentence.

    Raises:
        ArgumentError: There is no baseline.
        DataError: The items of two systems are not the same, a gold answer changed, or it is another task.
    """
    if not baselines:
        raise ArgumentError("compare", "found no baseline", "at least one", "Name a second run or system.")
    right = MEASURES[candidate.task].right
    look = _Look.of(section, seed, openings, discordances or {})
    pairs = [_Pair.of(candidate, baseline, look) for baseline in baselines]
    primary = _with_holm([_difference(pair, section.primary_metric, section) for pair in pairs])
    accuracy = primary if right == section.primary_metric else ()
    if right is not None and not accuracy:
        accuracy = _with_holm([_difference(pair, right, section) for pair in pairs])
    hardest = _hardest(primary)
    improved = all(difference.verdict == IMPROVED for difference in primary)
    comparison = Comparison(
        candidate=candidate.system,
        set=candidate.set,
        n=candidate.n,
        primary_metric=section.primary_metric,
        smallest_useful_gain=section.smallest_useful_gain,
        not_worse_margin=section.not_worse_margin,
        differences=primary,
        accuracy_differences=accuracy,
        verdict=IMPROVED if improved else hardest.verdict,
        sentence="",
        best_baseline=_best(primary).baseline,
        openings=openings,
        resamples=section.resamples,
        seed=seed,
    )
    told = (comparison_sentence(comparison, hardest), dependence(candidate.items))
    comparison = with_advice(replace(comparison, sentence=" ".join(filter(None, told))), [candidate, *baselines])
    return replace(comparison, gates=judge_gates(gates, comparison, candidate)) if gates else comparison


@dataclass(frozen=True)
class _Found:
    """A paired difference, its p-value, and the interval that a later opening of the test set gets."""

    estimate: Estimate
    p_value: float | None
    after_openings: Estimate | None


@dataclass(frozen=True)
class _Look:
    """How two systems are looked at."""

    draws: Draws
    careful: float | None
    """Coverage of the interval that the second and later openings get; None for the first."""
    planned: Mapping[str, float]
    """By baseline the share of items on which the two differed on validation."""

    @classmethod
    def of(cls, section: EvaluationSection, seed: int, openings: int | None, planned: Mapping[str, float]) -> _Look:
        times = openings or 1
        return cls(Draws(section.resamples, seed), 1 - (1 - CONFIDENCE) / times if times > 1 else None, planned)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two systems on the same items, resampled when a number without a closed form asks for it."""

    candidate: Evaluation
    baseline: Evaluation
    theirs: list[Item]
    """The baseline's items in the candidate's order."""
    right: Passed
    """What each got right."""
    grouped: bool
    look: _Look
    found: dict[str, _Found] = field(default_factory=dict)
    """Bootstrap differences by metric, once made."""

    @classmethod
    def of(cls, candidate: Evaluation, baseline: Evaluation, look: _Look) -> _Pair:
        theirs = _matched(candidate, baseline)
        is_right = MEASURES[candidate.task].is_right
        right = np.array([[is_right(item) for item in side] for side in (candidate.items, theirs)], dtype=np.bool_)
        grouped = group_places(candidate.items) is not None
        return cls(candidate, baseline, theirs, right, grouped, look)

    @property
    def planned(self) -> float | None:
        """Share of items on which the two differed on validation; None where that is not known."""
        return self.look.planned.get(self.baseline.system)

    @property
    def measures(self) -> Measures:
        return MEASURES[self.candidate.task]

    def passed(self, metric: str) -> Passed | None:
        """What each passed by `metric`; None where items vary together, or do not simply pass or fail by it."""
        if self.grouped or is_folded(self.candidate.items):
            return None
        if metric == self.measures.right:
            return self.right
        sides = (self.candidate.items, self.theirs)
        if not passes(metric) or any(metric not in item.counts for side in sides for item in side):
            return None
        return np.array([[item.counts[metric][0] > 0 for item in side] for side in sides], dtype=np.bool_)

    @property
    def gained(self) -> int:
        return one_sided(self.right[0], self.right[1])[0]

    @property
    def lost(self) -> int:
        return one_sided(self.right[0], self.right[1])[1]


def _matched(candidate: Evaluation, baseline: Evaluation) -> list[Item]:
    """The baseline's items in the candidate's order; refused unless ids and gold answers are the same."""
    where = f"{candidate.system} and {baseline.system} on {candidate.set}"
    theirs = {item.id: item for item in baseline.items}
    ours = {item.id: item for item in candidate.items}
    if len(ours) < len(candidate.items) or len(theirs) < len(baseline.items):
        raise DataError(where, "an item id occurs twice in one of them", "ids that occur once")
    if not ours:
        raise DataError(where, "there are no items", "at least one")
    missing, extra = len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys())
    changed = sum(theirs[key].gold != item.gold for key, item in ours.items() if key in theirs)
    if candidate.task != baseline.task:
        raise DataError(where, f"one is of {candidate.task}, one of {baseline.task}", "two systems of one task")
    if missing or extra or changed:
        found = (
            f"of {len(ours)} items of {candidate.system}, {missing} are missing in {baseline.system} "
            f"and {changed} have another gold answer there; {baseline.system} has {extra} more"
        )
        raise DataError(where, found, "the same items", "Evaluate both on the same file.")
    return [theirs[item.id] for item in candidate.items]


def _difference(pair: _Pair, metric: str, section: EvaluationSection) -> Difference:
    """Candidate minus baseline on one metric, with interval, p-value, power and verdict."""
    n = len(pair.candidate.items)
    value, other = _value(pair.candidate, metric), _value(pair.baseline, metric)
    found = _found(pair, metric)
    return Difference(
        baseline=pair.baseline.system,
        metric=metric,
        candidate_value=value.value,
        baseline_value=other.value,
        difference=found.estimate,
        p_value=found.p_value,
        p_holm=None,
        gained=pair.gained,
        lost=pair.lost,
        smallest_detectable=_smallest_detectable(pair, metric, n),
        verdict=_verdict(_bounds(pair, metric, found.estimate), section),
        items_needed=_items_needed(found.estimate, metric, pair, section.smallest_useful_gain),
        after_openings=found.after_openings,
        discordance=pair.planned,
    )


def _value(evaluation: Evaluation, metric: str) -> Estimate:
    """A metric of one system; unknown where its task has no such metric."""
    return evaluation.metrics.get(metric) or unknown(evaluation.n, f"{metric} is no metric of {evaluation.task}")


def _found(pair: _Pair, metric: str) -> _Found:
    """The paired difference with the interval and test that fit it."""
    passed = pair.passed(metric)
    if passed is None:
        return _bootstrapped(pair, metric)
    estimate, p_value = pass_difference(passed[0], passed[1])
    careful = pair.look.careful
    return _Found(estimate, p_value, None if careful is None else pass_difference(passed[0], passed[1], careful)[0])


def _bootstrapped(pair: _Pair, metric: str) -> _Found:
    """BCa bootstrap of the paired difference, over groups where items of a group vary together."""
    if metric not in pair.found:
        pair.found[metric] = _bootstrap(pair, metric)
    return pair.found[metric]


def _bootstrap(pair: _Pair, metric: str) -> _Found:
    n = len(pair.candidate.items)
    for evaluation in (pair.candidate, pair.baseline):
        known = _value(evaluation, metric)
        if known.value is None:
            return _Found(unknown(n, f"{evaluation.system}: {known.reason}"), None, None)
    sides = pair.measures.sides(pair.candidate.items, pair.theirs, metric)
    better = sign(metric)

    def difference(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        ours, theirs = sides.values(sums)
        return better * (ours - theirs)

    value = float(difference(sides.units.total))
    if not math.isfinite(value):
        return _Found(unknown(n, "no item has it in both"), None, None)
    if is_folded(pair.candidate.items):
        return _by_folds(pair, metric, value, sides.n)
    resampled = pair.look.draws.of(sides.units)
    name = bootstrap_name(resampled, sides.grouped)
    interval, careful = resampled.interval(difference), pair.look.careful
    after = _estimate(value, resampled.interval(difference, careful), sides.n, name) if careful else None
    return _Found(_estimate(value, interval, sides.n, name), interval.p_value, after)


def _by_folds(pair: _Pair, metric: str, value: float, n: int) -> _Found:
    """The difference of out-of-fold answers, with the interval that the differences within folds give."""
    of_folds = fold_differences(pair.measures, pair.candidate.items, pair.theirs, metric)
    estimate, p_value = fold_estimate(value, of_folds, n=n)
    careful = pair.look.careful
    return _Found(estimate, p_value, fold_estimate(value, of_folds, n=n, confidence=careful)[0] if careful else None)


def _estimate(value: float, interval: Interval, n: int, method: str) -> Estimate:
    return Estimate(
        value=value, low=interval.low, high=interval.high, n=n, method="none" if interval.reason else method,
        reason=interval.reason,
    )  # fmt: skip


def _bounds(pair: _Pair, metric: str, estimate: Estimate) -> tuple[float, float] | None:
    """The interval that the verdict reads; None where nothing is known.

    Two systems without one different answer leave the bootstrap nothing to vary, yet n items without a
    difference do say something: then the closed-form interval of right and wrong stands in. A difference
    that is not 0 must not be judged by an interval around 0.
    """
    if estimate.low is not None and estimate.high is not None:
        return estimate.low, estimate.high
    judged = pair.measures.right is not None and is_bounded(metric)
    same = estimate.value is not None and abs(estimate.value) < NO_DIFFERENCE
    if judged and same and pair.gained == pair.lost == 0 and not pair.grouped:
        return newcombe_of(pair.right[0], pair.right[1])
    return None


def _verdict(bounds: tuple[float, float] | None, section: EvaluationSection) -> str:
    """One of the five verdicts. An unknown interval can show nothing: underpowered."""
    if bounds is None:
        return UNDERPOWERED
    low, high = bounds
    if low > 0:
        return IMPROVED
    if high < 0:
        return REGRESSED
    if section.not_worse_margin is not None and low > -section.not_worse_margin:
        return NOT_WORSE
    return NO_EVIDENCE if high < section.smallest_useful_gain else UNDERPOWERED


def _smallest_detectable(pair: _Pair, metric: str, n: int) -> float | None:
    """Smallest difference found with 80 % power: exact for independent right and wrong, by the spread else.

    Of labels it is always stated in accuracy, of other answers in the metric itself.
    """
    stated = pair.measures.power or metric
    if (passed := pair.passed(stated)) is not None:
        return smallest_detectable(n, _discordance(pair, passed))
    error = _standard_error(_bootstrapped(pair, stated).estimate)
    return None if error is None else error * (normal_quantile(0.975) + normal_quantile(POWER))


def _discordance(pair: _Pair, passed: Passed) -> float:
    """Share of items on which the two differ: as validation saw it, else as this set does."""
    return sum(one_sided(passed[0], passed[1])) / passed.shape[1] if pair.planned is None else pair.planned


def _standard_error(estimate: Estimate) -> float | None:
    """What the width of a 95 % interval says about the standard error."""
    if estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / (2 * normal_quantile(0.975))


def _items_needed(estimate: Estimate, metric: str, pair: _Pair, gain: float) -> int | None:
    """Items in all with which a true difference of `gain` would be found with 80 % power."""
    if gain <= 0:
        return None
    if (passed := pair.passed(metric)) is not None:
        return items_needed(gain, _discordance(pair, passed))
    error = _standard_error(estimate)
    if error is None:
        return None
    # The standard error shrinks with the root of n: how often today's n brings it down to what is needed.
    wanted = gain / (normal_quantile(0.975) + normal_quantile(POWER))
    return math.ceil(estimate.n * (error / wanted) ** 2)


def _with_holm(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences with their p-values corrected over the table."""
    corrected = holm([difference.p_value for difference in differences])
    return tuple(replace(difference, p_holm=p) for difference, p in zip(differences, corrected, strict=True))


def _best(differences: Sequence[Difference]) -> Difference:
    """The baseline with the best value; an unknown value is worst, the first wins where equal."""
    return max(
        differences,
        key=lambda row: -math.inf if row.baseline_value is None else sign(row.metric) * row.baseline_value,
    )


def _hardest(differences: Sequence[Difference]) -> Difference:
    """The baseline that decides: the best one, or the best among those that are not beaten."""
    best = _best(differences)
    unbeaten = [difference for difference in differences if difference.verdict != IMPROVED]
    return _best(unbeaten) if best.verdict == IMPROVED and unbeaten else best
