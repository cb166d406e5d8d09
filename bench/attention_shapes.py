"""What attention costs on a CPU for four shapes of token trees: scores computed, and processor time of one layer.

    taskset -c 1 python bench/attention_shapes.py

Heads and sizes are those of SmolLM2-135M. Each row is forward and backward of one layer on one core; the least of a few
repetitions, in processor time, so that other work on the machine changes little. Compared are: one call of torch's
fused kernel with a mask for the whole tree; the same kernel over blocks of 192 queries with gathered keys (what metier
did before); parts without masks (each edge of the tree with itself, and its descendants with it) merged exactly by
their log-sum-exp, as FlashAttention merges blocks; and what metier does now. Last come counts of the scores of
sequences that share nothing, in the order in which micro-batches are cut and sorted by length.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metier.engine.attention_layout import TreeLayout
from metier.engine.texts import text_batches
from metier.engine.tree import TokenSequence, TokenTree, cut_into_groups

HEADS, GROUPS, SIZE = 9, 3, 64
SHAPES = {
    "16 branches of 26 under 37": (37, 16, 26), "16 branches of 30 under 600": (600, 16, 30),
    "8 unshared of 250": (0, 8, 250), "1 of 2000": (0, 1, 2000),
}  # fmt: skip
Way = Callable[[Tensor, Tensor, Tensor], Tensor]
FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FUSED_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def forest(prefix: int, branches: int, own: int) -> TokenTree:
    """`branches` sequences of `own` tokens below a beginning of `prefix` tokens."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, 40_000, prefix)
    whole = [np.concatenate([start, rng.integers(0, 40_000, own)]) for _ in range(branches)]
    return TokenTree.build([TokenSequence(ids, np.zeros(len(ids), np.bool_)) for ids in whole])


def repeated(states: Tensor) -> Tensor:
    """Keys or values for every query head."""
    return states.repeat_interleave(HEADS // GROUPS, 1)


def masked_blocks(tree: TokenTree, size: int, dtype: torch.dtype) -> tuple[Way, int]:
    """The fused kernel over blocks of queries with gathered keys and a mask; and the scores of one head."""
    blocks = []
    for start in range(0, len(tree), size):
        queries = np.arange(start, min(start + size, len(tree)))
        keys = np.concatenate([tree.ancestors(start), queries])
        seen = torch.from_numpy((keys <= queries[:, None]) & (tree.ends[keys] > queries[:, None]))
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)[None, None]
        blocks.append((start, start + len(queries), torch.from_numpy(keys), mask))

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sdpa = torch.nn.functional.scaled_dot_product_attention
        return torch.cat(
            [sdpa(query[:, :, a:b], repeated(key[:, :, k]), repeated(value[:, :, k]), m) for a, b, k, m in blocks],
            dim=2,
        )

    return attend, sum(mask.numel() for *_, mask in blocks)


class Merged(torch.autograd.Function):
    """Unmasked parts merged by their log-sum-exp; backward of each part with the merged output and log-sum-exp."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: list[tuple[slice, slice, bool]]) -> Tensor:
        """Attention output, shape (1, H, T, D)."""
        output, whole = torch.zeros_like(query), torch.full(query.shape[:3], -torch.inf)
        for q, k, causal in parts:
            part, lse = FUSED(query[:, :, q], key[:, :, k], value[:, :, k], 0.0, causal)
            new = torch.logaddexp(whole[:, :, q], lse)
            old_share, share = torch.exp(whole[:, :, q] - new)[..., None], torch.exp(lse - new)[..., None]
            output[:, :, q] = output[:, :, q] * old_share.to(query.dtype) + part * share.to(query.dtype)
            whole[:, :, q] = new
        ctx.save_for_backward(query, key, value, output, whole)
        ctx.parts = parts
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value."""
        query, key, value, output, whole = ctx.saved_tensors
        found = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for q, k, causal in ctx.parts:
            above, mine, after, norm = (each[:, :, q] for each in (grads[0], query, output, whole))
            parts = FUSED_BACKWARD(above, mine, key[:, :, k], value[:, :, k], after, norm, 0.0, causal)
            for total, part, place in zip(found, parts, (q, k, k), strict=True):
                total[:, :, place] += part
        return (*found, None)


def merged(tree: TokenTree) -> tuple[Way, int]:
    """The parts of a tree: each edge with itself, its descendants with it."""
    goes_on = (tree.ends[1:] == tree.ends[:-1]) & (tree.positions[1:] == tree.positions[:-1] + 1)
    cuts = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(tree)]
    parts: list[tuple[slice, slice, bool]] = []
    for start, end in pairwise(cuts):
        parts.append((slice(start, end), slice(start, end), True))
        if tree.ends[end - 1] > end:
            parts.append((slice(end, int(tree.ends[end - 1])), slice(start, end), False))
    count = sum((q.stop - q.start) * (k.stop - k.start) // (2 if causal else 1) for q, k, causal in parts)
    return lambda query, key, value: Merged.apply(query, repeated(key), repeated(value), parts), count


def ours(tree: TokenTree) -> tuple[Way, int]:
    """What metier does."""
    layout = TreeLayout.of(tree, 0, torch.device("cpu"))
    count = sum((block.end - block.start) * block.size for block in layout._blocks(None))
    module = torch.nn.Identity()
    return lambda query, key, value: layout.attend(module, query, key, value, {}).transpose(1, 2), count


def milliseconds(way: Way, states: list[Tensor], repeats: int) -> float:
    """Least processor time of forward and backward."""
    best = float("inf")
    for _ in range(repeats):
        for each in states:
            each.grad = None
        start = time.process_time()
        output = way(*states)
        output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]
        best = min(best, time.process_time() - start)
    return best * 1e3


def sorting() -> None:
    """Print the scores of unshared sequences in micro-batches of 2,048 tokens, in canonical order and by length."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        lengths = np.clip(rng.lognormal(4.6, 0.8, 256).astype(int), 8, 1500)
        some = [TokenSequence.of(rng.integers(0, 40_000, length).tolist(), [0]) for length in lengths]
        by_length = text_batches([each.inputs for each in some], 2048)
        orders = {"canonical": cut_into_groups(some, 2048), "by length": [batch.numbers for batch in by_length]}
        counts = {
            name: sum(ours(TokenTree.build([some[number] for number in group]))[1] for group in groups)
            for name, groups in orders.items()
        }
        print(f"seed {seed}: " + ", ".join(f"{name} {count:,} scores" for name, count in counts.items()))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}; scores of one head, and ms of one layer, forward and backward")
    for name, shape in SHAPES.items():
        tree = forest(*shape)
        print(f"{name}: {len(tree)} tokens, {int((tree.positions + 1).sum()):,} scores needed")
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            states = [
                torch.randn(1, len(tree), heads, SIZE, dtype=dtype).transpose(1, 2).requires_grad_()
                for heads in (HEADS, GROUPS, GROUPS)
            ]
            ways = {
                "one mask": masked_blocks(tree, len(tree), dtype),
                "masked blocks of 192": masked_blocks(tree, 192, dtype),
                "merged parts": merged(tree),
                "metier": ours(tree),
            }
            for title, (way, count) in ways.items():
                spent = milliseconds(way, states, 8 if len(tree) < 1000 else 4)
                print(f"  {str(dtype).removeprefix('torch.'):9} {title:22} {count:10,} scores {spent:8.1f} ms")
    sorting()


if __name__ == "__main__":
    main()
