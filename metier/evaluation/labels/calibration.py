"""Whether a system's probabilities can be believed: calibration error, Brier score, reliability, temperature.

Read from the label log-probabilities of items, so from what a finished run keeps. A temperature is fitted on
validation and judged on test, never on one set. Only numpy.

Shape letters: N items, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.evaluation.evidence import Calibration, ReliabilityBin
from metier.evaluation.labels.temperature import tempered
from metier.evaluation.metrics import bootstrap_name, group_places, unknown
from metier.evaluation.results import Estimate, Item
from metier.evaluation.sentences import number
from metier.evaluation.significance.bootstrap import resample
from metier.evaluation.significance.paired import Resampling, units_of
from metier.evaluation.statistics import (
    CONFIDENCE,
    clustered_standard_error,
    normal_cdf,
    normal_quantile,
    wilson_interval,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
BINS = 15
"""Bins of equal mass: each holds as many items, so none is empty and none is a handful."""
MOST_DRAWS = 1000
"""Draws of what chance shows; its mean and a p-value around 5 % need no more."""
LOWEST_LOGPROB = -1e4
"""Log-probabilities below it count as this: a label that was ruled out has no infinite one."""


def label_matrix(items: Sequence[Item], labels: Sequence[str]) -> tuple[Floats, Places, Places]:
    """Log-probabilities of all labels, of the items that have them.

    Args:
        items: Answered records.
        labels: The labels in the order of the columns.

    Returns:
        Log-probabilities, shape (N, L); the column of each gold label, -1 where it is none of them; and the
        places of these items among `items`.
    """
    places = [place for place, item in enumerate(items) if item.label_logprobs]
    column = {label: at for at, label in enumerate(labels)}
    rows = np.full((len(places), len(labels)), LOWEST_LOGPROB)
    for row, place in enumerate(places):
        for label, value in (items[place].label_logprobs or {}).items():
            if label in column and math.isfinite(value):
                rows[row, column[label]] = max(value, LOWEST_LOGPROB)
    golds = np.array([column.get(items[place].gold, -1) for place in places], dtype=np.int64)
    return rows, golds, np.array(places, dtype=np.int64)


def judge_calibration(
    items: Sequence[Item], labels: Sequence[str], *, temperature: float = 1.0, how: Resampling | None = None
) -> Calibration:
    """How far the probabilities of one system's answers can be believed.

    Args:
        items: Answered records; those without label log-probabilities are counted and left out.
        labels: The labels that have probabilities.
        temperature: What to divide log-probabilities by: 1, or what was fitted on validation.
        how: Resamples of the interval. None: the defaults.
    """
    how = how or Resampling()
    logprobs, golds, places = label_matrix(items, labels)
    without = len(items) - len(places)
    if len(places) == 0 or len(labels) == 0:
        return _nothing(len(items), temperature)
    groups = group_places([items[place] for place in places])
    probabilities = np.exp(tempered(logprobs, temperature))
    answers = _answered([items[place] for place in places], labels, probabilities)
    confidence, right = probabilities[np.arange(len(answers)), answers], answers == golds
    bins = equal_mass_bins(confidence)
    squared = _squared_errors(probabilities, golds)
    ece = calibration_error(confidence, right, groups, how)
    chance, chance_p = error_by_chance(confidence, right, groups, how)
    if ece.low is not None and chance_p > (1 - how.confidence) / 2:
        # Every error is above 0, even of perfect answers: an interval that excludes 0 must be earned.
        ece = Estimate(value=ece.value, low=0.0, high=ece.high, n=ece.n, method=f"{ece.method}, 0 not excluded")
    brier, brier_se = _mean_with_error(squared, groups, how.confidence)
    losses = -np.log(np.maximum(_gold_probability(probabilities, golds), math.exp(-700)))
    return Calibration(
        n=len(places), without=without, temperature=temperature, ece=ece, ece_by_chance=chance, chance_p=chance_p,
        mean_confidence=float(confidence.mean()), accuracy=float(right.mean()), brier=brier, brier_se=brier_se,
        log_loss=_mean_with_error(losses, groups, how.confidence)[0],
        bins=reliability(confidence, right, bins),
        sentence=_sentence(ece, chance_p, float(confidence.mean()), float(right.mean())),
    )  # fmt: skip


def confidences(items: Sequence[Item], labels: Sequence[str], temperature: float = 1.0) -> tuple[Floats, Bools]:
    """How sure each answer is, and whether it is right: what `risk_coverage` reads.

    Args:
        items: Answered records.
        labels: The labels that have probabilities.
        temperature: What to divide log-probabilities by.

    Returns:
        The probability of each item's answer, -inf where it has none, shape (items,); and whether it is right.
    """
    logprobs, _, places = label_matrix(items, labels)
    sure = np.full(len(items), -np.inf)
    right = np.array([item.answer is not None and item.answer == item.gold for item in items], dtype=np.bool_)
    if len(places) and len(labels):
        probabilities = np.exp(tempered(logprobs, temperature))
        answers = _answered([items[place] for place in places], labels, probabilities)
        said = np.array([items[place].answer is not None for place in places], dtype=np.bool_)
        sure[places[said]] = probabilities[np.arange(len(places)), answers][said]
    return sure, right


def _answered(items: Sequence[Item], labels: Sequence[str], probabilities: Floats) -> Places:
    """Column of each item's answer; the most probable one where the answer is no label."""
    column = {label: at for at, label in enumerate(labels)}
    best = probabilities.argmax(axis=1)
    said = [column.get(item.answer or "", int(top)) for item, top in zip(items, best, strict=True)]
    return np.array(said, dtype=np.int64)


