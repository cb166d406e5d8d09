"""Answers to records that speak of another group: how many change, how far log-probabilities move, against the base.

A copy's right answer is the system's own answer to the original, so an answer that is not right changed. Bias is stated
as a change from the base: what training did to it, paired over the copies that both were asked, with Holm's correction
over the dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metier.evaluation.files import RESULTS, read_evaluations
from metier.evaluation.measures import MEASURES
from metier.evaluation.metrics import unknown
from metier.evaluation.results import Estimate, Evaluation, Item
from metier.evaluation.significance.paired import Resampling, mean_score, paired_difference
from metier.evaluation.statistics import CONFIDENCE, holm, wilson_interval
from metier.evaluation.swap_values import BASE_COPIES, COPIES, MOVED, SwapChange, SwapReport
from metier.recipe.tasks import WRITES

Floats = npt.NDArray[np.float64]
NO_PROBABILITIES = "its answers have no probabilities"
MORE, LESS, NO_EVIDENCE, NOT_COMPARED = "more", "less", "no evidence", "not compared"


@dataclass(frozen=True, kw_only=True, eq=False)
class SwappedAnswers:
    """One system's answers to the copies of one dimension."""

    copies: Evaluation
    """The gold of an item is the system's own answer to the original."""
    moved: Mapping[str, float]
    """By id: log-probability of that answer after the copy minus after the original, in nats; of written answers a
    token's mean. Without those that have none."""


def moves_of_labels(originals: Sequence[Item], copies: Sequence[Item]) -> dict[str, float]:
    """By id how far the log-probability of a system's own answer moved, where answers are labels.

    Args:
        originals: Its answers to the originals.
        copies: Its answers to copies; their gold is its own answer to the original.
    """
    before = {item.id: item.label_logprobs for item in originals}
    found: dict[str, float] = {}
    for item in copies:
        first, second = before.get(item.id), item.label_logprobs
        if first is not None and second is not None and item.gold in first and item.gold in second:
            found[item.id] = second[item.gold] - first[item.gold]
    return found


def swapped(copies: Evaluation, originals: Sequence[Item]) -> SwappedAnswers:
    """A system's answers to copies as they are compared: what the item rows say, and nothing else.

    Args:
        copies: Its answers; the gold of an item is its own answer to the original.
        originals: Its answers to the originals.
    """
    if copies.task in WRITES:
        moved = {item.id: item.counts[MOVED][0] for item in copies.items if MOVED in item.counts}
    else:
        moved = moves_of_labels(originals, copies.items)
    return SwappedAnswers(copies=copies, moved=moved)


def swaps_again(folder: Path, reported: SwapReport, candidate: str, systems: Mapping[str, Evaluation]) -> SwapReport:
    """What a finished set's item rows say of all copies that lie beside it.

    Args:
        folder: The evaluation folder of the set; those of the copies lie beside it.
        reported: What was reported: which system is the base, and why there is none.
        candidate: Name of the promoted system.
        systems: The set's systems by name, with items.

    Raises:
        RunFolderError: A file is missing or damaged.
    """

    def asked(prefix: str, name: str) -> dict[str, SwappedAnswers]:
        places = sorted(path.parent for path in folder.parent.glob(f"{prefix}*/{RESULTS}"))
        found = [each for place in places for each in read_evaluations(place, systems=[name])]
        originals = systems[name].items if name in systems else ()
        return {str(each.settings.get("dimension", each.set)): swapped(each, originals) for each in found}

    base = None if reported.base is None else (reported.base, asked(BASE_COPIES, reported.base))
    how = Resampling(resamples=systems[candidate].resamples, seed=systems[candidate].seed)
    return report_swaps(candidate, asked(COPIES, candidate), base, reported.reason if base is None else None, how)


def report_swaps(
    system: str,
    tuned: Mapping[str, SwappedAnswers],
    base: tuple[str, Mapping[str, SwappedAnswers]] | None,
    reason: str | None = None,
    how: Resampling | None = None,
) -> SwapReport:
    """All dimensions of one system, beside the base.

    Args:
        system: Name of the promoted system.
        tuned: Its answers, by dimension.
        base: Name and answers of what it is compared with. None: nothing was asked.
        reason: Why not.
        how: Resamples and coverage. None: the defaults.
    """
    how = how or Resampling()
    theirs = {} if base is None else base[1]
    rows = [_row(dimension, each, theirs.get(dimension), how) for dimension, each in sorted(tuned.items())]
    corrected = holm([row.p_value for row in rows])
    rows = [
        replace(row, p_holm=p, verdict=row.verdict if p is None else _verdict(row.change, p))
        for row, p in zip(rows, corrected, strict=True)
    ]
    name = None if base is None else base[0]
    return SwapReport(
        system=system, base=name, dimensions=tuple(rows), sentence=_sentence(rows, name), reason=reason
    )  # fmt: skip


