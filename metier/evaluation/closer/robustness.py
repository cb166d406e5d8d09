"""How much a system loses when only the wording around the question changes, and how often its answer flips.

The same items are answered as they are and changed; the drop is paired, so it sees small losses. Only numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from metier.errors import DataError
from metier.evaluation.evidence import Drop, Robustness
from metier.evaluation.measures import MEASURES
from metier.evaluation.metrics import group_places
from metier.evaluation.results import Estimate, Evaluation, Item
from metier.evaluation.sentences import number
from metier.evaluation.significance.paired import Resampling, mean_score, paired_difference
from metier.evaluation.statistics import holm, wilson_interval

Floats = npt.NDArray[np.float64]
HURTS, HOLDS, UNSURE = "hurts", "holds", "cannot tell"
TOLERATED = 0.02
"""A drop that is surely below this is no weakness."""


def judge_robustness(
    original: Evaluation,
    changed: Mapping[str, Evaluation],
    *,
    tolerated: float = TOLERATED,
    how: Resampling | None = None,
) -> Robustness:
    """What each change costs one system, in right answers.

    Args:
        original: The system on the items as they are.
        changed: Name of a change to the system on the same items (same ids, same gold answers) changed.
        tolerated: A drop that is surely below this holds, in shares of right answers.
        how: Resamples of intervals without a closed form. None: the defaults.

    Raises:
        DataError: The items are not the same, or there are none.
    """
    is_right = MEASURES[original.task].is_right
    rows = []
    for name, evaluation in changed.items():
        after = _matched(original, evaluation, name)
        before = list(original.items)
        scores = [np.array([is_right(item) for item in side], dtype=np.float64) for side in (before, after)]
        flips = np.array([one.answer != other.answer for one, other in zip(before, after, strict=True)])
        groups = group_places(before)
        drop, p_value = paired_difference(scores[0], scores[1], groups, how)
        rows.append(
            Drop(
                change=name, n=len(before), before=float(scores[0].mean()), after=float(scores[1].mean()), drop=drop,
                p_value=p_value, p_holm=None, flips=_share(flips, groups, how), verdict=_verdict(drop, tolerated),
            )
        )  # fmt: skip
    corrected = holm([row.p_value for row in rows])
    drops = [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]
    drops.sort(key=lambda row: (-(row.drop.value or 0.0), row.change))
    return Robustness(
        system=original.system, drops=tuple(drops), tolerated=tolerated, sentence=_sentence(drops, tolerated)
    )


def _matched(original: Evaluation, changed: Evaluation, name: str) -> list[Item]:
    """The changed items in the order of the original ones."""
    theirs = {item.id: item for item in changed.items}
    same = len(theirs) == len(original.items) > 0 and all(
        item.id in theirs and theirs[item.id].gold == item.gold for item in original.items
    )
    if not same:
        found = f"{len(original.items)} items as they are, {len(theirs)} changed, or another id or gold answer"
        raise DataError(f"robustness: {name}", found, "the same items, at least one")
    return [theirs[item.id] for item in original.items]


def _share(flips: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None, how: Resampling | None) -> Estimate:
    n, count = len(flips), int(np.count_nonzero(flips))
    if groups is not None and 0 < count < n:
        return mean_score(flips.astype(np.float64), groups, how)
    low, high = wilson_interval(count, n)
    return Estimate(value=count / n, low=low, high=high, n=n, method="wilson")


def _verdict(drop: Estimate, tolerated: float) -> str:
    if drop.low is None or drop.high is None:
        return UNSURE
    if drop.low > 0:
        return HURTS
    return HOLDS if drop.high < tolerated else UNSURE


def _sentence(drops: Sequence[Drop], tolerated: float) -> str:
    """The worst change in words, and how many hold."""
    if not drops:
        return "Robustness was not measured."
    hurting = [row for row in drops if row.verdict == HURTS]
    holding = [row for row in drops if row.verdict == HOLDS]
    rest = f"{len(holding)} of {len(drops)} changes surely cost less than {number(tolerated)}."
    if not hurting:
        return f"No change of wording was seen to hurt; {rest}"
    worst = hurting[0]
    name = worst.change.replace("_", " ")
    shown = f"{number(worst.before)} to {number(worst.after)}"
    bounds = f"95 % interval of the loss {number(worst.drop.low)} to {number(worst.drop.high)}, n = {worst.n}"
    return f"{name.capitalize()} hurts: right answers fall from {shown} ({bounds}); {rest}"


def robustness_of(
    tuned: tuple[Evaluation, Mapping[str, Evaluation]],
    baseline: tuple[Evaluation, Mapping[str, Evaluation]] | None,
    left_out: Mapping[str, str],
) -> Robustness:
    """What the changes cost the promoted system, beside what they cost another one.

    Args:
        tuned: The promoted system on the items as they are, and on the changed ones by change.
        baseline: The same of the best baseline. None: it was not asked.
        left_out: Changes that were asked for and not made, with the reason.

    Raises:
        DataError: The items are not the same.
    """
    how = Resampling(resamples=tuned[0].resamples, seed=tuned[0].seed)
    found = judge_robustness(tuned[0], tuned[1], how=how)
    other = None if baseline is None else judge_robustness(baseline[0], baseline[1], how=how)
    return replace(
        found, against=None if other is None else other.system, baseline=() if other is None else other.drops,
        left_out=dict(left_out),
    )  # fmt: skip
