"""From a probability for each label to a set of labels: one threshold, chosen on validation. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.label_lists import set_text
from metier.evaluation.labels.multi_label import set_score

Floats = npt.NDArray[np.float64]
THRESHOLDS = tuple(number / 20 for number in range(1, 20))
"""Probabilities from which on a label is answered, that are tried."""
THRESHOLD = "threshold"
"""Name of this rule beside the scoring rules of `scoring.py`."""


@dataclass(frozen=True, kw_only=True)
class SetRule:
    """Which labels are answered."""

    threshold: float
    """A label's probability from which on it is answered, above 0 and below 1."""
    never_none: bool
    """Whether the most probable label is answered where none reaches the threshold: no record of train is without."""

    def sets(self, chances: Floats, labels: Sequence[str]) -> list[frozenset[str]]:
        """The labels of each row of probabilities, shape (N, C)."""
        chosen = chances >= self.threshold
        if self.never_none and chances.size:
            chosen[np.arange(len(chances)), chances.argmax(axis=1)] = True
        return [frozenset(label for label, yes in zip(labels, row, strict=True) if yes) for row in chosen]

    def texts(self, chances: Floats, labels: Sequence[str]) -> list[str]:
        """The same as canonical texts."""
        return [set_text(each) for each in self.sets(chances, labels)]

    def to_plain(self) -> dict[str, Any]:
        """As JSON, to be saved with a model."""
        return {"name": THRESHOLD, "threshold": self.threshold, "never_none": self.never_none}

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> SetRule:
        """The rule that `to_plain` wrote."""
        return SetRule(threshold=float(plain["threshold"]), never_none=bool(plain["never_none"]))


@dataclass(frozen=True, kw_only=True)
class ChosenSets:
    """The best rule on some records."""

    rule: SetRule
    score: float
    """Its value of the metric."""
    tried: Mapping[str, float]
    """Value by threshold."""


def choose_set_rule(
    chances: Floats, golds: Sequence[frozenset[str]], labels: Sequence[str], metric: str, *, never_none: bool
) -> ChosenSets:
    """Try every threshold on validation records and keep the best; of equal ones that nearest to a half.

    Without records nothing can be chosen: a half is taken.

    Args:
        chances: Probability of each label, shape (N, C).
        golds: The right sets.
        labels: The C labels.
        metric: A name in `multi_label.SET_METRICS`, or `exact_match`.
        never_none: As the rule has it.
    """
    rules = {each: SetRule(threshold=each, never_none=never_none) for each in THRESHOLDS}
    if not golds:
        return ChosenSets(rule=rules[0.5], score=0.0, tried={})
    scores = {each: set_score(golds, rule.sets(chances, labels), metric) for each, rule in rules.items()}
    best = min(scores, key=lambda each: (-scores[each], abs(each - 0.5)))
    tried = {f"{each:g}": score for each, score in scores.items()}
    return ChosenSets(rule=rules[best], score=scores[best], tried=tried)


def sets_of(records: Sequence[Any]) -> list[frozenset[str]]:
    """The labels of some records, as sets."""
    return [frozenset(record.labels) for record in records]


def indicators(sets: Sequence[frozenset[str]], labels: Sequence[str]) -> Floats:
    """Shape (N, C): 1 where a set has the label."""
    return np.array([[float(label in each) for label in labels] for each in sets]).reshape(len(sets), len(labels))
