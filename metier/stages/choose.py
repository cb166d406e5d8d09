"""Validation chooses between attempts, and a larger model has to earn its size there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metier.evaluation.compare import compare
from metier.evaluation.results import Estimate
from metier.evaluation.written.text_metrics import sign
from metier.recipe.sections import EvaluationSection
from metier.stages.attempt import Attempt


@dataclass(frozen=True)
class Chosen:
    """The promoted attempt, and why it was chosen."""

    attempt: Attempt
    why: str


def choose_attempt(
    attempts: Sequence[Attempt], section: EvaluationSection, size: Callable[[Attempt], int], seed: int
) -> Chosen:
    """The best on validation, or a smaller one that validation cannot tell from it.

    On a small validation split the best number is often luck. So the best is only promoted over a
    smaller model when its paired difference to that one is above 0 at 95 %; otherwise the smallest of
    those that it is not proven to beat is taken.

    Args:
        attempts: At least one, each judged on the same validation records.
        section: The primary metric and the resamples.
        size: Parameters of an attempt's model.
        seed: Seed of the resamples.
    """
    metric = section.primary_metric
    most, more = ("highest", "higher") if sign(metric) > 0 else ("lowest", "lower")
    if len(attempts) == 1:
        return Chosen(attempts[0], "the only candidate")
    best = max(attempts, key=lambda attempt: (attempt.score(metric), -size(attempt)))
    gaps = {each.name: _gap(best, each, section, seed) for each in attempts if size(each) < size(best)}
    equals = [each for each in attempts if each.name in gaps and not _is_proven(gaps[each.name])]
    if not equals:
        return Chosen(best, f"{most} validation {metric}")
    smaller = min(equals, key=lambda attempt: (size(attempt), -attempt.score(metric)))
    gap = gaps[smaller.name]
    between = "" if gap.low is None or gap.high is None else f", 95 % interval {gap.low:.3f} to {gap.high:.3f}"
    why = (
        f"validation cannot tell it from {best.name}, whose {metric} is {gap.value or 0.0:.3f} {more}"
        f"{between} (n = {gap.n}), and it is the smaller model"
    )
    return Chosen(smaller, why)


def _is_proven(gap: Estimate) -> bool:
    """Whether the interval lies above 0; one that is unknown proves nothing."""
    return gap.low is not None and gap.low > 0.0


def _gap(best: Attempt, other: Attempt, section: EvaluationSection, seed: int) -> Estimate:
    """The paired difference of the primary metric on validation, best minus other."""
    pair = [replace(each.validation, system=each.name) for each in (best, other)]
    return compare(pair[0], [pair[1]], section=section, seed=seed).differences[0].difference
