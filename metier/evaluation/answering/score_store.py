"""Label scores that a base model gave before, on disk: the same prompt, labels and weights are scored once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metier.engine.tree import Ints
from metier.evaluation.answering.keyed_store import KeyedStore


class ScoreStore(KeyedStore[tuple[list[float], float]]):
    """Sums of label log-probabilities, found by model, prompt and labels."""

    HOLDS = "stored label scores, removed; they will be computed again"

    @staticmethod
    def value_of(row: Mapping[str, Any]) -> tuple[list[float], float]:
        """Sums and seconds of a line."""
        return list(map(float, row["sums"])), float(row["seconds"])

    def keys(self, prompts: Sequence[Ints], labels: Sequence[Ints]) -> Iterator[str]:
        """The key of each prompt under these labels."""
        tail = b"|".join(ids.astype("<u4").tobytes() for ids in labels)
        end = hashlib.blake2b(self.identity.encode() + b"/" + tail, digest_size=16).digest()
        for ids in prompts:
            yield hashlib.blake2b(ids.astype("<u4").tobytes() + end, digest_size=16).hexdigest()

    def find(self, key: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float] | None:
        """Sums of shape (C,), and the seconds that they took when they were computed."""
        found = self._values.get(key)
        return None if found is None else (np.array(found[0]), found[1])

    def keep(self, key: str, sums: np.ndarray[tuple[int], np.dtype[np.float64]], seconds: float, owner: str) -> None:
        """Remember the sums of one prompt; `owner` is `owner_of` its input."""
        self.add(key, (sums.tolist(), seconds), {"sums": sums.tolist(), "seconds": seconds, "of": owner})
