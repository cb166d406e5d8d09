"""Attention through torch's `flex_attention`, which skips blocks of scores that nobody sees: for GPUs.

The table of blocks is made from who sees whom, one row of blocks at a time, so no T x T mask exists.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

if TYPE_CHECKING:
    from metier.engine.attention_layout import Sight

SIDE = 128
"""Queries and keys of one block of scores: what the kernel is written for."""


def block_mask(sight: Sight, window: int | None, device: torch.device) -> BlockMask:
    """Which blocks of scores are computed, and which of them need a look at every score.

    Args:
        sight: Who sees whom.
        window: Width of a sliding window, in positions; None: no window.
        device: Where attention will run.
    """
    rows, columns = -(-len(sight) // SIDE), -(-len(sight.first) // SIDE)
    some, every = np.zeros((rows, columns), np.bool_), np.zeros((rows, columns), np.bool_)
    for row in range(rows):
        start, end = row * SIDE, min((row + 1) * SIDE, len(sight))
        keys, seen = sight.seen(start, end, window)
        counts = np.bincount(keys // SIDE, weights=seen.sum(axis=0), minlength=columns)
        some[row], every[row] = counts > 0, counts == (end - start) * SIDE
        every[row] &= end - start == SIDE
    partial = _listed(some & ~every, device)
    whole = _listed(every, device)
    return BlockMask.from_kv_blocks(
        *partial, *whole, BLOCK_SIZE=SIDE, mask_mod=_rule(sight, window, device),
        seq_lengths=(len(sight), len(sight.first)),
    )  # fmt: skip


def attend_flexibly(
    query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float, softcap: float | None
) -> Tensor:
    """Attention output of shape (1, T, H, D); arguments as `attend_in_blocks`, `mask` from `block_mask`."""
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    run: Any = _compiled() if query.device.type == "cuda" else flex_attention
    output: Tensor = run(
        query, key, value, block_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1],
        score_mod=None if softcap is None else _capped(softcap),
    )  # fmt: skip
    return output.transpose(1, 2).contiguous()


@lru_cache
def _compiled() -> Callable[..., Tensor]:
    """Compiled once for all shapes: trees differ from step to step."""
    return torch.compile(flex_attention, dynamic=True)


@lru_cache
def _capped(softcap: float) -> Callable[..., Tensor]:
    """Squeeze a score into (-softcap, softcap)."""

    def change(score: Tensor, *_place: Any) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return change


def _rule(sight: Sight, window: int | None, device: torch.device) -> Callable[..., Tensor]:
    """Whether query `q` sees key `k`, for the kernel."""
    first, last, queries, keys = (
        torch.from_numpy(part).to(device)
        for part in (sight.first, sight.last, sight.query_positions, sight.key_positions)
    )

    def rule(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = (first[k] <= q) & (last[k] > q)
        return seen if window is None else seen & ((queries[q] - keys[k]).abs() < window)

    return rule


def _listed(blocks: np.ndarray[Any, np.dtype[np.bool_]], device: torch.device) -> tuple[Tensor, Tensor]:
    """How many blocks of each row there are, and their columns, those that count first."""
    order = np.argsort(~blocks, axis=1, kind="stable")
    counts = torch.from_numpy(blocks.sum(axis=1).astype(np.int32))[None, None].to(device)
    return counts, torch.from_numpy(order.astype(np.int32))[None, None].to(device)
