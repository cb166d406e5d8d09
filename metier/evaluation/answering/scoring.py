"""From the log-probabilities of a label's tokens to an answer: the scoring rules, and the choice between them.

A small table, chosen on validation, the same for every language-model system: otherwise zero-shot is a
straw man, because the rule alone can decide its accuracy (`docs/evidence.md`). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.evaluation.metrics import point_metrics

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rule:
    """How sums of token log-probabilities become scores of labels."""

    name: str
    """`sum`, `mean_per_byte` or `sum_minus_mean`."""
    divisors: Floats
    """What each label's sum is divided by, shape (C,)."""
    offsets: Floats
    """What is taken off each label's sum before, shape (C,)."""

    def log_probabilities(self, sums: Floats) -> Floats:
        """Normalised over labels, shape (N, C), from sums of shape (N, C)."""
        scores = (sums - self.offsets) / self.divisors
        top = scores.max(axis=1, keepdims=True)
        result: Floats = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        return result

    def to_plain(self) -> dict[str, Any]:
        """As JSON, to be saved with a model."""
        return {"name": self.name, "divisors": self.divisors.tolist(), "offsets": self.offsets.tolist()}

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Rule:
        """The rule that `to_plain` wrote."""
        return Rule(str(plain["name"]), np.array(plain["divisors"]), np.array(plain["offsets"]))


def make_rule(name: str, label_texts: Sequence[str], sums: Floats) -> Rule:
    """A rule of the table, fitted where it needs fitting.

    Args:
        name: `sum`; `mean_per_byte` (UTF-8 bytes of the label's words, plus one for the end of turn);
            `sum_minus_mean` (each label's mean over inputs, which takes off how likely the words are anyway).
        label_texts: The words of each label.
        sums: Sums of token log-probabilities over unlabelled inputs, shape (N, C).
    """
    ones, zeros = np.ones(len(label_texts)), np.zeros(len(label_texts))
    if name == "mean_per_byte":
        return Rule(name, np.array([len(text.encode()) + 1.0 for text in label_texts]), zeros)
    if name == "sum_minus_mean":
        return Rule(name, ones, sums.mean(axis=0))
    return Rule("sum", ones, zeros)


@dataclass(frozen=True, eq=False)
class ChosenRule:
    """The best rule on some records, its scores, and those of the losers."""

    rule: Rule
    score: tuple[float, float]
    """Primary metric and mean log-likelihood of the gold label: the larger pair wins."""
    tried: Mapping[str, Mapping[str, float]]


def choose_rule(
    names: Sequence[str], label_texts: Sequence[str], sums: Floats, golds: Sequence[str], labels: Sequence[str],
    metric: str,
) -> ChosenRule:  # fmt: skip
    """Try every rule on validation records and keep the best by metric, then by log-likelihood.

    Args:
        names: Rules to try.
        label_texts: The words of each label.
        sums: Shape (N, C).
        golds: N gold labels.
        labels: The C labels.
        metric: The primary metric.
    """
    best: tuple[Rule, tuple[float, float]] | None = None
    tried: dict[str, dict[str, float]] = {}
    for name in names:
        rule = make_rule(name, label_texts, sums)
        metrics = judge(rule.log_probabilities(sums), golds, labels, metric)
        tried[name] = metrics
        score = (metrics[metric], -metrics["loss"])
        if best is None or score > best[1]:
            best = (rule, score)
    assert best is not None
    return ChosenRule(best[0], best[1], tried)


def judge(logprobs: Floats, golds: Sequence[str], labels: Sequence[str], metric: str) -> dict[str, float]:
    """The primary metric, accuracy, and `loss`: the mean negative log-likelihood of the gold label.

    A gold label that is not among `labels` counts as wrong and is left out of the loss.
    """
    answers = [labels[int(number)] for number in logprobs.argmax(axis=1)]
    values = point_metrics(golds, answers)
    place = {label: number for number, label in enumerate(labels)}
    known = [(row, place[gold]) for row, gold in enumerate(golds) if gold in place]
    losses = [-float(logprobs[row, column]) for row, column in known]
    return {
        metric: values[metric] or 0.0,
        "accuracy": values["accuracy"] or 0.0,
        "loss": float(np.mean(losses)) if losses else 0.0,
    }
