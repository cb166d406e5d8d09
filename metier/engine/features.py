"""One vector for each text: pooled last-layer states of a frozen model, computed once and stored.

Encoders are pooled by the mean over tokens, decoders by the last token. The store is keyed by
weights, dtype, pooling and tokens.
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
from torch import Tensor
from transformers import PreTrainedModel

from metier.engine.network import stored_trunk
from metier.engine.tree import Ints
from metier.events import Notice, Observer, Progress, tell
from metier.store.files import write_bytes

Floats32 = npt.NDArray[np.float32]


SECONDS = "seconds"
"""Entry of a feature file that says how long one text of it took."""


@dataclass(frozen=True)
class PaddedBatch:
    """Texts of similar length side by side."""

    numbers: tuple[int, ...]
    """Which texts, by number."""
    ids: Tensor
    """Shape (B, L), padded on the right with 0."""
    mask: Tensor
    """1 where there is a token, shape (B, L)."""


def padded_batches(texts: Sequence[Ints], budget: int) -> list[PaddedBatch]:
    """Length-sorted batches of at most `budget` tokens, padding included; a longer text is alone."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    groups: list[list[int]] = []
    for number in order:
        if groups and (len(groups[-1]) + 1) * len(texts[number]) <= budget:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [_pad(texts, group) for group in groups]


def _pad(texts: Sequence[Ints], numbers: Sequence[int]) -> PaddedBatch:
    width = max(len(texts[number]) for number in numbers)
    ids = torch.zeros(len(numbers), width, dtype=torch.long)
    mask = torch.zeros(len(numbers), width, dtype=torch.long)
    for row, number in enumerate(numbers):
        length = len(texts[number])
        ids[row, :length] = torch.from_numpy(texts[number])
        mask[row, :length] = 1
    return PaddedBatch(tuple(numbers), ids, mask)


def pooled(network: PreTrainedModel, batch: PaddedBatch, kind: str, trunk: tuple[int, Tensor] | None = None) -> Tensor:
    """One float32 vector for each text of a batch.

    Args:
        network: Encoder or decoder; a decoder's head is not computed.
        batch: The texts.
        kind: `encoder` (mean over tokens) or `decoder` (last token).
        trunk: Depth and boundary states of shape (B, L, hidden), in place of the lower blocks.

    Returns:
        Shape (B, hidden).
    """
    device = network.device
    ids, mask = batch.ids.to(device), batch.mask.to(device)
    options = {} if kind == "encoder" else {"use_cache": False}
    if trunk is None:
        states = network.base_model(input_ids=ids, attention_mask=mask, **options).last_hidden_state
    else:
        with stored_trunk(network, trunk[0], trunk[1].to(device)):
            states = network.base_model(input_ids=ids, attention_mask=mask, **options).last_hidden_state
    states = states.float()
    if kind == "encoder":
        weights = mask[:, :, None].float()
        mean: Tensor = (states * weights).sum(1) / weights.sum(1)
        return mean
    last = mask.sum(1) - 1
    ends: Tensor = states[torch.arange(len(last), device=device), last]
    return ends


@dataclass(eq=False)
class FeatureStore:
    """Pooled features of frozen models, on disk and in memory."""

    folder: Path
    network: PreTrainedModel
    kind: str
    weights_sha256: str
    observers: Sequence[Observer] = ()
    budget: int = 4096
    _known: dict[str, Floats32] = field(default_factory=dict, init=False, repr=False)
    _seconds: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Read what is stored for these weights; a damaged file is removed and reported."""
        identity = f"{self.weights_sha256}/{self.network.dtype}/{self.kind}"
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
        """Features of texts given as token ids, shape (N, hidden); what is not stored is computed and stored."""
        keys = [_key(ids) for ids in texts]
        started = time.perf_counter()
        missing = {key: ids for key, ids in zip(keys, texts, strict=True) if key not in self._known}
        names, todo = list(missing), list(missing.values())
        fresh: dict[str, Floats32] = {}
        for batch in padded_batches(todo, self.budget):
            with torch.no_grad():
                rows = pooled(self.network, batch, self.kind).cpu().numpy()
            fresh.update({names[number]: row for number, row in zip(batch.numbers, rows, strict=True)})
            tell(self.observers, Progress(label=label, done=len(fresh), total=len(todo)))
        if fresh:
            each = np.array([(time.perf_counter() - started) / len(fresh)], dtype=np.float32)
            payload = {name: np.ascontiguousarray(row) for name, row in sorted(fresh.items())} | {SECONDS: each}
            data = save(payload)
            write_bytes(self.folder / _name(data), data)
            self._take(payload)
        return np.stack([self._known[key] for key in keys])

    def seconds(self, ids: Ints) -> float:
        """Seconds that a text's features took when they were computed; 0 when they never were."""
        return self._seconds.get(_key(ids), 0.0)

    def _take(self, payload: dict[str, Floats32]) -> None:
        """Make one file's features known."""
        each = float(payload[SECONDS][0]) if SECONDS in payload else 0.0
        for name, row in payload.items():
            if name != SECONDS:
                self._known[name], self._seconds[name] = row, each


def _key(ids: Ints) -> str:
    return hashlib.blake2b(ids.astype("<u4").tobytes(), digest_size=16).hexdigest()


def _name(data: bytes) -> str:
    """Name of a file with this content: its own checksum."""
    return f"{hashlib.sha256(data).hexdigest()[:24]}.safetensors"
