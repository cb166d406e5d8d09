"""Outliers: rows whose text has little in common with the other rows of their label.

From texts: cosine of a row's TF-IDF with the mean of its label's other rows, words that the data hardly has
included, as a logarithm: to share a tenth of what is usual is as odd wherever the usual lies. From given features:
distance to the mean of the label's other rows. Both are scaled by the label's own median and median deviation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.folds import NOT_LOOKED, order_of
from metier.data.cleaning.ngrams import Ints, row_batches
from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.data.cleaning.text_features import TextFeatures, fit_features
from metier.data.table import counted
from metier.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

STEP = "outliers"
VERSION = 1
REASON = "outlier"
FLOOR = 1e-3
"""Least cosine: below it, nothing at all is shared."""
MOST_NUMBERS = 1 << 23
"""Numbers of the labels' mean rows: with many labels fewer features are kept."""
_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, of a normal distribution."""
_LARGEST_TABLE = 30

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OutlierSettings:
    """What counts as far away."""

    far: float = 5.0
    """Robust standard deviations beyond the label's median from which on a row is doubted."""
    fewest: int = 10
    """A label with fewer rows is not looked at: it has no usual distance."""
    learn_from: int = 20_000
    """Rows at most that features are chosen on; all rows are measured."""
    splits: tuple[str, ...] = ("train", "validation", "unsplit")
    """Which splits are measured."""
    most_doubts: int = 20_000
    """Doubts given at most, the farthest; the rest is only counted."""
    seed: int = 17


def screen_outliers(
    rows: Rows, settings: OutlierSettings | None = None, *, features: npt.NDArray[np.floating] | None = None
) -> Finding:
    """Doubt rows that are far from the others of their label; rows with written answers are one label.

    Args:
        rows: All rows.
        settings: What is far.
        features: One row of numbers a key, shape (rows, features), instead of the texts.

    Raises:
        DataError: `features` has not one row for each of `rows`.
    """
    settings = settings or OutlierSettings()
    started = time.perf_counter()
    if features is not None and len(features) != len(rows):
        raise DataError("features", f"there are {len(features):,}", f"one for each of {counted(len(rows), 'row')}")
    names, label = _labels(rows, settings)
    size = np.bincount(label[label != NOT_LOOKED], minlength=len(names))
    keys = np.flatnonzero((label != NOT_LOOKED) & (np.append(size, 0)[label] >= settings.fewest))
    if not len(keys):
        return Finding(step=STEP, version=VERSION, looked_at=0, notes=_notes(len(rows), 0, size, settings))
    if features is not None:
        oddness = _distances(features, label, keys, len(names))
    else:
        oddness = -np.log(np.maximum(_cosines(rows, label, keys, len(names), settings), FLOOR))
    beyond, usual = _scaled(oddness, label[keys], len(names))
    far = np.flatnonzero(beyond >= settings.far)
    shown = np.sort(far[np.lexsort((keys[far], -beyond[far]))][: settings.most_doubts])
    notes = [*_notes(len(rows), len(keys), size, settings)]
    if len(shown) < len(far):
        notes.append(f"{counted(len(far) - len(shown), 'doubt')} beyond the farthest {len(shown):,} only counted")
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(keys),
        doubts=tuple(
            Doubt(
                key=int(keys[place]),
                step=STEP,
                reason=REASON,
                detail=(
                    f"{beyond[place]:.1f} robust standard deviations farther from the other rows"
                    f"{_of(names, label[keys[place]])} than their median"
                ),
                score=round(float(1 - settings.far / (2 * beyond[place])), 4),
            )
            for place in shown
        ),
        counts={REASON: len(far)},
        tables={"outliers by label": _table(names, label[keys], far, usual)} if len(far) else {},
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


def _labels(rows: Rows, settings: OutlierSettings) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Label names, and each row's place among them; "" for rows without a label."""
    ids: dict[str, int] = {}
    label = np.full(len(rows), NOT_LOOKED, dtype=np.int32)
    for row in rows:
        if row.split in settings.splits and row.text:
            label[row.key] = ids.setdefault(row.answer if row.labelled else "", len(ids))
    return list(ids), label


