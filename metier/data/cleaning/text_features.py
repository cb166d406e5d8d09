"""TF-IDF of hashed words, pairs of words and, for short texts, characters: one sparse row a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import (
    MOST_CHARACTERS,
    Codes,
    Ints,
    character_runs,
    mixed,
    read_characters,
    row_batches,
    tokens_of,
)
from metier.data.cleaning.rows import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

BITS = 20
"""Hashed features: 2**20."""
SHORT = 300
"""Up to so many characters on average, runs of characters count too: short texts have few words to go by."""
CHARACTER_RUNS = (3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """How a text becomes a row of numbers; made by `fit_features`."""

    column: npt.NDArray[np.int32]
    """Column of each hashed feature, -1 for those left out; 2**BITS of them."""
    idf: npt.NDArray[np.float32]
    """Inverse document frequency by column."""
    characters: bool
    """Whether runs of characters count."""
    most: int
    """Characters of a text that are read."""

    def rows_of(self, texts: Sequence[str], *, scale: str = "kept") -> csr_matrix:
        """TF-IDF (1 + ln tf) x idf of each text, shape (texts, columns), float32, rows of length 1.

        Args:
            texts: A batch.
            scale: `kept`: a row's length is that of the features kept; `all`: of all features, those that the sample
                never had included, so that a text of unknown words is short.
        """
        row, feature, count = _counted(texts, self.characters, self.most)
        column = self.column[feature]
        known = column >= 0
        # What the sample had once at most counts as the rarest feature.
        weight = (1 + np.log(count)) * np.where(known, self.idf[column], self.idf.max(initial=1.0))
        counting = known if scale == "kept" else slice(None)
        squares = np.bincount(row[counting], weights=weight[counting] ** 2, minlength=len(texts))
        values = (weight / np.sqrt(np.maximum(squares, 1e-12))[row])[known].astype(np.float32)
        return _sparse(row[known], column[known].astype(np.int64), values, (len(texts), len(self.idf)))


def fit_features(
    rows: Rows, sample: Ints, *, columns: int, most: int = MOST_CHARACTERS
) -> tuple[TextFeatures, csr_matrix]:
    """Choose the features that occur in most of the sampled texts, and give the sample's own rows.

    Args:
        rows: All rows.
        sample: Keys to look at, ascending.
        columns: Features that are kept at most.
        most: Characters of a text that are read.

    Returns:
        The features, and the matrix of the sample in the order of its keys.
    """
    from scipy.sparse import csr_matrix, vstack

    wanted = np.zeros(len(rows), dtype=np.bool_)
    wanted[sample] = True
    total = sum(min(len(row.text), most) for row in rows if wanted[row.key])
    characters = total <= SHORT * max(len(sample), 1)
    documents = np.zeros(1 << BITS, dtype=np.int64)
    counts: list[Any] = []
    for batch in row_batches(rows, wanted, most=most):
        row, feature, count = _counted([one.text for one in batch], characters, most)
        documents += np.bincount(feature, minlength=1 << BITS)
        counts.append(_sparse(row, feature, count.astype(np.float32), (len(batch), 1 << BITS)))
    least = 2 if len(sample) >= 100 else 1
    kept = np.flatnonzero(documents >= least)
    if not len(kept):  # no text has a word twice: one column of nothing, as a model wants at least one
        kept = np.zeros(1, dtype=np.int64)
    kept = kept[np.argsort(-documents[kept], kind="stable")[:columns]]
    kept.sort()
    column = np.full(1 << BITS, -1, dtype=np.int32)
    column[kept] = np.arange(len(kept))
    idf = (np.log((1 + len(sample)) / (1 + documents[kept])) + 1).astype(np.float32)
    features = TextFeatures(column=column, idf=idf, characters=characters, most=most)
    matrix = vstack(counts, format="csr")[:, kept] if counts else csr_matrix((0, len(kept)), dtype=np.float32)
    matrix.data = 1 + np.log(matrix.data)
    matrix = matrix.multiply(idf).tocsr()
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data = matrix.data / np.maximum(length, 1e-6)[np.repeat(np.arange(len(length)), np.diff(matrix.indptr))]
    return features, matrix.astype(np.float32)


def _counted(texts: Sequence[str], characters: bool, most: int) -> tuple[Ints, Ints, Ints]:
    """Text, hashed feature and how often, each pair once, by text."""
    read = read_characters(texts, most)
    tokens = tokens_of(read)
    code, place = tokens.runs(2)
    codes: list[Codes] = [tokens.code, mixed(code + np.uint64(2))]
    rows: list[Ints] = [tokens.row, tokens.row[place]]
    if characters:
        for length in CHARACTER_RUNS:
            code, row = character_runs(read, length)
            codes.append(mixed(code + np.uint64(length + 100)))
            rows.append(row)
    feature = (np.concatenate(codes) >> np.uint64(64 - BITS)).astype(np.int64)
    pair, count = np.unique((np.concatenate(rows) << BITS) | feature, return_counts=True)
    return pair >> BITS, pair & ((1 << BITS) - 1), count


def _sparse(row: Ints, column: Ints, values: npt.NDArray[Any], shape: tuple[int, int]) -> csr_matrix:
    """A sparse matrix of entries that stand in the order of their rows."""
    from scipy.sparse import csr_matrix

    starts = np.searchsorted(row, np.arange(shape[0] + 1))
    return csr_matrix((values, column, starts), shape=shape)
