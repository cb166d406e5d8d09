"""Confident learning: which labels are probably wrong, by probabilities that were made without them.

Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels" (arXiv 1911.00068). A label's
threshold is the mean probability it has in rows that carry it; a row is counted as (label given, label it confidently
has); the counts are scaled to the labels' rows; from every off-diagonal one that many rows are picked, those with the
largest margin (the paper's "prune by noise rate"). Two rules are those of the library cleanlab: at least one row of
every label counts as right, and a row whose own label is the most probable one is not doubted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import Bools, Ints
from metier.data.cleaning.out_of_fold import Chances

SLACK = 1e-6
"""A probability that equals the threshold but for rounding reaches it."""


@dataclass(frozen=True, kw_only=True)
class Doubted:
    """What confident learning says; arrays over the rows of `Chances`."""

    wrong: Bools
    """Whether the label is probably wrong."""
    score: npt.NDArray[np.float32]
    """1 - probability of the own label, so from 0 (surely right) to 1 (surely wrong); 0 where it was not learned.

    It ranks better than the margin to the best other label where texts are long and labels overlap.
    """
    better: npt.NDArray[np.int32]
    """Place in `names` of the most probable other label."""
    chance: npt.NDArray[np.float32]
    """Its probability."""
    joint: Ints
    """Rows by label given and label that they confidently have, shape (labels, labels)."""


def doubt_labels(chances: Chances, *, fewest: int = 1) -> Doubted:
    """Find the labels that are probably wrong.

    Args:
        chances: Out-of-fold probabilities; rows of labels that were not learned are never doubted.
        fewest: Rows of each label that are left at least. A label with no more rows than this is not doubted.
    """
    thresholds = confident_thresholds(chances)
    joint = confident_joint(chances, thresholds)
    is_other = chances.likely != chances.given[:, None]
    best = np.argmax(is_other, axis=1)[:, None]
    better = np.take_along_axis(chances.likely, best, axis=1)[:, 0]
    other = np.take_along_axis(chances.chance, best, axis=1)[:, 0]
    judged = chances.given >= 0
    rows = np.bincount(chances.given[judged], minlength=len(chances.names))
    pick = _kept_above(calibrated_joint(joint, rows), fewest)
    wrong = _prune(chances, pick, fewest) & judged & (other > chances.own)
    score = np.where(judged, np.clip(1 - chances.own, 0, 1), 0).astype(np.float32)
    return Doubted(wrong=wrong, score=score, better=better, chance=other, joint=joint)


def confident_thresholds(chances: Chances) -> npt.NDArray[np.float64]:
    """Mean probability of each label over the rows that carry it, shape (labels,); 2 (never reached) without rows."""
    judged = chances.given >= 0
    labels = len(chances.names)
    rows = np.bincount(chances.given[judged], minlength=labels)
    total = np.bincount(chances.given[judged], weights=chances.own[judged].astype(np.float64), minlength=labels)
    return np.where(rows > 0, np.maximum(total / np.maximum(rows, 1), 2 * SLACK), 2.0)


def confident_joint(chances: Chances, thresholds: npt.NDArray[np.float64]) -> Ints:
    """Rows by label given and by the one label whose threshold they reach, shape (labels, labels).

    Where several are reached the most probable label counts; rows that reach none count nowhere.

    Args:
        chances: Out-of-fold probabilities.
        thresholds: Of each label.
    """
    labels = len(chances.names)
    reached = chances.chance >= thresholds[chances.likely] - SLACK
    first = np.where(reached.sum(axis=1) > 1, 0, np.argmax(reached, axis=1))[:, None]
    has = np.take_along_axis(chances.likely, first, axis=1)[:, 0].astype(np.int64)
    counts = reached.any(axis=1) & (chances.given >= 0)
    pairs = chances.given[counts].astype(np.int64) * labels + has[counts]
    joint: Ints = np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint


def calibrated_joint(joint: Ints, rows: Ints) -> Ints:
    """The joint scaled so that each label's counts add up to its rows (equation 3 of the paper), in whole numbers.

    Args:
        joint: From `confident_joint`.
        rows: Rows with each label given, shape (labels,).
    """
    scaled = joint / joint.sum(axis=1, keepdims=True) * rows[:, None]
    whole = np.floor(scaled).astype(np.int64)
    # What rounding down lost goes to the largest remainders of each label.
    lost = np.rint(rows - whole.sum(axis=1)).astype(np.int64)
    order = np.argsort(-(scaled - whole), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    result: Ints = whole + (rank < lost[:, None])
    return result


def _kept_above(joint: Ints, fewest: int) -> Ints:
    """How many rows to pick from each off-diagonal count, so that `fewest` of each label count as right."""
    lacking = np.maximum(fewest - joint.diagonal(), 0)
    off = np.count_nonzero(joint, axis=1) - 1
    pick = joint - (lacking / np.maximum(off, 1))[:, None]
    np.fill_diagonal(pick, 0)
    result: Ints = np.maximum(np.rint(pick), 0).astype(np.int64)
    return result


def _prune(chances: Chances, pick: Ints, fewest: int) -> Bools:
    """For each (given, other): the `pick` rows with the largest probability of other less that of given."""
    wrong = np.zeros(len(chances.given), dtype=np.bool_)
    by_label = np.argsort(chances.given, kind="stable")
    edges = np.searchsorted(chances.given[by_label], np.arange(len(chances.names) + 1))
    for label in np.flatnonzero(pick.any(axis=1)):
        rows = by_label[edges[label] : edges[label + 1]]
        if len(rows) <= fewest:
            continue
        row, column = np.nonzero(pick[label][chances.likely[rows]] > 0)
        other = chances.likely[rows[row], column]
        margin = chances.chance[rows[row], column] - chances.own[rows[row]]
        order = np.lexsort((-margin, other))
        starts = np.searchsorted(other[order], np.arange(len(chances.names)))
        rank = np.arange(len(order)) - starts[other[order]]
        picked = order[rank < pick[label][other[order]]]
        wrong[rows[row[picked]]] = True
    return wrong
