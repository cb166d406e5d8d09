"""Label scores that a base model gave before, on disk: the same prompt, labels and weights are scored once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from metier.engine.tree import Ints
from metier.errors import RunFolderError
from metier.events import Notice, Observer, tell
from metier.store.files import append_json_line, read_json_lines


@dataclass(eq=False)
class ScoreStore:
    """Sums of label log-probabilities, found by model, prompt and labels."""

    path: Path
    identity: str
    """Weights and dtype of the base model."""
    observers: Sequence[Observer] = ()
    _rows: dict[str, tuple[list[float], float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Read what is stored; a torn last line is left out, a damaged file is removed and reported."""
        if not self.path.exists():
            return
        try:
            rows = read_json_lines(self.path)
            self._rows = {str(row["key"]): (list(map(float, row["sums"])), float(row["seconds"])) for row in rows}
        except (RunFolderError, KeyError, TypeError, ValueError):
            message = f"{self.path.name}: damaged file of stored label scores, removed; they will be computed again."
            tell(self.observers, Notice(topic="cache", message=message))
            self.path.unlink(missing_ok=True)

    def keys(self, prompts: Sequence[Ints], labels: Sequence[Ints]) -> Iterator[str]:
        """The key of each prompt under these labels."""
        tail = b"|".join(ids.astype("<u4").tobytes() for ids in labels)
        end = hashlib.blake2b(self.identity.encode() + b"/" + tail, digest_size=16).digest()
        for ids in prompts:
            yield hashlib.blake2b(ids.astype("<u4").tobytes() + end, digest_size=16).hexdigest()

    def find(self, key: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float] | None:
        """Sums of shape (C,), and the seconds that they took when they were computed."""
        found = self._rows.get(key)
        return None if found is None else (np.array(found[0]), found[1])

    def keep(self, key: str, sums: np.ndarray[tuple[int], np.dtype[np.float64]], seconds: float) -> None:
        """Remember the sums of one prompt."""
        self._rows[key] = (sums.tolist(), seconds)
        append_json_line(self.path, {"key": key, "sums": sums.tolist(), "seconds": seconds})