def equal_mass_bins(confidence: Floats, bins: int = BINS) -> Places:
    """The bin of every item, so that bins hold equally many; equal confidences share a bin.

    Which of two equally sure answers comes first must not decide anything, so ties go where their middle falls.

    Args:
        confidence: Shape (N,).
        bins: How many bins at most.
    """
    _, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    of_value = np.minimum((middle * bins / max(len(confidence), 1)).astype(np.int64), bins - 1)
    _, dense = np.unique(of_value[place], return_inverse=True)
    return dense.astype(np.int64)


def calibration_error(
    confidence: Floats, right: Bools, groups: Places | None = None, how: Resampling | None = None
) -> Estimate:
    """Expected calibration error over `BINS` bins of equal mass, with its interval.

    Chance makes every gap between claimed and true wider, so the plain error is too large on average (Roelofs et al.,
    arXiv 2012.08668), and its bootstrap doubly so. The interval is therefore laid around the error less what chance
    adds: in each bin the gap is normal with the spread that resampling shows, around a true gap which is guessed from
    the bin and its neighbours, shrunk as far as the spreads ask for (James and Stein 1961). Simulated coverage is 92
    to 98 %. It is widened upwards to hold the plain error, which is the value that other tools report.

    Args:
        confidence: Probability that each answer is claimed to be right with, shape (N,).
        right: Whether it was, shape (N,).
        groups: Group number of each item. None: items stand alone.
        how: Resamples and coverage. None: the defaults.
    """
    how = how or Resampling()
    n = len(confidence)
    if n == 0:
        return unknown(0, "there are no items with probabilities")
    found = _resampled_gaps(confidence, right, groups, how)
    value = float(np.abs(found.gaps).sum())
    if found.units < 2:
        return Estimate(value=value, low=None, high=None, n=n, method="none", reason="fewer than two independent units")
    centre = max(0.0, value - _added_by_chance(found))
    half = normal_quantile((1 + how.confidence) / 2) * float((found.drawn @ np.sign(found.gaps)).std())
    low, high = max(0.0, centre - half), min(1.0, max(centre + half, value))
    return Estimate(value=value, low=low, high=high, n=n, method=found.method)


@dataclass(frozen=True)
class _Gaps:
    """Claimed less true in each bin, times the bin's share of the items."""

    gaps: Floats
    """Shape (bins,)."""
    drawn: Floats
    """The same of every resample, shape (resamples, bins)."""
    weights: Floats
    """Share of the items in each bin, shape (bins,)."""
    units: int
    """What was drawn: items or groups."""
    method: str


def _resampled_gaps(confidence: Floats, right: Bools, groups: Places | None, how: Resampling) -> _Gaps:
    bins, n = equal_mass_bins(confidence), len(confidence)
    size = int(bins.max()) + 1
    columns = np.zeros((n, size + 1))
    columns[np.arange(n), bins] = confidence - right
    columns[:, size] = 1.0
    units = units_of(columns, groups)
    resampled = resample(units, how.resamples, how.seed)
    return _Gaps(
        gaps=units.total[:size] / n,
        drawn=resampled.draws[:, :size] / resampled.draws[:, size:],
        weights=np.bincount(bins, minlength=size) / n,
        units=int(units.counts.sum()),
        method=bootstrap_name(resampled, groups is not None).replace("bca bootstrap", "bootstrap less chance"),
    )


def _added_by_chance(found: _Gaps) -> float:
    """By how much chance raises the sum of absolute gaps."""
    gaps, drawn, weights = found.gaps, found.drawn, found.weights
    near = np.abs(np.subtract.outer(np.arange(len(gaps)), np.arange(len(gaps)))) <= 1
    smooth = near * weights[:, None] / (near @ weights)[:, None]
    guess, spread_of_guess = smooth @ gaps, (drawn @ smooth.T).std(axis=0)
    squares = float((guess**2).sum())
    kept = max(0.0, 1.0 - float((spread_of_guess**2).sum()) / squares) if squares > 0 else 0.0
    added = 0.0
    for true, spread in zip((math.sqrt(kept) * np.abs(guess)).tolist(), drawn.std(axis=0).tolist(), strict=True):
        if spread > 1e-15:  # the mean of a folded normal less the absolute value of its centre
            density = math.exp(-((true / spread) ** 2) / 2) * math.sqrt(2 / math.pi)
            added += spread * density - 2 * true * normal_cdf(-true / spread)
    return added


