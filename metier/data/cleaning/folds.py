"""Which rows belong together, and folds that keep them together: whoever judges a row has never seen its like.

Rows are alike when they share a group, or when their sets of words agree in one of eight bands of six minimum
hashes (MinHash, Broder 1997): of two texts with 90 % of their words in common 99.8 % are found, of two with half of
them 12 % - too many is harmless here, it only makes folds uneven.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import Codes, Ints, Tokens, mixed, read_tokens, row_batches, row_minima
from metier.data.cleaning.rows import Rows

BANDS = 8
HASHES = 6
"""Minimum hashes that must agree in a band."""
GIANT = 0.2
"""A cluster with a larger share of all rows is taken apart, where nobody gave the clusters."""
NOT_LOOKED = -1


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over the rows tells about their labels. Arrays are by key."""

    names: tuple[str, ...]
    """Labels of the rows looked at, sorted."""
    label: npt.NDArray[np.int32]
    """Place in `names`; `NOT_LOOKED` for rows of other splits, without a label, or with a written answer."""
    learn: npt.NDArray[np.bool_]
    """Whether a model may learn from the row: never from test, nor from validation."""
    cluster: npt.NDArray[np.int32]
    """Equal for rows that are alike or share a group."""

    def clusters_per_label(self) -> Ints:
        """How many clusters have a row with each label that may be learned from, shape (labels,)."""
        kept = self.learn & (self.label != NOT_LOOKED)
        pairs = np.unique(np.stack((self.label[kept], self.cluster[kept])), axis=1)
        return np.bincount(pairs[0], minlength=len(self.names))

    def rows_per_label(self) -> Ints:
        """How many rows looked at have each label, shape (labels,)."""
        return np.bincount(self.label[self.label != NOT_LOOKED], minlength=len(self.names))


def survey_labels(rows: Rows, splits: Sequence[str], clusters: npt.NDArray[np.integer] | None = None) -> Survey:
    """Read every row once.

    Args:
        rows: All rows.
        splits: Which splits are looked at.
        clusters: Near duplicates as another step found them: one number a key, equal for rows that are alike.
            None: found here, more coarsely.
    """
    count = len(rows)
    ids: dict[str, int] = {}
    label = np.full(count, NOT_LOOKED, dtype=np.int32)
    learn = np.zeros(count, dtype=np.bool_)
    groups = np.zeros(count, dtype=np.uint64)
    exact = np.zeros(count, dtype=np.uint64)
    near = np.zeros((0 if clusters is not None else count, BANDS), dtype=np.uint64)
    for batch in row_batches(rows):
        keys = np.array([row.key for row in batch])
        looked = [row.labelled and row.split in splits and row.answer != "" for row in batch]
        label[keys] = [
            ids.setdefault(row.answer, len(ids)) if fits else NOT_LOOKED
            for row, fits in zip(batch, looked, strict=True)
        ]
        learn[keys] = [
            fits and row.split not in ("test", "validation") for row, fits in zip(batch, looked, strict=True)
        ]
        groups[keys] = [0 if row.group is None else text_code(row.group) for row in batch]
        if clusters is None:
            tokens = read_tokens([row.text for row in batch])
            near[keys], exact[keys] = near_keys(tokens), tokens.only(~tokens.symbol).bags()
    names = tuple(sorted(ids))
    place = np.empty(len(ids) + 1, dtype=np.int32)
    place[[ids[name] for name in names]] = np.arange(len(names))
    place[-1] = NOT_LOOKED
    grouped = np.where(groups == 0, mixed(np.arange(count, dtype=np.uint64)), groups)
    if clusters is not None:
        cluster = joined(count, [mixed(np.asarray(clusters).astype(np.uint64)), grouped])
    else:
        cluster = _without_giants(joined(count, [*near.T, grouped]), [exact, grouped])
    return Survey(names=names, label=place[label], learn=learn, cluster=cluster)


