"""What evaluation finds, as frozen values: `results.json`, `items-<system>.jsonl`, `comparison.json`.

Imports neither torch nor scipy nor scikit-learn: a finished run is compared in under a second.
What could not be computed is an `Estimate` with `value` None and a `reason`, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval and sample size, or the reason why there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    """How the interval was made: `wilson`, `bca bootstrap (2000)`, `none`."""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a system said to one input."""

    id: str
    label: str | None
    """One of the labels, or None when it could not answer."""
    label_logprobs: Mapping[str, float] | None = None
    """Normalised log-probability of every label, or None where the system has none."""
    text: str | None = None
    """What was written, of systems that write; None when nothing was."""
    stop: str = "label"
    """Why it ended: `label`; of text `end of turn`, `stop text`, `length` (unfinished)."""
    seconds: float = 0.0
    tokens: int = 0
    """Tokens computed for this answer."""
    price: float | None = None
    """What it cost, where it was paid for; None where that is not known."""
    reason: str | None = None
    """Why there is no answer, or what was done to the input (`cut`)."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One answered record: a row of `items-<system>.jsonl`."""

    id: str
    group: str | None
    gold: str
    answer: str | None
    label_logprobs: Mapping[str, float] | None
    prompt_hash: str | None
    source: str
    row: int
    flags: tuple[str, ...] = ()
    reason: str | None = None
    stop: str | None = None
    """Why a written answer ended; None for labels."""
    counts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric name to what this item adds to it (`text_metrics.TEXT_METRICS`); empty for labels."""
    fold: int | None = None
    """The fold, from 0, without which the model that answered was trained; None: there are no folds."""


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Precision, recall and F1 of one label; `support` is its gold count."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One system on one set."""

    system: str
    """Name in tables: `majority`, `tfidf`, `probe`, `zero_shot`, `few_shot`, `tuned`, or a user's name."""
    kind: str
    """What it is, in words: `most frequent label`, `word and character n-grams, logistic regression`, …"""
    set: str
    """`train`, `validation` or `test`."""
    task: str
    labels: tuple[str, ...]
    n: int
    metrics: Mapping[str, Estimate]
    per_class: Mapping[str, ClassScore]
    confusion: Mapping[str, Mapping[str, int]]
    """gold -> answer -> count; an unanswered item counts under `(none)`."""
    per_field: Mapping[str, Estimate] = field(default_factory=dict)
    """Similarity of each field (path) of JSON answers; empty where answers are no JSON."""
    clean_metrics: Mapping[str, Estimate] = field(default_factory=dict)
    """The same metrics on items without flags, where some items carry flags; else empty."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen (rule, k, C) and the losers with their validation scores."""
    parameters: int | None = None
    bytes: int | None = None
    seconds_per_thousand: float | None = None
    trained_on: str = ""
    """What it saw, e.g. `no examples`, `8 examples`, `561 examples`."""
    resamples: int = 2000
    """Bootstrap resamples of its intervals, so that they can be computed again."""
    seed: int = 17
    """Seed of those resamples."""
    hashed: bool = False
    """Whether hashes stand for what its items say, as `privacy: strict` wants it; then counts cannot be made again."""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate minus one baseline on the same items."""

    baseline: str
    metric: str
    candidate_value: float | None
    baseline_value: float | None
    difference: Estimate
    """The paired difference; positive means that the candidate is better."""
    p_value: float | None
    """mid-p McNemar for right and wrong (accuracy, exact match); two-sided bootstrap p otherwise."""
    p_holm: float | None
    gained: int
    """Items right by the candidate only (b); 0 where nothing is right or wrong."""
    lost: int
    """Items right by the baseline only (c)."""
    smallest_detectable: float | None
    """Smallest difference found with 80 % power at this n and spread: of labels in accuracy, else in the metric."""
    verdict: str
    """improved, regressed, not worse, no evidence, underpowered."""
    items_needed: int | None = None
    """Items in all with which the smallest useful gain would be found with 80 % power; None where unknown."""
    after_openings: Estimate | None = None
    """The same difference at 1 - 5 % / k where the test set is opened for the k-th time, k > 1; None else."""
    discordance: float | None = None
    """Share of items on which the two differed on validation, which power is stated at. None: on this set."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate: what it wanted, what was found, whether it holds."""

    gate: str
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The candidate against every baseline."""

    candidate: str
    set: str
    n: int
    primary_metric: str
    smallest_useful_gain: float
    not_worse_margin: float | None
    differences: tuple[Difference, ...]
    """Primary metric, one a baseline."""
    accuracy_differences: tuple[Difference, ...]
    """Right or wrong, one a baseline: accuracy, or exact match of written answers; empty where neither is."""
    verdict: str
    """Overall: improved only if better than every baseline."""
    sentence: str
    """The verdict as one honest sentence with numbers."""
    best_baseline: str | None
    gates: tuple[GateResult, ...] = ()
    openings: int | None = None
    """How often this test set has been opened, this time included; None for other sets."""
    resamples: int = 2000
    """Bootstrap resamples of its intervals, so that they can be computed again."""
    seed: int = 17
    """Seed of those resamples."""
    advice: str | None = None
    """Whether training pays against what needs none, and what 1,000 answers take with each; empty where nothing that
    needs no training comes near. None: a comparison of an earlier version."""
    price_per_hour: float | None = None
    """What an hour of the machine costs, which the advice tells money by. None: not known."""
    currency: str = ""
    """Name of that money."""


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """The promoted system on train, validation and test, side by side."""

    metric: str
    values: Mapping[str, Estimate]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What cleaning changed: the promoted way trained once more on rows as they were read, on the same test set."""

    metric: str
    """The primary metric."""
    change: Estimate | None
    """Its value with cleaning minus its value without, paired over the items; of a loss, above 0 is worse.
    None: cleaning changed nothing that is learned from, so nothing was trained again."""
    verdict: str
    """improved, regressed, not worse, no evidence, underpowered: cleaning is the candidate; empty without a change."""
    sentence: str
    """The same in words, with numbers."""
    records: Mapping[str, int]
    """What was learned from: `cleaned` and `raw`."""
    steps: Mapping[str, int]
    """Optimiser steps that were taken, and `planned`, which is the same for both; empty where none are taken."""
    notes: tuple[str, ...] = ()
    """What the comparison does and does not say, as sentences."""


@dataclass(frozen=True, kw_only=True)
class FoldReport:
    """`folds.json`: every row answered by a model that was trained without it. Rows know their fold by `Item.fold`."""

    sizes: tuple[int, ...]
    """Rows of each fold."""
    metric: str
    values: Mapping[str, tuple[float | None, ...]]
    """System to its primary metric within each fold; None where it is undefined there."""
    chosen: tuple[str, ...]
    """The candidate that was promoted within each fold."""
    shipped: str
    """The candidate whose model is kept, trained on all rows."""
    rows: int
    """Rows that the kept model learned from."""
    notes: tuple[str, ...]
    """What the numbers do and do not say, as sentences."""


def evaluations_of(systems: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """The evaluations by system name, in the given order."""
    return {evaluation.system: evaluation for evaluation in systems}
