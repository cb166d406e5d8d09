"""Closer looks made by hand for the report: every number here is planted, none is measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from metier.evaluation.evidence import (
    Calibration,
    Components,
    Drop,
    ErrorReport,
    Explained,
    Gap,
    Neighbour,
    Promise,
    ReliabilityBin,
    RiskCoverage,
    Robustness,
    RowToCheck,
    SeedStatement,
    Selective,
    SliceReport,
    SliceScore,
    Temperature,
    Trust,
)
from metier.evaluation.results import Estimate, FoldReport
from metier.evaluation.standings import JudgeAudit, JudgedPair, JudgeReport
from metier.report.summary import Looks, RunSummary

N = 240


def estimate(value: float | None, spread: float = 0.03, n: int = N) -> Estimate:
    """With a symmetric interval; unknown without a value."""
    if value is None:
        return Estimate(value=None, low=None, high=None, n=n, method="none", reason="there are no other items")
    return Estimate(value=value, low=value - spread, high=value + spread, n=n, method="planted")


def calibration(error: float, *, claimed: float, right: float, temperature: float = 1.0) -> Calibration:
    """Ten bins that lie off the diagonal by `error`."""
    bins = []
    for number in range(10):
        middle = 0.05 + 0.1 * number
        true = max(0.0, min(1.0, middle - error))
        bins.append(
            ReliabilityBin(
                low=middle - 0.05, high=middle + 0.05, n=24, confidence=middle, accuracy=true,
                accuracy_low=max(0.0, true - 0.15), accuracy_high=min(1.0, true + 0.15),
            )
        )  # fmt: skip
    return Calibration(
        n=N, without=2, temperature=temperature, ece=estimate(error, 0.02), ece_by_chance=0.031, chance_p=0.012,
        mean_confidence=claimed, accuracy=right, brier=estimate(0.21), brier_se=0.011, log_loss=estimate(0.42),
        bins=tuple(bins), sentence=f"Its probabilities are off: calibration error {error}.",
    )  # fmt: skip


def trust(*, kept: bool | None = True, threshold: float | None = 0.87) -> Trust:
    """Base against tuned, with a temperature and a promise."""
    promise = Promise(
        target=0.99, confidence=0.95, threshold=threshold, coverage=0.0 if threshold is None else 0.82,
        accuracy=None if threshold is None else 1.0, at_least=None if threshold is None else 0.991, n=400,
        answered=0 if threshold is None else 328,
        reason="40 validation items are too few" if threshold is None else None,
    )  # fmt: skip
    alone = Selective(
        promise=promise, set="test", coverage=estimate(0.8 if threshold else 0.0),
        accuracy=estimate(0.994, 0.004, n=192), at_least=0.981, accuracy_all=0.95, kept=kept,
        sentence="Answers 80 % by itself with 99.4 % right (at least 98.1 % with 95 % confidence, n = 192), hands 20 % "
        "to a person." if threshold else "Hands everything to a person: 99 % right cannot be promised (too few).",
    )  # fmt: skip
    steps = [(number + 1) / N for number in range(N)]
    return Trust(
        system="tuned",
        calibration={
            "zero_shot": calibration(0.3, claimed=0.7, right=0.4), "tfidf": calibration(0.08, claimed=0.85, right=0.93),
            "tuned": calibration(0.05, claimed=0.99, right=0.95),
        },
        temperature=Temperature(value=1.62, low=1.4, high=1.9, n=400, loss_before=0.31, loss_after=0.24),
        tempered=calibration(0.01, claimed=0.955, right=0.95, temperature=1.62),
        curve=RiskCoverage(
            coverage=tuple(steps), risk=tuple(0.05 * part**3 for part in steps),
            threshold=tuple(1 - part / 2 for part in steps), aurc=estimate(0.012, 0.004), aurc_best=0.001, n=N,
        ),
        alone=alone,
    )  # fmt: skip


def slice_score(kind: str, name: str, score: float, verdict: str, n: int = 40) -> SliceScore:
    """One slice."""
    return SliceScore(
        kind=kind, name=name, n=n, score=estimate(score, n=n), against_rest=estimate(score - 0.95, n=n), p_value=0.001,
        p_corrected=None if verdict == "too few" else 0.004 if verdict != "no evidence" else 0.4,
        baseline=estimate(score - 0.1, n=n), gain=estimate(0.1, n=n), verdict=verdict,
    )  # fmt: skip


def slices(count: int = 20, names: tuple[str, ...] = ("de", "<b>en</b>")) -> SliceReport:
    """A weak one, many others, and a gap."""
    rows = (
        slice_score("language", names[0], 0.61, "weak"),
        *(slice_score("label", f"label {number:03d}", 0.8 + 0.01 * (number % 15), "no evidence")
          for number in range(count)),
        slice_score("language", names[1], 0.97, "strong"),
        slice_score("source", "one.csv", 0.5, "too few", n=4),
    )  # fmt: skip
    gap = Gap(
        kind="language", slices=2, best=names[1], best_score=0.97, worst=names[0], worst_score=0.61,
        value=estimate(0.36), by_chance=0.05, chance_p=0.002, baseline=estimate(0.12), change=estimate(0.24),
        sentence="By language 0.61 to 0.97: a gap of 0.36. It is wider than before by 0.24.",
    )  # fmt: skip
    return SliceReport(
        system="tuned", metric="share of right answers", against="tfidf", slices=rows, gaps=(gap,),
        left_out={"cluster": "no vectors of the test records were at hand"}, kinds={"language": (names[0], None)},
    )  # fmt: skip


def robustness() -> Robustness:
    """One change hurts, one holds, of one nothing can be told."""
    rows = (
        ("typos", 0.08, "hurts"), ("upper_case", 0.015, "cannot tell"), ("lower_case", 0.001, "holds"),
    )  # fmt: skip
    drops = tuple(
        Drop(change=change, n=100, before=0.95, after=0.95 - loss, drop=estimate(loss, 0.02, 100), p_value=0.01,
             p_holm=0.03, flips=estimate(loss + 0.01, n=100), verdict=verdict)
        for change, loss, verdict in rows
    )  # fmt: skip
    return Robustness(system="tuned", drops=drops, tolerated=0.02, sentence="Typos hurts: right answers fall.")


def errors(count: int = 12, *, evil: str = "refund <&>") -> ErrorReport:
    """Wrong answers near doubted training rows."""
    explained = tuple(
        Explained(
            id=f"{number:03x}aa-0", source="tickets.csv", row=900 + number, gold=evil,
            answer=None if number == 1 else "x",
            neighbours=tuple(
                Neighbour(id=f"n{each}", source="tickets.csv", row=10 + each, similarity=0.93 - 0.1 * each, label="x",
                          doubted=each == 0)
                for each in range(5)
            ),
            reason="doubted",
        )
        for number in range(count)
    )  # fmt: skip
    rows = tuple(
        RowToCheck(
            id=f"n{each}", source="tickets.csv", row=10 + each, label="x", doubted=each == 0, errors=count - each
        )
        for each in range(min(count, 30))
    )
    return ErrorReport(
        system="tuned", vectors="the model's own states", explained=explained, rows=rows, doubted=7,
        sentence=f"{count} wrong answers were looked at.",
    )  # fmt: skip


def seeds(count: int = 5) -> SeedStatement:
    """So many trainings of one recipe."""
    values = tuple(0.93 + 0.004 * number for number in range(count))
    return SeedStatement(
        metric="macro_f1", values=values, mean=sum(values) / count, spread=0.006 if count > 1 else None,
        lowest=values[0], highest=values[-1], same_items=estimate(0.938, 0.008, count),
        new_items=estimate(0.938, 0.02, count), components=Components(seed=0.00002, item=0.03, rest=0.01),
        seeds=tuple(17 + number for number in range(count)), against="tfidf", gain=estimate(0.03, 0.02, count),
        notes=("Validation chose among 3 candidates before.",),
        sentence=f"Over {count} seeds the recipe gives macro F1 0.94 on new items.",
    )  # fmt: skip


def folds() -> FoldReport:
    """Three folds, in one of which a score is undefined."""
    return FoldReport(
        sizes=(80, 80, 80), metric="macro_f1", values={"tfidf": (0.9, 0.91, None), "tuned": (0.93, 0.95, 0.92)},
        chosen=("encoder", "encoder", "llm"), shipped="encoder", rows=240, notes=("The model that is kept is new.",),
    )  # fmt: skip


def judge(*, quotable: bool = False) -> JudgeReport:
    """A judge that likes long answers."""
    rate = estimate(0.62, 0.07, 100)
    audit = JudgeAudit(
        judge="a-judge", n=100, unread=3, consistent=estimate(0.7), position_bias=estimate(0.21), win_rate=rate,
        win_rate_equal_length=estimate(0.55, 0.08, 100), longer_wins=estimate(0.8), human_n=40,
        kappa=estimate(0.4, 0.1, 40), alpha=estimate(0.4, 0.1, 40), flags=("It prefers the first answer.",),
        headline=rate if quotable else None, withheld=None if quotable else "its kappa with people is below 0.6",
    )  # fmt: skip
    pair = JudgedPair(ours="tuned", theirs="few_shot", audit=audit, verdicts=(), human={})
    return JudgeReport(
        judge="a-judge at judge.example.org", pairs=(pair,), resamples=200, seed=1, spent=None, currency="",
        sentence="The judge's number is no headline.",
    )  # fmt: skip


def every_look() -> Looks:
    """All of them."""
    return Looks(
        trust=trust(), slices=slices(), robustness=robustness(), errors=errors(), seeds=seeds(), folds=folds(),
        judge=judge(),
    )  # fmt: skip


@pytest.fixture
def planted() -> Any:
    """The makers of this file."""
    return sys.modules[__name__]


@pytest.fixture
def summary(summary: RunSummary) -> RunSummary:
    """The run with everything in it, looked at as closely as can be."""
    return replace(summary, looks=every_look())