def text_code(text: str) -> int:
    """A 64-bit number for a text, the same on every machine and never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


def near_keys(tokens: Tokens) -> Codes:
    """The bands of every text of a batch, shape (rows, BANDS): texts with most words in common share a band.

    Numbers count whole: texts whose numbers differ share no band, as those are different questions.
    """
    words = tokens.only(~tokens.symbol)
    numbers = words.only(words.number).bags()
    signature = minimum_hashes(words, BANDS * HASHES)
    keys = np.empty((tokens.rows, BANDS), dtype=np.uint64)
    for band in range(BANDS):
        key = mixed(numbers + np.uint64(band + 1))
        for place in range(band * HASHES, (band + 1) * HASHES):
            key = mixed(key ^ signature[:, place])
        keys[:, band] = key
    return keys


def minimum_hashes(tokens: Tokens, count: int) -> Codes:
    """The smallest of each text's tokens in `count` fixed random orders, shape (rows, count)."""
    signature = np.empty((tokens.rows, count), dtype=np.uint64)
    factors = mixed(np.arange(1, count + 1, dtype=np.uint64)) | np.uint64(1)
    for place, factor in enumerate(factors):
        # The codes are mixed already; an odd factor and the high half of the product order them anew.
        signature[:, place] = row_minima((tokens.code * factor) >> np.uint64(24), tokens.row, tokens.rows)
    return signature


def joined(count: int, keys: Sequence[Codes]) -> npt.NDArray[np.int32]:
    """Numbers for `count` rows, equal for rows that a chain of equal keys connects.

    Args:
        count: Rows.
        keys: Arrays of one code a row; rows with equal codes in one array belong together.
    """
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    first: list[Ints] = [np.zeros(0, dtype=np.int64)]
    second: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for codes in keys:
        order = np.argsort(codes, kind="stable")
        same = codes[order][1:] == codes[order][:-1]
        first.append(order[:-1][same])
        second.append(order[1:][same])
    start, end = np.concatenate(first), np.concatenate(second)
    edges = coo_matrix((np.ones(len(start), dtype=np.bool_), (start, end)), shape=(count, count))
    component: npt.NDArray[np.int32] = connected_components(edges, directed=False)[1].astype(np.int32)
    return component


def _without_giants(cluster: npt.NDArray[np.int32], strict: Sequence[Codes]) -> npt.NDArray[np.int32]:
    """Clusters of more than a fifth of all rows taken apart again, into rows that share a strict key.

    Texts made from a few templates are alike in chains: as one cluster they would leave a model nothing to learn.
    """
    size = np.bincount(cluster)
    giant = np.flatnonzero((size > GIANT * len(cluster))[cluster])
    if not len(giant):
        return cluster
    apart = cluster.copy()
    apart[giant] = len(size) + joined(len(giant), [codes[giant] for codes in strict])
    return np.unique(apart, return_inverse=True)[1].astype(np.int32)


def deal_folds(survey: Survey, folds: int, seed: int) -> npt.NDArray[np.int8]:
    """The fold of every row: clusters stay whole, and each label's clusters go round the folds in turn.

    Args:
        survey: Labels and clusters.
        folds: How many.
        seed: Decides the order in which a label's clusters are dealt.
    """
    by_use = np.argsort(~survey.learn, kind="stable")
    cluster, first = np.unique(survey.cluster[by_use], return_index=True)
    # A cluster counts for the label of its first row that is learned from.
    first = by_use[first]
    label = np.where(survey.learn[first], survey.label[first], NOT_LOOKED)
    order = np.lexsort((order_of(first, seed), label))
    fold_of = np.empty(len(cluster), dtype=np.int8)
    fold_of[order] = np.arange(len(cluster)) % folds
    return fold_of[survey.cluster]


def draw_sample(survey: Survey, kept: npt.NDArray[np.bool_], most: int, seed: int) -> Ints:
    """Keys of at most about `most` rows to learn from, ascending: some of every label, then whoever comes.

    Args:
        survey: Labels.
        kept: Which rows may be drawn, by key.
        most: Rows. Every label gets its share of half of them where it has that many.
        seed: Decides who is drawn; adding rows moves no other row out but those beyond `most`.
    """
    keys = np.flatnonzero(kept)
    if len(keys) <= most:
        return keys
    keys = keys[np.argsort(order_of(keys, seed), kind="stable")]
    label = survey.label[keys]
    by_label = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[by_label], np.arange(len(survey.names)))
    rank = np.empty(len(keys), dtype=np.int64)
    rank[by_label] = np.arange(len(keys)) - starts[label[by_label]]
    first = rank < max(most // (2 * max(len(survey.names), 1)), 1)
    return np.sort(np.concatenate((keys[first], keys[~first]))[:most])


def order_of(numbers: Ints, seed: int) -> Codes:
    """A fixed random number for each number."""
    return mixed(numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed))