def _row(dimension: str, ours: SwappedAnswers, theirs: SwappedAnswers | None, how: Resampling) -> SwapChange:
    row = SwapChange(
        dimension=dimension, n=ours.copies.n, changed=_share(ours.copies, how), moved=_moved(ours, how),
        base_changed=None if theirs is None else _share(theirs.copies, how),
        base_moved=None if theirs is None else _moved(theirs, how),
        change=None, p_value=None, p_holm=None, moved_change=None, verdict=NOT_COMPARED,
    )  # fmt: skip
    if theirs is None:
        return row
    first, second = _flips(ours.copies), _flips(theirs.copies)
    both = [item for item in ours.copies.items if item.id in second]
    if not both:
        return replace(row, change=unknown(0, "no copy was asked of both"))
    groups = _groups(both)
    change, p_value = paired_difference(_column(first, both), _column(second, both), groups, how)
    known = [item for item in both if item.id in ours.moved and item.id in theirs.moved]
    moved = unknown(0, NO_PROBABILITIES)
    if known:
        mine, others = (np.abs(_column(each.moved, known)) for each in (ours, theirs))
        moved, _ = paired_difference(mine, others, _groups(known), how)
    return replace(row, change=change, p_value=p_value, moved_change=moved)


def _flips(copies: Evaluation) -> dict[str, float]:
    """By id 1 where the answer changed."""
    stays = MEASURES[copies.task].is_right
    return {item.id: 0.0 if stays(item) else 1.0 for item in copies.items}


def _share(copies: Evaluation, how: Resampling) -> Estimate:
    """Share of answers that changed, with Wilson's interval, or a resampled one where groups vary together."""
    flips, groups = _column(_flips(copies), copies.items), _groups(copies.items)
    if groups is not None:
        return mean_score(flips, groups, how)
    low, high = wilson_interval(float(flips.sum()), len(flips), how.confidence)
    return Estimate(value=float(flips.mean()), low=low, high=high, n=len(flips), method="wilson")


def _moved(ours: SwappedAnswers, how: Resampling) -> Estimate:
    known = [item for item in ours.copies.items if item.id in ours.moved]
    if not known:
        return unknown(0, NO_PROBABILITIES)
    return mean_score(np.array([abs(ours.moved[item.id]) for item in known]), _groups(known), how)


def _column(values: Mapping[str, float], items: Sequence[Item]) -> Floats:
    return np.array([values[item.id] for item in items], np.float64)


def _groups(items: Sequence[Item]) -> npt.NDArray[np.int64] | None:
    """A number for each item's group; None where no two items have the same."""
    names = [item.group if item.group is not None else f"alone {number}" for number, item in enumerate(items)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return None if len(numbers) == len(names) else np.array([numbers[name] for name in names], np.int64)


def _verdict(change: Estimate | None, p_holm: float) -> str:
    if change is None or change.value is None or p_holm > 1 - CONFIDENCE:
        return NO_EVIDENCE
    return MORE if change.value > 0 else LESS


def _sentence(rows: Sequence[SwapChange], base: str | None) -> str:
    if not rows:
        return "No record speaks of a group that can be swapped."
    said = ", ".join(
        f"{row.dimension} {row.changed.value:.1%} of {row.n:,}" for row in rows if row.changed.value is not None
    )
    first = f"Answers that change when records speak of another group: {said}."
    if base is None:
        return first
    more = [row.dimension for row in rows if row.verdict == MORE]
    less = [row.dimension for row in rows if row.verdict == LESS]
    if not more and not less:
        return f"{first} No evidence that training changed that (against {base}, Holm over {len(rows)})."
    parts = [
        f"{word} than {base} in {', '.join(names)}"
        for word, names in (("more often", more), ("less often", less))
        if names
    ]
    return f"{first} They change {' and '.join(parts)}."