def error_by_chance(
    confidence: Floats, right: Bools, groups: Places | None = None, how: Resampling | None = None
) -> tuple[float, float]:
    """What calibration error perfectly calibrated answers show by chance, as so few items never fit exactly.

    Items that stand alone are right with the probability that they claim (consistency resampling, Broecker and
    Smith 2007); where items of a group vary together, the resampled gaps are moved to lie around 0.

    Args:
        confidence: Shape (N,), at least one.
        right: Whether each answer was right, shape (N,).
        groups: Group number of each item. None: items stand alone.
        how: How many draws, and their seed. None: the defaults.

    Returns:
        Its mean, and the share of draws with at least the error that was found.
    """
    how = how or Resampling()
    bins, n = equal_mass_bins(confidence), len(confidence)
    size, draws = int(bins.max()) + 1, min(how.resamples, MOST_DRAWS)
    found = float(np.abs(np.bincount(bins, weights=confidence - right, minlength=size)).sum()) / n
    if groups is not None:
        moved = _resampled_gaps(confidence, right, groups, how)
        errors = np.abs(moved.drawn - moved.gaps).sum(axis=1)
    else:
        generator = np.random.default_rng(how.seed)
        errors = np.empty(draws)
        for draw in range(draws):
            gaps = confidence - (generator.random(n) < confidence)
            errors[draw] = np.abs(np.bincount(bins, weights=gaps, minlength=size)).sum() / n
    return float(errors.mean()), float((np.count_nonzero(errors >= found - 1e-12) + 1) / (len(errors) + 1))


def reliability(confidence: Floats, right: Bools, bins: Places) -> tuple[ReliabilityBin, ...]:
    """What was claimed and what was true, bin by bin, the least sure first.

    Args:
        confidence: Shape (N,).
        right: Shape (N,).
        bins: Bin of each item, shape (N,).
    """
    rows = []
    for each in range(int(bins.max(initial=-1)) + 1):
        inside = bins == each
        n, hits = int(np.count_nonzero(inside)), int(np.count_nonzero(right[inside]))
        low, high = wilson_interval(hits, n)
        rows.append(
            ReliabilityBin(
                low=float(confidence[inside].min()),
                high=float(confidence[inside].max()),
                n=n,
                confidence=float(confidence[inside].mean()),
                accuracy=hits / n,
                accuracy_low=low,
                accuracy_high=high,
            )
        )
    return tuple(rows)


def _gold_probability(probabilities: Floats, golds: Places) -> Floats:
    """Probability of the gold label; 0 where it is no label."""
    picked: Floats = probabilities[np.arange(len(golds)), np.maximum(golds, 0)]
    return np.where(golds >= 0, picked, 0.0)


def _squared_errors(probabilities: Floats, golds: Places) -> Floats:
    """Brier score of each item: a gold label that has no probability counts as one that got 0."""
    squares: Floats = (probabilities**2).sum(axis=1) - 2 * _gold_probability(probabilities, golds) + 1.0
    return squares


def _mean_with_error(values: Floats, groups: Places | None, confidence: float) -> tuple[Estimate, float | None]:
    """A mean with the interval of its (clustered) standard error."""
    places = np.arange(len(values)) if groups is None else groups
    error = clustered_standard_error(values.tolist(), places.tolist())
    value = float(values.mean())
    if error is None:
        reason = "fewer than two independent units"
        return Estimate(value=value, low=None, high=None, n=len(values), method="none", reason=reason), None
    half = normal_quantile((1 + confidence) / 2) * error
    method = "standard error" if groups is None else "clustered standard error"
    return Estimate(value=value, low=value - half, high=value + half, n=len(values), method=method), error


def _nothing(items: int, temperature: float) -> Calibration:
    none = unknown(items, "no item has label probabilities")
    return Calibration(
        n=0, without=items, temperature=temperature, ece=none, ece_by_chance=None, chance_p=None,
        mean_confidence=None, accuracy=None, brier=none, brier_se=None, log_loss=none, bins=(),
        sentence="Calibration is unknown: the answers have no probabilities.",
    )  # fmt: skip


def _sentence(ece: Estimate, chance_p: float, confidence: float, accuracy: float) -> str:
    """In one sentence, never kinder than the numbers."""
    facts = f"calibration error {number(ece.value)}"
    if ece.low is not None and ece.high is not None:
        facts += f" (95 % interval {number(ece.low)} to {number(ece.high)}, n = {ece.n})"
    if chance_p > 1 - CONFIDENCE:
        return f"Its probabilities can be believed as far as {ece.n} items show: {facts}, which chance explains."
    side = "surer than it is right" if confidence > accuracy else "less sure than it is right"
    shown = f"mean probability {number(confidence)}, right {number(accuracy)}"
    return f"Its probabilities are off: {facts}; on average it is {side} ({shown})."
