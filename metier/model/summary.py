"""What may learn and how big it is, as frozen values: `summary.json` beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """A base model and what was made learnable in it."""

    name: str
    """As the recipe names it."""
    kind: str
    """`decoder` or `encoder`."""
    architecture: str
    source: str
    """packaged, folder, gguf or hub."""
    weights_sha256: str
    """Fingerprint of the base weights."""
    licence: str
    notes: tuple[str, ...]
    """E.g. that packaged weights are dequantised 4-bit weights."""
    parameters: int
    """All parameters, head and adapters included."""
    trainable_parameters: int
    layers: int
    hidden_size: int
    vocabulary: int
    context: int
    """Longest input in tokens."""
    method: str
    trunk_layers: int
    """Lower blocks that never change; 0 when everything may learn."""
    bytes: int
    """Size of the whole answering model in memory at its inference dtype."""
    trainable_groups: Mapping[str, int]
    """Trainable parameters by group of names (`layers.20`, `head`)."""
