"""Several training seeds: what is said about the recipe, beside what is said about one model.

Gates and verdicts judge one model, and items vary. A recipe gives another model with every seed, so its score
varies with seeds and items both. The components come from the two-way analysis of variance with one answer in
each cell (Searle, Casella and McCulloch 1992, Variance Components), the degrees of freedom of the sum from
Satterthwaite 1946. From five seeds on there is an interval; below that the spread alone is told, because the
spread of two or three numbers is itself hardly known.

A metric that is no mean over items (macro F1) enters as the jackknife's scores of the items (`item_scores.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from metier.errors import ArgumentError
from metier.evaluation.evidence import Components, SeedStatement
from metier.evaluation.metrics import group_places
from metier.evaluation.results import Estimate, Evaluation
from metier.evaluation.sentences import interval_text, metric_name, number
from metier.evaluation.significance.distributions import student_quantile
from metier.evaluation.significance.item_scores import item_scores
from metier.evaluation.statistics import CONFIDENCE, clustered_standard_error
from metier.evaluation.written.text_metrics import sign

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
LEAST_SEEDS = 5
"""Seeds from which on there is an interval."""
ABOUT = (
    "The verdict and the gates are about the model that is kept, the first of these; this is about the recipe, which "
    "gives another model with every seed.",
    "All were trained on the same rows and answered the same items; what else a rerun could change (the split, the "
    "cleaning) does not vary here.",
)
"""What is said beside every statement."""
NO_MEAN = "{metric} is no mean over items: its variance is taken apart by the jackknife's scores of the items."
CHOSEN = "Validation chose the first model's candidate with the first seed; the others were trained the same way."
SAME = "All seeds gave the same answers: this way of training has nothing random in it that answers depend on."


def variance_components(scores: Floats) -> Components:
    """Variances between seeds, between items, and of the rest.

    Args:
        scores: A score for each seed and item, shape (seeds, items), at least 2 by 2.

    Raises:
        ArgumentError: There are fewer than two seeds or items.
    """
    between_seeds, between_items, rest = _mean_squares(scores)
    seeds, items = scores.shape
    return Components(
        seed=max(0.0, (between_seeds - rest) / items), item=max(0.0, (between_items - rest) / seeds), rest=rest
    )


def _mean_squares(scores: Floats) -> tuple[float, float, float]:
    """Mean squares of seeds, of items and of the rest."""
    if scores.ndim != 2 or min(scores.shape) < 2:
        found = f"found scores of shape {scores.shape}"
        raise ArgumentError("seeds", found, "at least two seeds (rows) and two items (columns)")
    seeds, items = scores.shape
    by_seed, by_item, middle = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    of_seeds = items * float(np.sum((by_seed - middle) ** 2)) / (seeds - 1)
    of_items = seeds * float(np.sum((by_item - middle) ** 2)) / (items - 1)
    left = scores - by_seed[:, None] - by_item[None, :] + middle
    return of_seeds, of_items, float(np.sum(left**2)) / ((seeds - 1) * (items - 1))


def seed_statement(
    values: Sequence[float],
    *,
    metric: str,
    scores: Floats | None = None,
    groups: Places | None = None,
    confidence: float = CONFIDENCE,
) -> SeedStatement:
    """What the models of several seeds say about their recipe. For a gain, give differences instead of scores.

    Args:
        values: The metric (or its difference from a baseline) of each seed's model, shape (seeds,).
        metric: Its name, for the sentence.
        scores: The same by item, shape (seeds, items), where `values` are its row means. None: not known by item.
        groups: Group number of each item. None: items stand alone.
        confidence: Coverage of the intervals, between 0 and 1.

    Raises:
        ArgumentError: There is no seed, a value is not finite, or values and scores do not fit together.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0 or not np.isfinite(data).all():
        raise ArgumentError("seeds", f"found {len(data)} values, some perhaps not finite", "a finite value a seed")
    if scores is not None and (len(scores) != len(data) or not np.allclose(scores.mean(axis=1), data, atol=1e-9)):
        raise ArgumentError("seeds", "found values that are not the means of the scores", "a row of scores a value")
    spread = float(data.std(ddof=1)) if len(data) > 1 else None
    enough = scores is not None and min(scores.shape) > 1
    statement = SeedStatement(
        metric=metric,
        values=tuple(float(value) for value in data),
        mean=float(data.mean()),
        spread=spread,
        lowest=float(data.min()),
        highest=float(data.max()),
        same_items=_same_items(data, confidence),
        new_items=_new_items(data, scores if enough else None, groups, confidence),
        components=variance_components(scores) if scores is not None and enough else None,
        sentence="",
    )
    return _with_sentence(statement)


def state_seeds(
    evaluations: Sequence[Evaluation],
    *,
    metric: str,
    seeds: Sequence[int],
    against: Evaluation | None = None,
    candidates: int = 1,
) -> SeedStatement:
    """What the models of several seeds say about their recipe, from their answers to the same items.

    Args:
        evaluations: One a seed, the promoted model's first.
        metric: The primary metric, which all of them have.
        seeds: The seed of each.
        against: The best system that the user has without training, on the same items. None: there is none.
        candidates: How many candidates validation chose among.

    Raises:
        ArgumentError: A value is unknown, or the items are not the same.
    """
    names = [item.id for item in evaluations[0].items]
    both = [*evaluations, against] if against is not None else list(evaluations)
    if len(seeds) != len(evaluations) or any([item.id for item in each.items] != names for each in both):
        raise ArgumentError("seeds", "found answers to other items, or another number of seeds", "the same items")
    values = [_known(each, metric) for each in evaluations]
    rows = [item_scores(each.items, each.task, metric) for each in evaluations]
    scores = np.stack([row for row in rows if row is not None]) if all(row is not None for row in rows) else None
    groups = group_places(evaluations[0].items)
    found = seed_statement(values, metric=metric, scores=scores, groups=groups)
    gain = None if against is None else _gain(values, scores, groups, against, metric)
    notes = [*ABOUT]
    if candidates > 1:
        notes.append(CHOSEN)
    if scores is not None and not np.isin(scores, (0.0, 1.0)).all():
        notes.append(NO_MEAN.format(metric=metric_name(metric)))
    same = len(evaluations) > 1 and all(_answers(each) == _answers(evaluations[0]) for each in evaluations)
    if same:
        notes.append(SAME)
    sentence = found.sentence
    if gain is not None and gain.low is not None and against is not None:
        value, told = number(gain.value), interval_text(gain).replace(", n =", ", seeds =")
        sentence += f" Over {against.system} it gains {value} ({told})."
    return replace(
        found, seeds=tuple(seeds), candidates=candidates, against=None if against is None else against.system,
        gain=gain, notes=tuple(notes), sentence=sentence,
    )  # fmt: skip


