"""What is found when one looks closer, as frozen values: calibration, coverage, slices, robustness, errors, seeds.

Each look of a set lies in a file of its own beside `results.json`. Loads neither torch nor scipy nor scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from metier.evaluation.results import Estimate


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Items of similar confidence: what was claimed, what was true."""

    low: float
    high: float
    """Lowest and highest confidence in it."""
    n: int
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share of right answers."""
    accuracy_low: float
    accuracy_high: float
    """Wilson's 95 % interval, of items as if they stood alone."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One system's probabilities against what happened."""

    n: int
    """Items with probabilities."""
    without: int
    """Items without: they are in no number here."""
    temperature: float
    """What the log-probabilities were divided by; 1 as they come."""
    ece: Estimate
    """Expected calibration error (Naeini, Cooper and Hauskrecht 2015) over bins of equal mass, 0 to 1."""
    ece_by_chance: float | None
    """The mean error that perfectly calibrated answers of the same confidences would show on so few items."""
    chance_p: float | None
    """How often those would show at least the error that was found; small means really miscalibrated."""
    mean_confidence: float | None
    """Above the accuracy: overconfident."""
    accuracy: float | None
    brier: Estimate
    """Mean squared error of all labels' probabilities, 0 to 2 (Brier 1950), with its standard error's interval."""
    brier_se: float | None
    log_loss: Estimate
    """Mean negative log-probability of the gold label in nats; what a temperature makes least."""
    bins: tuple[ReliabilityBin, ...]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What log-probabilities are divided by."""

    value: float
    """1 where nothing was fitted."""
    low: float | None
    high: float | None
    """95 % interval, from the curvature of the loss; None where nothing was fitted."""
    n: int
    """Validation items that it was fitted on."""
    loss_before: float | None
    loss_after: float | None
    """Mean negative log-probability of the gold label in nats, on those items."""
    reason: str | None = None
    """Why nothing was fitted."""


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Risk (share of wrong answers) of the surest answers, at every coverage."""

    coverage: tuple[float, ...]
    """Share of items that are answered, rising, up to 1."""
    risk: tuple[float, ...]
    """Share of wrong answers among them."""
    threshold: tuple[float, ...]
    """Least confidence among them: `confidence >= threshold` answers exactly these."""
    aurc: Estimate
    """Area under the curve (Geifman, Uziel and El-Yaniv 2019), 0 to 1, lower is better."""
    aurc_best: float | None
    """What the same errors would give if all of them were least sure."""
    n: int
    thinned_from: int | None = None
    """Points that the curve had before it was thinned to be kept and drawn, evenly in coverage, ends kept; the area is
    of all of them. None: these are all."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A threshold for a wanted accuracy, from validation."""

    target: float
    """Wanted share of right answers among those that are given."""
    confidence: float
    """How sure the promise is for new items."""
    threshold: float | None
    """Answer where the confidence is at least this; None where validation supports no promise."""
    coverage: float
    """Share of validation that is answered."""
    accuracy: float | None
    """Share of right answers among them, on validation."""
    at_least: float | None
    """One-sided exact lower bound of it, of this one threshold."""
    n: int
    """Validation items."""
    answered: int
    reason: str | None = None
    """Why there is no threshold."""


@dataclass(frozen=True, kw_only=True)
class Selective:
    """A promise looked at on items that had no part in it."""

    promise: Promise
    set: str
    coverage: Estimate
    """Share that is answered."""
    accuracy: Estimate
    """Share of right answers among them, with an exact two-sided interval."""
    at_least: float | None
    """One-sided exact lower bound of it at 95 %."""
    accuracy_all: float
    """Share of right answers without handing anything over."""
    kept: bool | None
    """Whether the bound reaches the target; None where the items cannot tell (it was missed, but by chance perhaps)."""
    sentence: str


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """One slice of the items."""

    kind: str
    name: str
    n: int
    """Items in it."""
    score: Estimate
    """The mean score in it: the share of right answers, or a graded score."""
    against_rest: Estimate
    """Minus the mean score of all other items that are in some slice of the kind."""
    p_value: float | None
    """Of "no difference from the rest": Fisher's mid-p, or the normal one of the resampled spread."""
    p_corrected: float | None
    """Benjamini-Hochberg over all slices of all kinds with enough items."""
    baseline: Estimate | None
    """The score of the other system; None without one."""
    gain: Estimate | None
    """Score minus the other system's, paired; None without one."""
    verdict: str
    """`weak`, `strong`, `no evidence`, `too few`."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How unequal the slices of one kind are."""

    kind: str
    slices: int
    """Slices with at least `LEAST_SUPPORT` items; the others are not looked at."""
    best: str
    best_score: float
    worst: str
    worst_score: float
    value: Estimate
    """Best minus worst; which slices those are is chosen anew in every resample."""
    by_chance: float | None
    """The mean gap when items are dealt to the slices at random; None where items of groups vary together."""
    chance_p: float | None
    """How often such a gap is at least as wide."""
    baseline: Estimate | None
    """The other system's gap, between its own best and worst slice; None without one."""
    change: Estimate | None
    """This gap minus the other system's, paired: above 0, the slices became less equal."""
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Drop:
    """What one change costs."""

    change: str
    n: int
    before: float
    """Mean score of the items as they are."""
    after: float
    """Mean score of the same items changed."""
    drop: Estimate
    """Before minus after, paired: positive means that the change hurts."""
    p_value: float | None
    p_holm: float | None
    """Corrected over the changes."""
    flips: Estimate
    """Share of items whose answer became another one, right or wrong."""
    verdict: str
    """`hurts` (the interval is above 0), `holds` (it is below the tolerated drop), `cannot tell`."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """All changes, the worst first."""

    system: str
    drops: tuple[Drop, ...]
    tolerated: float
    sentence: str
    against: str | None = None
    """The best baseline, where asking it again costs next to nothing. None: it was not asked."""
    baseline: tuple[Drop, ...] = ()
    """What the same changes cost that one."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Change that was asked for to the reason why it was not made."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training row near an item. No text: the row is found by its place."""

    id: str
    source: str
    row: int
    similarity: float
    """Cosine, -1 to 1."""
    label: str
    doubted: bool
    """Whether its label is doubted."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A wrong answer with the training rows nearest to it."""

    id: str
    source: str
    row: int
    gold: str
    answer: str | None
    neighbours: tuple[Neighbour, ...]
    """The nearest first."""
    reason: str
    """A key of `REASONS`."""


