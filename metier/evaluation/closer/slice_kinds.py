"""How items fall into slices: one row of `SLICES` for each kind.

To add one: write a function from `Sliced` to the slice of every item (None: in no slice of this kind, or the whole
kind None: not known), and give it a row. Only numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.evaluation.results import Item

Floats = npt.NDArray[np.float64]
MOST_SLICES = 50
"""Slices of one kind; rarer ones are not looked at alone."""
LENGTH_PARTS = 4
"""Slices by length: quarters of the items."""
CLUSTERS = 8
"""Clusters of feature vectors; fewer where there are not `ITEMS_A_CLUSTER` items for each."""
ITEMS_A_CLUSTER = 20
ROUNDS = 50
"""Rounds of Lloyd's algorithm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sliced:
    """What is known of the items that are sliced."""

    items: Sequence[Item]
    lengths: Sequence[int] | None = None
    """Length of each input, in `length_unit`. None: not known."""
    length_unit: str = "words"
    languages: Sequence[str | None] | None = None
    """Language code of each input. None: not known."""
    features: npt.NDArray[np.floating] | None = None
    """A vector for each input, shape (items, dimensions), for clusters. None: not known."""
    columns: Mapping[str, Sequence[str | None]] | None = None
    """The user's own columns: name to the value of each item."""
    seed: int = 17


Names = Sequence[str | None]
Slicer = Callable[[Sliced], Names | None]


def _by_label(sliced: Sliced) -> Names:
    return [item.gold for item in sliced.items]


def _by_source(sliced: Sliced) -> Names:
    return [item.source for item in sliced.items]


def _by_group(sliced: Sliced) -> Names | None:
    names = [item.group for item in sliced.items]
    return names if any(name is not None for name in names) else None


def _by_language(sliced: Sliced) -> Names | None:
    return sliced.languages


def _by_length(sliced: Sliced) -> Names | None:
    """Quarters of the items by length; equal lengths share a slice."""
    if sliced.lengths is None:
        return None
    lengths = np.asarray(sliced.lengths, dtype=np.float64)
    cuts = np.unique(np.quantile(lengths, np.arange(1, LENGTH_PARTS) / LENGTH_PARTS, method="inverted_cdf"))
    part = np.searchsorted(cuts, lengths, side="left")
    named = {}
    for each in np.unique(part):
        inside = lengths[part == each]
        low, high = int(inside.min()), int(inside.max())
        named[int(each)] = f"{low} to {high} {sliced.length_unit}" if low < high else f"{low} {sliced.length_unit}"
    return [named[int(each)] for each in part]


def _by_cluster(sliced: Sliced) -> Names | None:
    """Clusters of similar inputs, named by size: cluster 1 is the largest."""
    if sliced.features is None or len(sliced.items) < 2 * ITEMS_A_CLUSTER:
        return None
    most = min(CLUSTERS, len(sliced.items) // ITEMS_A_CLUSTER)
    found = cluster_vectors(sliced.features, most, sliced.seed)
    often = Counter(found.tolist())
    rank = {cluster: place + 1 for place, cluster in enumerate(sorted(often, key=lambda each: (-often[each], each)))}
    return [f"cluster {rank[int(each)]}" for each in found]


SLICES: Mapping[str, Slicer] = {
    "label": _by_label,
    "length": _by_length,
    "language": _by_language,
    "source": _by_source,
    "group": _by_group,
    "cluster": _by_cluster,
}
"""Kind of slice -> the slice of every item."""


def slices_of(sliced: Sliced, kinds: Sequence[str] | None = None) -> dict[str, list[str | None]]:
    """The slice of every item, by kind: what is known, has at least two slices, and the user's own columns.

    Args:
        sliced: The items.
        kinds: Names out of `SLICES` or of the user's columns. None: all.
    """
    found: dict[str, list[str | None]] = {}
    for kind, slicer in SLICES.items():
        if (kinds is None or kind in kinds) and (names := slicer(sliced)) is not None:
            found[kind] = _frequent(names)
    for name, values in (sliced.columns or {}).items():
        if kinds is None or name in kinds:
            found[name] = _frequent(values)
    return {kind: names for kind, names in found.items() if len({name for name in names if name is not None}) > 1}


def _frequent(names: Names) -> list[str | None]:
    """The names, rarer ones beyond `MOST_SLICES` as None."""
    often = Counter(name for name in names if name is not None)
    kept = set(sorted(often, key=lambda name: (-often[name], name))[:MOST_SLICES])
    return [name if name in kept else None for name in names]


def cluster_vectors(features: npt.NDArray[np.floating], clusters: int, seed: int) -> npt.NDArray[np.int64]:
    """Clusters of directions by k-means (Lloyd 1982) from k-means++ starts (Arthur and Vassilvitskii 2007).

    Args:
        features: Shape (items, dimensions); compared by angle, so their length does not matter.
        clusters: How many, at least 1.
        seed: Seed of the starts; the same seed and vectors give the same clusters.

    Returns:
        The cluster of each item, from 0, shape (items,).
    """
    points = np.asarray(features, dtype=np.float64)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    generator = np.random.default_rng(seed)
    centres = points[[int(generator.integers(len(points)))]]
    while len(centres) < clusters:
        away = np.maximum(_squared_distances(points, centres).min(axis=1), 0.0)
        if float(away.sum()) < 1e-12:  # fewer different points than clusters
            break
        centres = np.vstack([centres, points[[int(generator.choice(len(points), p=away / away.sum()))]]])
    of_point = np.full(len(points), -1)
    for _ in range(ROUNDS):
        nearest = _squared_distances(points, centres).argmin(axis=1)
        if np.array_equal(nearest, of_point):
            break
        of_point = nearest
        for each in np.unique(of_point):
            centres[each] = points[of_point == each].mean(axis=0)
    return of_point.astype(np.int64)


def _squared_distances(points: Floats, centres: Floats) -> Floats:
    """Squared distances, shape (points, centres)."""
    distances: Floats = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return distances