def _cosines(rows: Rows, label: npt.NDArray[np.int32], keys: Ints, labels: int, settings: OutlierSettings) -> Floats:
    """Cosine of each row with the mean of its label's other rows, shape (keys,)."""
    columns = int(np.clip(MOST_NUMBERS // labels, 1 << 12, 1 << 15))
    sample = np.sort(keys[np.argsort(order_of(keys, settings.seed), kind="stable")][: settings.learn_from])
    features, _ = fit_features(rows, sample, columns=columns)
    wanted = np.zeros(len(rows), dtype=np.bool_)
    wanted[keys] = True
    sums = np.zeros((labels, len(features.idf)), dtype=np.float32)
    for place, matrix in _matrices(rows, wanted, features):
        entry = np.repeat(label[place], np.diff(matrix.indptr))
        np.add.at(sums, (entry, matrix.indices), matrix.data)
    lengths = np.einsum("ij,ij->i", sums, sums, dtype=np.float64)
    cosine = np.zeros(len(rows))
    for place, matrix in _matrices(rows, wanted, features):
        at = np.repeat(np.arange(len(place)), np.diff(matrix.indptr))
        products = matrix.data.astype(np.float64) * sums[label[place][at], matrix.indices]
        with_all = np.bincount(at, weights=products, minlength=len(place))
        own = np.bincount(at, weights=matrix.data.astype(np.float64) ** 2, minlength=len(place))
        # The sum without the row itself: s - x, so (s - x)x = sx - xx and |s - x|^2 = ss - 2sx + xx.
        rest = np.sqrt(np.maximum(lengths[label[place]] - 2 * with_all + own, 1e-12))
        cosine[place] = (with_all - own) / rest
    result: Floats = cosine[keys]
    return result


def _matrices(rows: Rows, wanted: npt.NDArray[np.bool_], features: TextFeatures) -> Iterator[tuple[Ints, csr_matrix]]:
    for batch in row_batches(rows, wanted):
        yield np.array([row.key for row in batch]), features.rows_of([row.text for row in batch], scale="all")


def _distances(features: npt.NDArray[np.floating], label: npt.NDArray[np.int32], keys: Ints, labels: int) -> Floats:
    """Distance of each row to the mean of its label's other rows, features scaled to the same spread."""
    mine = features[keys].astype(np.float64)
    mine = (mine - mine.mean(axis=0)) / np.maximum(mine.std(axis=0), 1e-9)
    size = np.bincount(label[keys], minlength=labels)[:, None]
    sums = np.zeros((labels, mine.shape[1]))
    np.add.at(sums, label[keys], mine)
    others = (sums[label[keys]] - mine) / np.maximum(size[label[keys]] - 1, 1)
    result: Floats = np.linalg.norm(mine - others, axis=1)
    return result


def _scaled(oddness: Floats, label: npt.NDArray[np.int32], labels: int) -> tuple[Floats, Floats]:
    """Robust standard deviations beyond each label's median, and those medians."""
    order = np.lexsort((oddness, label))
    starts = np.searchsorted(label[order], np.arange(labels + 1))
    beyond, medians = np.zeros(len(oddness)), np.zeros(labels)
    for at in range(labels):
        part = order[starts[at] : starts[at + 1]]
        if len(part):
            medians[at] = np.median(oddness[part])
            spread = _TO_SIGMA * np.median(np.abs(oddness[part] - medians[at]))
            # A label of copies has no spread: what differs there by a hundredth is not far.
            beyond[part] = (oddness[part] - medians[at]) / max(spread, 0.01)
    return beyond, medians


def _of(names: Sequence[str], label: int) -> str:
    return f" of `{names[label]}`" if names[label] else ""


def _table(
    names: Sequence[str], label: npt.NDArray[np.int32], far: Ints, usual: Floats
) -> Sequence[Mapping[str, object]]:
    rows, odd = np.bincount(label, minlength=len(names)), np.bincount(label[far], minlength=len(names))
    order = np.lexsort((np.arange(len(names)), -odd))[:_LARGEST_TABLE]
    return [
        {
            "label": names[at] or None,
            "rows": int(rows[at]),
            "outliers": int(odd[at]),
            "median": round(float(usual[at]), 3),
        }
        for at in order
        if odd[at]
    ]  # fmt: skip


def _notes(count: int, looked_at: int, size: Ints, settings: OutlierSettings) -> tuple[str, ...]:
    notes = []
    small = int(size[size < settings.fewest].sum())
    if small:
        notes.append(f"{counted(small, 'row')} of labels with fewer than {settings.fewest} rows not measured")
    if count - looked_at - small:
        where = ", ".join(settings.splits)
        notes.append(f"{counted(count - looked_at - small, 'row')} not measured: empty, or in no split of {where}")
    return tuple(notes)