@dataclass(frozen=True, kw_only=True)
class RowToCheck:
    """A training row that lies near several wrong answers and taught them."""

    id: str
    source: str
    row: int
    label: str
    doubted: bool
    errors: int
    """Wrong answers that carry its label and have it among their neighbours."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variances of one answer's score; each estimate is unbiased before it is cut at 0."""

    seed: float
    """Between seeds: what another training changes on all items alike."""
    item: float
    """Between items: some are harder whatever the seed."""
    rest: float
    """Of seed and item together: which items a seed happens to get right."""

    @property
    def seed_spread(self) -> float:
        """Standard deviation between models of the score on endlessly many items, in units of the score."""
        return math.sqrt(self.seed)


@dataclass(frozen=True, kw_only=True)
class SeedStatement:
    """What several trainings of one recipe say."""

    metric: str
    values: tuple[float, ...]
    """The score of each seed's model on the test set, in the order of the seeds."""
    mean: float
    spread: float | None
    """Standard deviation of `values`; None for one seed."""
    lowest: float
    highest: float
    same_items: Estimate
    """The mean over seeds with an interval for more seeds on these very items (Student)."""
    new_items: Estimate
    """The same for more seeds and items of the same kind; unknown where scores are not kept by item."""
    components: Components | None
    sentence: str
    seeds: tuple[int, ...] = ()
    """The seed of each value; the first is the promoted model's."""
    candidates: int = 1
    """How many candidates validation chose among before."""
    against: str | None = None
    """The best system that the user has without training; None where there is none."""
    gain: Estimate | None = None
    """The mean over seeds minus that system's score, as an interval for more seeds and items where scores are known
    by item, else for these items; positive is better. None without such a system."""
    notes: tuple[str, ...] = ()
    """What the numbers do and do not say, as sentences."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """`trust.json`: how far a system's probabilities can be believed, and what it can answer by itself."""

    system: str
    """The promoted one."""
    calibration: Mapping[str, Calibration]
    """System to its probabilities on this set as they come; only systems that have some."""
    temperature: Temperature
    """Fitted on validation; 1 where nothing was fitted."""
    tempered: Calibration | None
    """The promoted system's probabilities after the temperature; None where nothing was fitted."""
    curve: RiskCoverage | None
    """Of the promoted system on this set."""
    alone: Selective | None
    """What it answers by itself at the threshold that validation promises; None where it has no probabilities."""
    reason: str | None = None
    """Why there is nothing to tell."""


@dataclass(frozen=True, kw_only=True)
class SliceReport:
    """`slices.json`: where a system is weak, worst first, and how unequal it is."""

    system: str
    metric: str
    """What the score of an item is, in words: `share of right answers`, or a graded metric."""
    against: str | None
    """The system beside it: the best one that the user has without training."""
    slices: tuple[SliceScore, ...]
    gaps: tuple[Gap, ...]
    left_out: Mapping[str, str]
    """Kind of slice that was asked for to the reason why it is not here."""
    kinds: Mapping[str, tuple[str | None, ...]]
    """Kind to the slice of every item, in the order of the items, so that all numbers can be computed again."""


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """`errors.json`: beside every wrong answer the nearest training rows, and the rows to check first."""

    system: str
    vectors: str
    """What "near" is measured in, in words: the model's own states, or an encoder's."""
    explained: tuple[Explained, ...]
    rows: tuple[RowToCheck, ...]
    doubted: int
    """Training rows whose label is doubted."""
    sentence: str
    wrong: int = 0
    """Wrong answers in all; those that are explained are the first of them, in the order of the items."""
    train: int = 0
    """Training rows that were looked among."""
    from_train_sha256: str = ""
    """Hash of what item rows do not hold: the neighbours, what "near" is measured in, how many rows there are."""
    reason: str | None = None
    """Why nothing is explained."""
