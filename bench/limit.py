"""How much arithmetic a token needs, so that a rate can be given as a share of the machine's matrix products.

The limit model counts two operations for a multiply-add. Body: the weights of the blocks; head: vocabulary times
hidden size, where a target is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of a llama-like decoder."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def block_weights(self) -> int:
        """Weights of the linear layers of one block."""
        keys = self.head_width * self.kv_heads
        return self.hidden * (2 * self.hidden + 2 * keys + 3 * self.inner)

    @property
    def head_weights(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """Output and input width of the linear layers of one block."""
        keys, h, i = self.head_width * self.kv_heads, self.hidden, self.inner
        return ((h, h), (keys, h), (keys, h), (h, h), (i, h), (i, h), (h, i))

    def lora_weights(self, rank: int) -> int:
        """Weights of the adapters of one block."""
        return sum(rank * (out + into) for out, into in self.products)


def training_flops(shape: Shape, *, rank: int, tokens: int, targets: int, length: float, learning: int) -> float:
    """Operations of one forward and backward pass with adapters, frozen weights included.

    Args:
        shape: The model.
        rank: Of the adapters.
        tokens: Tokens that go through the blocks.
        targets: Positions at which the head is needed.
        length: Mean number of tokens that a token attends to, twice (a causal text of s tokens: s).
        learning: Blocks with adapters, counted from the top; those below run forward only.
    """
    attention = 2 * shape.hidden * length
    forward = shape.layers * (2 * shape.block_weights + attention)
    backward = learning * (2 * shape.block_weights + 2 * attention)
    adapters = learning * 6 * shape.lora_weights(rank)
    return tokens * (forward + backward + adapters) + targets * 4 * shape.head_weights


def forward_flops(shape: Shape, *, tokens: int, targets: int, length: float) -> float:
    """Operations of a forward pass: scoring, reading a prompt.

    Args:
        shape: The model.
        tokens: Tokens that go through the blocks.
        targets: Positions at which the head is needed.
        length: As for training.
    """
    blocks = shape.layers * (2 * shape.block_weights + 2 * shape.hidden * length)
    return tokens * blocks + targets * 2 * shape.head_weights
