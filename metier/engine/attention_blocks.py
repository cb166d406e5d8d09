"""Attention in blocks of queries, each over the keys that it sees, with a backward pass of its own.

Plain matrix products and one softmax a query: the numbers are those of plain attention. It is written out
because on a CPU it is two to five times as fast as torch's fused kernel with a mask at these shapes (measured in
docs/decisions/log.md): products go to the library that is best at them, keys are neither gathered one by
one nor repeated for the queries that share them, and gradients are added in place.

Shape letters: H query heads, G key-value heads, R = H / G, D head size, n queries of a block, k its keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Block:
    """Queries `start` to `end`, and the keys that any of them sees."""

    start: int
    end: int
    keys: tuple[tuple[int, int], ...]
    """Runs of key numbers, prefix included."""
    hidden: Tensor | None
    """Bool, shape (n, last columns): which of the last keys a query does not see; those before are seen by all."""
    masks: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of keys, k."""
        return sum(end - start for start, end in self.keys)

    def gather(self, states: Tensor) -> Tensor:
        """Keys or values of the block, shape (G, k, D), from all of them, shape (1, G, K, D)."""
        parts = [states[0, :, start:end] for start, end in self.keys]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def scatter(self, total: Tensor, part: Tensor) -> None:
        """Add the block's gradient, shape (G, k, D), to that of all keys or values, shape (1, G, K, D)."""
        done = 0
        for start, end in self.keys:
            total[0, :, start:end] += part[:, done : done + end - start]
            done += end - start

    def mask(self, scores: Tensor) -> None:
        """Take away, in place, what a query does not see; `scores` has shape (H, n, k)."""
        if self.hidden is None:
            return
        if scores.dtype not in self.masks:
            mask = torch.zeros(self.hidden.shape, dtype=scores.dtype, device=scores.device)
            self.masks[scores.dtype] = mask.masked_fill_(self.hidden, -torch.inf)
        scores[:, :, scores.shape[2] - self.hidden.shape[1] :] += self.masks[scores.dtype]


def attend_in_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: tuple[Block, ...],
    scale: float,
    softcap: float | None,
    kept_keys: int,
) -> Tensor:
    """Attention output of shape (1, T, H, D).

    Args:
        query: Shape (1, H, T, D).
        key: Shape (1, G, K, D); H is a multiple of G.
        value: As `key`; its D may be another.
        blocks: All queries, each in one block.
        scale: Factor of the scores.
        softcap: Scores are squeezed into (-softcap, softcap) by a hyperbolic tangent, where given.
        kept_keys: Blocks of at most so many keys keep their weights for the backward pass.
    """
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    with torch.autocast(kind, enabled=False):
        way = _Way(blocks, scale, softcap, kept_keys)
        output: Tensor = _BlockAttention.apply(query, key, value, way)  # type: ignore[no-untyped-call]
    return output


@dataclass(frozen=True, eq=False)
class _Way:
    """What is the same in forward and backward; the parameters of `attend_in_blocks`."""

    blocks: tuple[Block, ...]
    scale: float
    softcap: float | None
    kept_keys: int

    def keeps(self, block: Block) -> bool:
        """Whether the block's weights are kept for the backward pass."""
        return self.softcap is None and block.size <= self.kept_keys


class _BlockAttention(torch.autograd.Function):
    """Forward and backward, block by block."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, way: _Way) -> Tensor:
        """Attention output, shape (1, T, H, D)."""
        heads, groups = query.shape[1], key.shape[1]
        output = query.new_empty(1, query.shape[2], heads, value.shape[3])
        learning = any(ctx.needs_input_grad[:3])
        kept = []
        for block in way.blocks:
            weights, _ = _weights(_grouped(query, block, groups), block.gather(key), block, way)
            part = torch.bmm(weights, block.gather(value))
            output[0, block.start : block.end] = _ungrouped(part, heads).transpose(0, 1)
            if learning and way.keeps(block):
                kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.way = way
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value."""
        query, key, value, *kept = ctx.saved_tensors
        way: _Way = ctx.way
        heads, groups = query.shape[1], key.shape[1]
        of_query = torch.empty_like(query)
        # Queries are in one block, keys and values in many, whose gradients are summed in float32 at least.
        wide = torch.promote_types(key.dtype, torch.float32)
        of_key, of_value = torch.zeros_like(key, dtype=wide), torch.zeros_like(value, dtype=wide)
        remaining = iter(kept)
        for block in way.blocks:
            mine, keys, values = _grouped(query, block, groups), block.gather(key), block.gather(value)
            if way.keeps(block):
                weights, slope = next(remaining), None
            else:
                weights, slope = _weights(mine, keys, block, way)
            above = _grouped(gradient.transpose(1, 2), block, groups)
            block.scatter(of_value, torch.bmm(weights.transpose(1, 2), above))
            scores = torch.ops.aten._softmax_backward_data(
                torch.bmm(above, values.transpose(1, 2)), weights, -1, weights.dtype
            )
            if slope is not None:
                scores *= slope
            part = torch.bmm(scores, keys).mul_(way.scale)
            of_query[0, :, block.start : block.end] = _ungrouped(part, heads)
            block.scatter(of_key, torch.bmm(scores.transpose(1, 2), mine).mul_(way.scale))
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None


def _weights(query: Tensor, keys: Tensor, block: Block, way: _Way) -> tuple[Tensor, Tensor | None]:
    """Attention weights of a block, shape (G, R * n, k), and with a soft cap its slope, of the same shape."""
    scores = torch.bmm(query, keys.transpose(1, 2)).mul_(way.scale)
    slope = None
    if way.softcap is not None:
        squeezed = scores.div_(way.softcap).tanh_()
        slope = 1 - squeezed.square()
        scores = squeezed.mul_(way.softcap)
    block.mask(scores.view(-1, block.end - block.start, scores.shape[2]))
    return torch.softmax(scores, dim=-1), slope


def _grouped(states: Tensor, block: Block, groups: int) -> Tensor:
    """The block's rows of states of shape (1, H, T, D), those of one key-value head together: (G, R * n, D)."""
    return states[0, :, block.start : block.end].reshape(groups, -1, states.shape[3])


def _ungrouped(states: Tensor, heads: int) -> Tensor:
    """Shape (H, n, D) from (G, R * n, D)."""
    return states.view(heads, -1, states.shape[2])
