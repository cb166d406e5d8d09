"""One vector for each text: pooled last-layer states of a frozen model, computed once and stored.

Encoders are pooled by the mean over tokens, decoders by the last token; between the blocks both by the mean
(`depths.py`). The store is keyed by weights, dtype, pooling, depth and tokens.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from transformers import PreTrainedModel

from metier.engine.depths import pooled_at_depths
from metier.engine.texts import pooled, text_batches
from metier.engine.tree import Ints
from metier.events import Notice, Observer, Progress, tell
from metier.store.files import write_bytes
from metier.team import current_team

Floats32 = npt.NDArray[np.float32]


SECONDS = "seconds"
"""Entry of a feature file that says how long one text of it took."""


@dataclass(eq=False)
class FeatureStore:
    """Pooled features of frozen models, on disk and in memory."""

    folder: Path
    network: PreTrainedModel
    kind: str
    weights_sha256: str
    observers: Sequence[Observer] = ()
    budget: int = 4096
    depth: int | None = None
    """Blocks that a text goes through. None: all of them, to the last hidden state."""
    _known: dict[str, Floats32] = field(default_factory=dict, init=False, repr=False)
    _seconds: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Read what is stored for these weights; a damaged file is removed and reported."""
        identity = f"{self.weights_sha256}/{self.network.dtype}/{self.kind}"
        identity += "" if self.depth is None else f"/after {self.depth}"
        self.folder = self.folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                data = path.read_bytes()
                if _name(data) != path.name:
                    raise ValueError("checksum")
                self._take(load(data))
            except FileNotFoundError:  # purged by another process
                continue
            except (SafetensorError, ValueError):
                message = f"{path.name}: damaged entry of the feature cache, removed; it will be computed again."
                tell(self.observers, Notice(topic="cache", message=message))
                path.unlink(missing_ok=True)

    def features(self, texts: Sequence[Ints], label: str = "features") -> Floats32:
        """Features of texts given as token ids, shape (N, hidden); what is not stored is computed and stored.

        All processes of a team call it with the same texts; each computes its share of what is not stored.
        """
        keys = [_key(ids) for ids in texts]
        team = current_team()
        lacking = team.any_of([key not in self._known for key in keys])
        missing = {key: ids for key, ids, lacks in zip(keys, texts, lacking, strict=True) if lacks}
        names, todo = list(missing), list(missing.values())
        if not todo:
            return np.stack([self._known[key] for key in keys])
        started = time.perf_counter()
        mine = team.share(len(todo))
        rows = self._compute([todo[number] for number in mine], label)
        whole = team.put_together(rows, len(todo))
        each = np.array([(time.perf_counter() - started) / len(todo)], dtype=np.float32)
        ordered = sorted(zip(names, whole, strict=True), key=lambda pair: pair[0])
        payload = {name: np.ascontiguousarray(row) for name, row in ordered} | {SECONDS: each}
        if team.is_first:
            data = save(payload)
            write_bytes(self.folder / _name(data), data)
        self._take(payload)
        return np.stack([self._known[key] for key in keys])

    def count_missing(self, texts: Sequence[Ints]) -> int:
        """How many different texts, given as token ids, this process has no stored features of."""
        return len({_key(ids) for ids in texts} - self._known.keys())

    def _compute(self, texts: Sequence[Ints], label: str) -> Floats32:
        """Features of texts, shape (N, hidden)."""
        found = np.zeros((len(texts), self.network.config.get_text_config().hidden_size), dtype=np.float32)
        done = 0
        if self.depth is not None and texts:
            below: Floats32 = pooled_at_depths(
                self.network, texts, [self.depth], budget=self.budget, observers=self.observers, label=label
            )[0]
            return below
        for batch in text_batches(texts, self.budget):
            with torch.no_grad():
                found[list(batch.numbers)] = (
                    pooled(self.network, batch, self.kind, observers=self.observers).cpu().numpy()
                )
            done += len(batch.numbers)
            tell(self.observers, Progress(label=label, done=done, total=len(texts)))
        return found

    def seconds(self, ids: Ints) -> float:
        """Seconds that a text's features took when they were computed; 0 when they never were."""
        return self._seconds.get(_key(ids), 0.0)

    def _take(self, payload: dict[str, Floats32]) -> None:
        """Make one file's features known."""
        each = float(payload[SECONDS][0]) if SECONDS in payload else 0.0
        for name, row in payload.items():
            if name != SECONDS:
                self._known[name], self._seconds[name] = row, each


def forget_features(root: Path, texts: Sequence[Ints]) -> int:
    """Delete the stored features of some texts, of every model.

    Args:
        root: The cache's folder of features.
        texts: Token ids.

    Returns:
        The vectors that were deleted.
    """
    keys, gone = {_key(ids) for ids in texts}, 0
    for path in sorted(root.glob("*/*.safetensors")):
        try:
            payload = load(path.read_bytes())
        except SafetensorError:  # damaged: whatever it held
            path.unlink()
            continue
        found = keys & set(payload)
        if not found:
            continue
        left = {name: row for name, row in payload.items() if name not in found}
        if set(left) - {SECONDS}:
            data = save(left)
            write_bytes(path.parent / _name(data), data)
        path.unlink()
        gone += len(found)
    return gone


def _key(ids: Ints) -> str:
    return hashlib.blake2b(ids.astype("<u4").tobytes(), digest_size=16).hexdigest()


def _name(data: bytes) -> str:
    """Name of a file with this content: its own checksum."""
    return f"{hashlib.sha256(data).hexdigest()[:24]}.safetensors"
