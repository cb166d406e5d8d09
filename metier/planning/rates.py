"""How fast and how large the passes of a model are, as measured on this machine: frozen values without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One kind of pass: what a token costs in one block, and beside the blocks (embedding, output layer, loss)."""

    block: float
    """Seconds of one token in one block."""
    rest: float
    """Seconds of one token beside the blocks."""
    low: float = 1.0
    """Fastest repetition as a share of the typical one."""
    high: float = 1.0
    """Slowest repetition as a share of the typical one."""
    length: float = 0.0
    """Mean length of the texts that were measured, for attention."""
    block_bytes: float = 0.0
    """Bytes that one block holds of one token at the fullest moment."""
    rest_bytes: float = 0.0
    """Bytes that are held beside the blocks at the fullest moment of the whole pass."""
    gaps: float = 1.0
    """Memory that the process took, as a share of what tensors held: more, for there are gaps between them."""
    tokens: int = 0
    """Tokens of the largest pass that was measured."""

    def bytes(self, tokens: float, blocks: float) -> float:
        """Bytes at the fullest moment of a pass.

        Args:
            tokens: Its tokens.
            blocks: Its blocks.
        """
        share = tokens / self.tokens if self.tokens else 1.0
        return self.gaps * (tokens * blocks * self.block_bytes + share * self.rest_bytes)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The passes of one model as one candidate or baseline uses it."""

    paces: Mapping[str, Pace]
    """By kind: `train`, `score`, `features`, `read`, `prompt`, `write`."""
    flops_per_second: float
    """Matrix products of this model's shapes and type, for comparison."""
    step: float = 0.0
    """Seconds of one optimiser step for one parameter that learns."""
    measured: bool = True
    """False where the paces follow from `flops_per_second` and were not measured."""

    def pace(self, kind: str) -> Pace:
        """The pace of one kind of pass, or of the kind that is nearest to it."""
        for name in (kind, *NEAREST.get(kind, ()), *self.paces):
            if name in self.paces:
                return self.paces[name]
        raise KeyError(kind)


NEAREST: Mapping[str, tuple[str, ...]] = {
    "score": ("read", "prompt", "features"), "read": ("prompt", "score"), "features": ("score",),
    "prompt": ("read",), "write": ("prompt", "read"),
}  # fmt: skip
"""Kind of pass -> kinds that cost about as much, for what was not measured itself."""
