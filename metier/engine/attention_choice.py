"""Which attention a run uses: a function of the device alone, written to the lock file.

How a tree is then cut is a function of its shape: one call with a mask for a short tree, blocks of
queries with only the keys that they see for a long one, a call for each text where nothing is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AttentionChoice:
    """What a run attends with, decided once."""

    kernel: Literal["blocks", "flex"]
    """`blocks`: matrix products over blocks of queries; `flex`: torch's compiled `flex_attention`."""
    queries: int = 96
    """Most queries of a block. Measured on a CPU: 48 to 192 differ little (docs/decisions/log.md)."""
    kept_keys: int = 256
    """A block with at most so many keys keeps its attention weights for the backward pass; above, they are computed
    again, so that memory grows with the tokens and not with their square."""
    reason: str
    """Why this kernel, as a sentence."""
    notice: str | None = None
    """What a person should be told: the kernel that belongs here is missing."""


@lru_cache
def choose_attention(device: str) -> AttentionChoice:
    """The attention for a device type: `cpu`, `cuda` or `mps`."""
    if device != "cuda":
        return AttentionChoice(kernel="blocks", reason=f"{device} has no block-sparse kernel in torch")
    if find_spec("triton") is None:
        why = "flex_attention needs the package triton, which is missing"
        return AttentionChoice(
            kernel="blocks", reason=why, notice=f"Attention runs in blocks of queries, which is slower here: {why}."
        )
    return AttentionChoice(kernel="flex", reason="cuda runs flex_attention compiled")
