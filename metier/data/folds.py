"""Folds of train and validation for cross-validation: by hash, as splits are drawn, so that adding rows moves nobody.

A cluster (rows of one group, copies and near copies of one text) goes into the fold that the hash of seed and its first
row says; labels are balanced as far as even hashes balance them. Two exceptions: a label that a fold would lack though
it has clusters enough, or that would lie in one fold alone, which is reported; and a new row that is nearly like rows
of two clusters, which become one. Folds know nothing of time: with `data.time` they
still hold rows of all dates of train and validation, and no fold is newer than what the others would train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.folds import joined
from metier.data.roster import Places, Roster
from metier.data.splitting import Strata, unit_hash
from metier.data.table import counted
from metier.errors import DataError

FILE = "folds.parquet"
"""Name of the file in a run's data folder; its columns: `id` of the record, `fold` from 0."""
_PIECE = 65_536


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Examples and their folds, both of shape (n,)."""

    places: Places
    fold: NDArray[np.int16]
    """From 0."""
    count: int
    moved: tuple[str, ...] = ()
    """Labels of which a cluster was moved, as a fold had none of it or one fold had all."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Examples of each fold."""
        return tuple(np.bincount(self.fold, minlength=self.count).tolist())

    def notices(self, time: str | None = None) -> list[str]:
        """What should be said about them.

        Args:
            time: `data.time`.
        """
        sizes = self.sizes
        said = [f"{self.count} folds of train and validation, {min(sizes):,} to {max(sizes):,} rows each (data.folds)"]
        if self.moved:
            names = ", ".join(f"`{label}`" for label in self.moved[:12] if label) or "rows"
            more = f" and {len(self.moved) - 12} more labels" if len(self.moved) > 12 else ""
            said.append(
                f"folds: clusters of {names}{more} were moved, so that no fold lacks what others have (the one "
                "exception to folds that stay as they are when data is added)"
            )
        if time is not None:
            said.append("folds know nothing of data.time: each holds rows of all dates of train and validation")
        return said


def draw_folds(
    roster: Roster, places: Places, *, count: int, seed: int, near: NDArray[np.int32] | None = None
) -> Folds:
    """Deal examples into folds.

    Args:
        roster: All examples.
        places: Train and validation.
        count: How many folds, 2 or more.
        seed: The recipe's seed.
        near: Of each example of the roster the number of its cluster of nearly equal texts, -1 where that is not known.
            None: nearly equal texts are not kept together.

    Raises:
        DataError: There are fewer clusters than folds.
    """
    whole = roster.cluster(places) if near is None else _with_near(roster.cluster(places), near[places])
    _, first, back = np.unique(whole, return_index=True, return_inverse=True)
    cluster = back.reshape(-1)
    names = [roster.cluster_name(place) for place in places[first].tolist()]
    if len(names) < count:
        found = f"is {count}, but train and validation have {counted(len(names), 'group')} of rows to keep together"
        raise DataError("data.folds", found, f"at most {len(names)}", "Give more rows, or fewer folds.")
    hashes = np.array([unit_hash(seed, "fold", name) for name in names])
    fold = np.minimum((hashes * count).astype(np.int16), count - 1)
    strata = Strata.of(roster, places, cluster)
    order = np.argsort(hashes, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    moved = [label for label, clusters in strata if _fill(fold, clusters, rank, strata, count)]
    return Folds(places=places, fold=fold[cluster], count=count, moved=tuple(moved))


def _with_near(cluster: NDArray[np.int64], near: NDArray[np.int32]) -> NDArray[np.int64]:
    """Clusters that hang together through nearly equal texts as one, shape (n,)."""
    count = len(cluster)
    # Texts of which nothing is known are like no other.
    alone = np.where(near < 0, np.arange(count) + int(near.max(initial=0)) + 1, near)
    codes = [np.unique(each, return_inverse=True)[1].reshape(-1).astype(np.uint64) for each in (cluster, alone)]
    return joined(count, codes).astype(np.int64)


def _fill(
    fold: NDArray[np.int16], clusters: NDArray[np.int64], rank: NDArray[np.int64], strata: Strata, count: int
) -> bool:
    """Move clusters of a label into folds that lack it, as far as no other label loses by that; whether any moved.

    Args:
        fold: Of each cluster; changed.
        clusters: Those with the label.
        rank: Of each cluster: its place in the order of hashes.
        strata: Which clusters hold which label.
        count: How many folds.
    """
    wanted = count if len(clusters) >= count else min(2, len(clusters))
    moved = False
    for _ in range(count):
        sizes = np.bincount(fold[clusters], minlength=count)
        if (sizes > 0).sum() >= wanted:
            break
        fullest = int(np.argmax(sizes))
        mine = clusters[fold[clusters] == fullest]
        goes = next((each for each in mine[np.argsort(rank[mine])].tolist() if _spared(fold, each, strata)), None)
        if goes is None:
            break
        fold[goes] = int(np.argmin(sizes))
        moved = True
    return moved


def _spared(fold: NDArray[np.int16], cluster: int, strata: Strata) -> bool:
    """Whether each label of a cluster has another cluster in its fold."""
    return all((fold[strata.clusters_of(label)] == fold[cluster]).sum() > 1 for label in strata.labels_of(cluster))


def write_folds(folder: Path, roster: Roster, folds: Folds) -> None:
    """Write `folds.parquet`.

    Args:
        folder: The run's data folder.
        roster: All examples.
        folds: Those of train and validation.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    schema = pa.schema([("id", pa.string()), ("fold", pa.int16())])
    with pq.ParquetWriter(folder / FILE, schema, compression="zstd") as file:
        for start in range(0, len(folds.places), _PIECE):
            places, numbers = folds.places[start : start + _PIECE], folds.fold[start : start + _PIECE]
            ids = [roster.id_of(place) for place in places.tolist()]
            file.write_table(pa.table({"id": ids, "fold": numbers}, schema=schema))