def _known(evaluation: Evaluation, metric: str) -> float:
    estimate = evaluation.metrics.get(metric)
    if estimate is None or estimate.value is None:
        why = "it is not measured" if estimate is None else estimate.reason
        raise ArgumentError("seeds", f"{metric} of {evaluation.system} is unknown: {why}", "a value a seed")
    return estimate.value


def _answers(evaluation: Evaluation) -> list[str | None]:
    return [item.answer for item in evaluation.items]


def _gain(
    values: Sequence[float], scores: Floats | None, groups: Places | None, against: Evaluation, metric: str
) -> Estimate | None:
    """The recipe minus a system that has no seeds, positive where better; None where that system has no value."""
    estimate = against.metrics.get(metric)
    if estimate is None or estimate.value is None:
        return None
    theirs, better = item_scores(against.items, against.task, metric), sign(metric)
    gains = [better * (value - estimate.value) for value in values]
    by_item = None if scores is None or theirs is None else better * (scores - theirs[None, :])
    found = seed_statement(gains, metric=metric, scores=by_item, groups=groups)
    return found.new_items if found.new_items.low is not None else found.same_items


def _too_few(data: Floats) -> Estimate:
    reason = f"{len(data)} seed{'s' if len(data) > 1 else ''}; an interval needs {LEAST_SEEDS}"
    return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)


def _same_items(data: Floats, confidence: float) -> Estimate:
    """Student's interval of the mean over seeds."""
    if len(data) < LEAST_SEEDS:
        return _too_few(data)
    half = student_quantile((1 + confidence) / 2, len(data) - 1) * float(data.std(ddof=1)) / math.sqrt(len(data))
    middle = float(data.mean())
    return Estimate(value=middle, low=middle - half, high=middle + half, n=len(data), method="student over seeds")


def _new_items(data: Floats, scores: Floats | None, groups: Places | None, confidence: float) -> Estimate:
    """Interval of the recipe's score over seeds and items: both kinds of variance, each with its own freedom."""
    if len(data) < LEAST_SEEDS:
        return _too_few(data)
    if scores is None:
        reason = "scores are not known by item"
        return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)
    seeds, items = scores.shape
    of_seeds, of_items, rest = _mean_squares(scores)
    by_item, freedom = of_items / (seeds * items), items - 1
    if groups is not None:
        error = clustered_standard_error(scores.mean(axis=0).tolist(), groups.tolist())
        if error is None:
            reason = "one group says nothing about spread"
            return Estimate(value=float(data.mean()), low=None, high=None, n=len(data), method="none", reason=reason)
        by_item, freedom = error**2, len(np.unique(groups)) - 1
    # What seeds add beyond the rest, which the variance between items already holds.
    by_seed = max(0.0, of_seeds - rest) / (seeds * items)
    variance = by_item + by_seed
    degrees = _satterthwaite(
        (by_item, freedom), (of_seeds / (seeds * items) if by_seed else 0.0, seeds - 1),
        (rest / (seeds * items) if by_seed else 0.0, (seeds - 1) * (items - 1)), variance=variance,
    )  # fmt: skip
    half = student_quantile((1 + confidence) / 2, degrees) * math.sqrt(variance)
    middle = float(data.mean())
    method = f"student over {seeds} seeds and {items if groups is None else freedom + 1} items or groups"
    return Estimate(value=middle, low=middle - half, high=middle + half, n=len(data), method=method)


def _satterthwaite(*parts: tuple[float, float], variance: float) -> float:
    """Degrees of freedom of a sum of mean squares, given as (what each adds, its own degrees of freedom)."""
    below = sum(part**2 / freedom for part, freedom in parts if freedom > 0)
    return max(1.0, variance**2 / below) if below > 1e-300 else max(1.0, parts[0][1])


def _with_sentence(found: SeedStatement) -> SeedStatement:
    name, count = metric_name(found.metric), len(found.values)
    if found.spread is None:
        sentence = f"One seed: how much {name} varies with the seed is not known."
    elif count < LEAST_SEEDS:
        sentence = (
            f"{count} seeds give {name} {number(found.lowest)} to {number(found.highest)} (mean {number(found.mean)}). "
            f"An interval for the recipe needs {LEAST_SEEDS} seeds."
        )
    else:
        shown = found.new_items if found.new_items.low is not None else found.same_items
        where = "new items" if shown is found.new_items else "these items"
        sentence = (
            f"Over {count} seeds the recipe gives {name} {number(found.mean)} on {where} "
            f"({interval_text(shown).replace(', n =', ', seeds =')}); one model differs from the next by "
            f"{number(found.spread)} (standard deviation)."
        )
    return replace(found, sentence=sentence)
