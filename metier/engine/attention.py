"""Attention over a token tree, in blocks, as a transformers attention function.

Queries are taken in blocks of consecutive nodes. Because nodes are in depth-first order, all that a
block may attend to outside itself are the ancestors of its first node, so a block reads few keys and
no T x T mask exists. The numbers are those of plain attention: one softmax over a query's ancestors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from metier.engine.tree import TokenTree

NAME = "metier_tree"
BLOCK = 192
"""Queries of a block: small enough that siblings waste little, large enough for a good matrix product."""
UNKNOWN_TO_TREES = ("softcap", "s_aux", "position_bias", "head_mask")
"""Options that change attention scores in a way that is not followed here."""


class TreeUnsupportedError(Exception):
    """This family's attention does something that the tree does not follow; the plain path is used."""


class Layout(Protocol):
    """Who may attend to whom in one forward pass: a token tree, or one new token of each row."""

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """Attention output of shape (batch, tokens, H, D)."""


@dataclass(frozen=True, eq=False)
class Block:
    """Queries `start` to `end`, the keys that any of them may see, and which query sees which key."""

    start: int
    end: int
    keys: Tensor
    """Key numbers, prefix included, shape (K,)."""
    seen: Tensor
    """Bool, shape (end - start, K)."""
    distance: Tensor
    """Query position minus key position, shape (end - start, K); for sliding windows."""


@dataclass(frozen=True, eq=False)
class TreeLayout:
    """The blocks of one tree over an optional prefix of key-value state."""

    blocks: tuple[Block, ...]
    masks: dict[tuple[int, str, int], Tensor] = field(default_factory=dict)

    @staticmethod
    def of(tree: TokenTree, prefix: int, device: torch.device) -> TreeLayout:
        """Lay out `tree` whose roots follow `prefix` tokens that are kept as key-value state."""
        blocks = []
        for start in range(0, len(tree), BLOCK):
            end = min(start + BLOCK, len(tree))
            keys = np.concatenate([tree.ancestors(start), np.arange(start, end)])
            queries = np.arange(start, end)
            seen = (keys[None, :] <= queries[:, None]) & (tree.ends[keys][None, :] > queries[:, None])
            seen = np.concatenate([np.ones((len(queries), prefix), np.bool_), seen], axis=1)
            positions = np.concatenate([np.arange(prefix), tree.positions[keys]])
            distance = tree.positions[queries][:, None] - positions[None, :]
            numbers = np.concatenate([np.arange(prefix), keys + prefix])
            blocks.append(
                Block(
                    start, end, torch.from_numpy(numbers).to(device), torch.from_numpy(seen).to(device),
                    torch.from_numpy(distance).to(device),
                )
            )  # fmt: skip
        return TreeLayout(tuple(blocks))

    def mask(self, number: int, dtype: torch.dtype, window: int | None) -> Tensor:
        """Additive mask of block `number`, shape (1, 1, queries, keys); made once and kept."""
        key = (number, str(dtype), window or 0)
        if key not in self.masks:
            block = self.blocks[number]
            seen = block.seen if window is None else block.seen & (block.distance < window)
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self.masks[key] = mask.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]
        return self.masks[key]

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """Attention of a flattened tree, block by block; shapes as in `tree_attention`."""
        repeats = query.shape[1] // key.shape[1]
        outputs = []
        for number, block in enumerate(self.blocks):
            keys, values = key[:, :, block.keys], value[:, :, block.keys]
            if repeats > 1:
                keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
            outputs.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query[:, :, block.start : block.end],
                    keys,
                    values,
                    attn_mask=self.mask(number, query.dtype, options.get("sliding_window")),
                    scale=options.get("scaling"),
                )
            )
        return torch.cat(outputs, dim=2).transpose(1, 2).contiguous()


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as a layout says; the signature is transformers' attention interface.

    Args:
        module: The attention layer that asks.
        query: Shape (1, H, T, D) for a tree, (n, H, 1, D) for one new token of each row.
        key: Shape (1, G, P + T, D), prefix first, or (n, G, 1, D); H is a multiple of G.
        value: As `key`.
        attention_mask: None: the layout says who sees whom.
        **options: `tree_layout` (a `Layout`), `scaling`, `sliding_window`.

    Returns:
        Attention output of shape (1, T, H, D) or (n, 1, H, D), and no weights.

    Raises:
        TreeUnsupportedError: no layout reached this layer, or the family does more to its scores than scale them.
    """
    layout: Layout | None = options.get("tree_layout")
    changed = any(options.get(name) is not None for name in UNKNOWN_TO_TREES)
    if layout is None or changed or attention_mask is not None:
        raise TreeUnsupportedError(type(module).__name__)
    return layout.attend(module, query, key, value, options), None


AttentionInterface.register(NAME, tree_attention)


@contextmanager
def attend_to_trees(network: PreTrainedModel) -> Iterator[None]:
    """Inside, `network` computes attention over token trees instead of padded batches."""
    before = network.config._attn_implementation
    network.set_attn_implementation(NAME)
    try:
        yield
    finally:
        network.set_attn_implementation(before)
