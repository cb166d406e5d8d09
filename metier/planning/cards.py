"""Published dense rates, memory and power of accelerators: for plans on machines that are not here.

Nothing here was measured. Rates are those of dense bfloat16 matrix products in the makers' data sheets, which state
some of them with sparsity (half of that stands here); power is that of the board at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARES = (0.32, 0.41, 0.43)
"""Part of the published rate that training reached in published runs (NeMo AutoModel, LoRA on H100): 70B on 8 cards
(316 of 989 TFLOP/s), 8B (402) and 7B (423) on one. The middle one is the estimate, the others its interval."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One accelerator as its maker describes it."""

    teraflops: float
    """Dense bfloat16 matrix products, in 10^12 operations a second."""
    memory: float
    """In 10^9 bytes."""
    watts: float


CARDS: Mapping[str, Card] = {
    "a100": Card(teraflops=312, memory=80, watts=400),
    "b200": Card(teraflops=2250, memory=180, watts=1000),
    "h100": Card(teraflops=989, memory=80, watts=700),
    "h200": Card(teraflops=989, memory=141, watts=700),
    "l4": Card(teraflops=121, memory=24, watts=72),
    "l40s": Card(teraflops=362, memory=48, watts=350),
    "mi300x": Card(teraflops=1307, memory=192, watts=750),
}
"""Name, as `metier plan --gpu` takes it -> the card."""
