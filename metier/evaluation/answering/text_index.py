"""Which training texts are most like a text: TF-IDF of words and characters, by cosine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.records import Input, Record
from metier.errors import DataError
from metier.evaluation.answering.baselines import character_ngrams, word_ngrams

FEATURES: Mapping[str, tuple[Callable[[], Any], ...]] = {
    "both": (word_ngrams, character_ngrams),
    "words": (word_ngrams,),
    "characters": (character_ngrams,),
}
"""What two texts are compared by."""
CELLS_AT_ONCE = 20_000_000
"""Similarities held in memory together; about 80 MB."""
SPARE = 8
"""Neighbours that are looked at beyond those that are wanted: some are the input itself, or the same text twice."""


class TextIndex:
    """Texts that are found by likeness."""

    def __init__(self, texts: Sequence[str], *, fix: str) -> None:
        """Index `texts`.

        Args:
            texts: At least one.
            fix: What to do where they cannot be compared, for the message.

        Raises:
            DataError: No text has a word or two characters.
        """
        self.size = len(texts)
        self._indices: dict[Callable[[], Any], tuple[Any, Any]] = {}
        for kind in FEATURES["both"]:
            vectoriser = kind()
            try:
                self._indices[kind] = (vectoriser, vectoriser.fit_transform(texts))
            except ValueError:  # scikit-learn's only complaint here is an empty vocabulary
                continue
        if not self._indices:
            raise DataError("train", "no text has a word or two characters", "texts that can be compared", fix)

    def possible(self, features: Sequence[str]) -> list[str]:
        """The names out of `features` that these texts allow; where none is, the first that they do."""
        found = [name for name in features if all(part in self._indices for part in FEATURES[name])]
        return found or [next(name for name in FEATURES if FEATURES[name][0] in self._indices)]

    @property
    def bytes(self) -> int:
        """Size of the matrices."""
        return sum(
            int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)
            for _, matrix in self._indices.values()
        )

    def nearest(self, texts: Sequence[str], features: str, count: int = 1) -> npt.NDArray[np.int64]:
        """Places of the indexed texts that are most alike, the nearest first, the earliest of those as near.

        Args:
            texts: What was asked, N.
            features: A name out of `FEATURES`.
            count: Neighbours of each, no more than there are.

        Returns:
            Shape (N, count).
        """
        at_once, count = max(1, CELLS_AT_ONCE // self.size), min(count, self.size)
        found = [np.zeros((0, count), dtype=np.int64)]
        for start in range(0, len(texts), at_once):
            part = list(texts[start : start + at_once])
            alike = sum(self._alike(part, kind) for kind in FEATURES[features] if kind in self._indices)
            # Rounded: equally near texts must not be told apart by the order of a sum.
            near = np.round(alike, 5)
            if count == 1:
                found.append(near.argmax(axis=1)[:, None])
            else:
                found.append(np.argsort(-near, axis=1, kind="stable")[:, :count])
        return np.concatenate(found)

    def _alike(self, texts: Sequence[str], kind: Callable[[], Any]) -> npt.NDArray[np.float32]:
        """Cosines, shape (texts, indexed texts)."""
        vectoriser, matrix = self._indices[kind]
        cosines: npt.NDArray[np.float32] = (vectoriser.transform(texts) @ matrix.T).toarray()
        return cosines


class NearestExamples:
    """Training examples by likeness to an input: what a prompt shows where its examples differ by input."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Index the texts of `records`.

        Raises:
            DataError: There are none, or their texts cannot be compared.
        """
        fix = "Set `evaluation.few_shot.selection: [random]`."
        if not records:
            raise DataError("train", "has no example that fits into a prompt", "at least one", fix)
        self.records = records
        self._index = TextIndex([record.text for record in records], fix=fix)
        self._features = self._index.possible(["both"])[0]

    def places(self, inputs: Sequence[Input], count: int) -> list[list[int]]:
        """Places among the records of the `count` nearest to each input, the nearest first.

        An input's own record is no example of itself, and no text is shown twice.

        Args:
            inputs: What is asked.
            count: Examples for each; fewer where there are fewer.
        """
        near = self._index.nearest([given.text for given in inputs], self._features, 2 * count + SPARE)
        found = []
        for given, row in zip(inputs, near.tolist(), strict=True):
            by_text: dict[str, int] = {}
            for place in row:
                if self.records[place].id != given.id:
                    by_text.setdefault(self.records[place].text, place)
            found.append(list(by_text.values())[:count])
        return found
