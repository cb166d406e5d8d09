"""Drawing test and validation: by hash, so that adding rows never moves an old row, or by time.

A cluster (rows of one group, or copies of one text) goes where the hash of seed and cluster says. The
one exception is a label that would otherwise be without a row on one side; it is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.roster import ALONE, Dropped, Places, Roster, pick

_FEW = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """A split drawn from examples, both sides in their old order."""

    rest: Places
    drawn: Places
    given: tuple[str, ...] = ()
    """Labels that were without a drawn row and got one."""
    kept: tuple[str, ...] = ()
    """Labels that were drawn as a whole and left a row behind."""


def unit_hash(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7]) / 2**56


def draw_split(roster: Roster, places: Places, *, share: float, seed: int, name: str) -> Draw:
    """Draw about `share` of the clusters.

    A label all of whose clusters were drawn gets one back; a label with three clusters or more and none
    drawn gives the one with the smallest hash, unless that would take another label's last one.

    Args:
        roster: All examples.
        places: What to draw from.
        share: Share of clusters, 0 to 1.
        seed: The recipe's seed.
        name: The split's name; each name draws on its own.
    """
    _, first, cluster = np.unique(roster.cluster(places), return_index=True, return_inverse=True)

    def name_of(number: int) -> str:
        return roster.cluster_name(int(places[first[number]]))

    # One by one: the names of two million clusters would take more room than all that is known of them.
    hashes = np.fromiter((unit_hash(seed, name, name_of(each)) for each in range(len(first))), np.float64, len(first))
    strata = Strata.of(roster, places, cluster.reshape(-1))
    drawn = hashes < share

    def in_order(clusters: NDArray[np.int64]) -> list[int]:
        return sorted(clusters.tolist(), key=lambda number: (hashes[number], name_of(number)))

    kept, given = [], []
    for label, clusters in strata:
        if drawn[clusters].all():
            drawn[in_order(clusters)[-1]] = False
            kept.append(label)
    for label, clusters in strata:
        rest = clusters[~drawn[clusters]]
        if len(rest) < _FEW or len(rest) < len(clusters):
            continue
        for number in in_order(rest):
            if all((~drawn[strata.clusters_of(other)]).sum() > 1 for other in strata.labels_of(number)):
                drawn[number] = True
                given.append(label)
                break
    taken, rest_of = pick(places, drawn[cluster.reshape(-1)])
    return Draw(rest=rest_of, drawn=taken, given=tuple(given), kept=tuple(kept))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A split taken from the newest examples, both sides in their old order."""

    rest: Places
    drawn: Places
    since: float
    """Date from which on examples were taken, in seconds since 1970; a group counts by its last one."""


def cut_by_time(roster: Roster, places: Places, *, share: float) -> Cut | None:
    """Take the newest examples, about `share` of all: as near to it as whole dates allow.

    Examples of one date stay together; those of a group too, by its last date. Copies of a text need not: what becomes
    of the older ones is a matter of leaks. Unlike a draw by hash, the boundary moves when rows are added.

    Args:
        roster: All examples.
        places: What to take from; each has a date.
        share: Share of examples, 0 to 1.

    Returns:
        Both sides; None where all have one date.
    """
    alone = roster.group[places] == ALONE
    own = np.where(alone, -1 - np.arange(len(places)), roster.group[places].astype(np.int64))
    _, unit = np.unique(own, return_inverse=True)
    last = np.full(len(places), -np.inf)
    np.maximum.at(last, unit, roster.when[places])
    dates, counts = np.unique(last[unit], return_counts=True)
    if len(dates) < 2:
        return None
    taken = np.cumsum(counts[::-1])[:-1]
    since = float(dates[::-1][int(np.argmin(np.abs(taken - share * len(places))))])
    drawn, rest = pick(places, last[unit] >= since)
    return Cut(rest=rest, drawn=drawn, since=since)


@dataclass(frozen=True, eq=False)
class Strata:
    """Which clusters hold examples of which label."""

    labels: list[tuple[str, int]]
    """Sorted by name, with their number."""
    pairs: NDArray[np.int64]
    """Each label and cluster once, sorted; shape (n, 2)."""
    by_cluster: NDArray[np.int64]
    """The same, sorted by cluster."""

    @staticmethod
    def of(roster: Roster, places: Places, cluster: NDArray[np.int64]) -> Strata:
        """Look at `places`, whose clusters are numbers from 0, each used."""
        pairs = np.unique(np.stack([roster.stratum[places].astype(np.int64), cluster], axis=1), axis=0)
        labels = sorted((roster.strata[number], number) for number in np.unique(pairs[:, 0]).tolist())
        return Strata(labels, pairs, pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))])

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Each label with its clusters, by name."""
        return ((label, self.clusters_of(number)) for label, number in self.labels)

    def clusters_of(self, label: int) -> NDArray[np.int64]:
        """The clusters with an example of a label."""
        start, end = np.searchsorted(self.pairs[:, 0], [label, label + 1])
        return self.pairs[start:end, 1]

    def labels_of(self, cluster: int) -> list[int]:
        """The labels of a cluster's examples."""
        start, end = np.searchsorted(self.by_cluster[:, 1], [cluster, cluster + 1])
        found: list[int] = self.by_cluster[start:end, 0].tolist()
        return found


def keep_per_label(roster: Roster, places: Places, limit: int, *, seed: int) -> tuple[Places, list[Dropped]]:
    """Keep at most `limit` examples of each label, those with the smallest hashes."""
    strata, kept = roster.stratum[places], []
    for label in np.unique(strata):
        kept.append(_smallest(roster, places[strata == label], limit, seed))
    return _divide(places, np.concatenate(kept), "over examples_per_label", f"more than {limit} examples of its label")


def keep_most(roster: Roster, places: Places, limit: int, *, seed: int, field: str) -> tuple[Places, list[Dropped]]:
    """Keep at most `limit` examples, those with the smallest hashes.

    Args:
        roster: All examples.
        places: A split.
        limit: How many.
        seed: The recipe's seed.
        field: The recipe's field that says so, for the reason.
    """
    return _divide(places, _smallest(roster, places, limit, seed), f"over {field}", f"more than {limit} examples")


def _smallest(roster: Roster, places: Places, limit: int, seed: int) -> Places:
    ids = [roster.id_of(place) for place in places.tolist()]
    ranked = sorted(range(len(ids)), key=lambda number: (unit_hash(seed, "keep", ids[number]), ids[number]))
    return places[np.array(ranked[:limit], np.int64)]


def _divide(places: Places, kept: Places, reason: str, detail: str) -> tuple[Places, list[Dropped]]:
    stay, gone = pick(places, np.isin(places, kept))
    return stay, [Dropped(place=place, reason=reason, detail=detail) for place in gone.tolist()]
