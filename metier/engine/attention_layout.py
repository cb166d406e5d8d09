"""Who may attend to whom in one forward pass over concatenated sequences: a token tree, or separate texts.

Every key is seen by one run of consecutive queries: in a tree by the node itself and its descendants,
in texts by the tokens of its own text, and a key of prefix state by all. Two numbers a key therefore say
everything, and no table of T x T is needed. Sliding windows go by position, not by place.

Shape letters: T queries, P keys of prefix state before them, K = P + T keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metier.engine.attention_blocks import Block, attend_in_blocks
from metier.engine.attention_choice import AttentionChoice, choose_attention
from metier.engine.attention_flex import attend_flexibly, block_mask
from metier.engine.tree import Bools, Ints, TokenTree


@dataclass(frozen=True, eq=False)
class Sight:
    """Which queries see each key, and where queries and keys stand in their sequences."""

    first: Ints
    """First query that sees each key, shape (K,)."""
    last: Ints
    """One past the last query that sees each key, shape (K,)."""
    query_positions: Ints
    """Shape (T,)."""
    key_positions: Ints
    """Shape (K,)."""

    def __len__(self) -> int:
        """Number of queries, T."""
        return len(self.query_positions)

    @property
    def prefix(self) -> int:
        """Number of keys before those of the queries themselves, P."""
        return len(self.key_positions) - len(self.query_positions)

    def seen(self, start: int, end: int, window: int | None) -> tuple[Ints, Bools]:
        """Keys that any of the queries `start` to `end` sees, and who sees which, shape (end - start, keys)."""
        keys = np.flatnonzero((self.first < end) & (self.last > start))
        queries = np.arange(start, end)[:, None]
        seen = (self.first[keys] <= queries) & (self.last[keys] > queries)
        if window is not None:
            distance = self.query_positions[start:end, None] - self.key_positions[keys]
            seen &= np.abs(distance) < window
            some = seen.any(axis=0)
            keys, seen = keys[some], seen[:, some]
        return keys, seen

    def pieces(self) -> list[int]:
        """Places at which no key is seen from both sides, prefix aside: there sequences may be parted."""
        reach = np.maximum.accumulate(self.last[self.prefix :])
        inner = np.flatnonzero(reach[:-1] <= np.arange(1, len(reach))) + 1
        return [0, *inner.tolist(), len(self)]


@dataclass(frozen=True, eq=False)
class TreeLayout:
    """What one forward pass attends with; made once for all layers."""

    sight: Sight
    device: torch.device
    choice: AttentionChoice
    made: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Blocks and masks by window and dtype, so that layers share them."""

    @staticmethod
    def of(tree: TokenTree, prefix: int, device: torch.device) -> TreeLayout:
        """Lay out `tree` whose roots follow `prefix` tokens that are kept as key-value state."""
        sight = Sight(
            first=np.concatenate([np.zeros(prefix, np.int64), np.arange(len(tree))]),
            last=np.concatenate([np.full(prefix, len(tree)), tree.ends]),
            query_positions=tree.positions,
            key_positions=np.concatenate([np.arange(prefix), tree.positions]),
        )
        return TreeLayout(sight, device, choose_attention(device.type))

    @staticmethod
    def of_texts(lengths: Sequence[int], device: torch.device) -> TreeLayout:
        """Lay out texts side by side, each token seeing its whole text: for encoders."""
        ends = np.cumsum(lengths)
        starts = ends - np.asarray(lengths)
        positions = np.arange(ends[-1]) - np.repeat(starts, lengths)
        sight = Sight(np.repeat(starts, lengths), np.repeat(ends, lengths), positions, positions)
        return TreeLayout(sight, device, choose_attention(device.type))

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """Attention of concatenated sequences; shapes as in `tree_attention`."""
        window, scale = options.get("sliding_window"), options.get("scaling") or query.shape[3] ** -0.5
        if self.choice.kernel == "flex":
            mask = self._once(("flex", window), lambda: block_mask(self.sight, window, self.device))
            return attend_flexibly(query, key, value, mask, scale, options.get("softcap"))
        blocks = self._once(("blocks", window, query.dtype), lambda: self._blocks(window))
        return attend_in_blocks(query, key, value, blocks, scale, options.get("softcap"), self.choice.kept_keys)

    def _once(self, name: tuple[Any, ...], make: Any) -> Any:
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def _blocks(self, window: int | None) -> tuple[Block, ...]:
        """The blocks for layers with this window. Blocks that look alike share one table of who sees whom."""
        tables: dict[tuple[tuple[int, ...], bytes], Tensor] = {}
        blocks = []
        for start, end in cut_into_blocks(self.sight.pieces(), self.choice.queries):
            keys, seen = self.sight.seen(start, end, window)
            free = int(np.argmin(np.append(seen.all(axis=0), False)))
            rest = seen[:, free:]
            table = None
            if rest.shape[1]:
                name = (rest.shape, rest.tobytes())
                if name not in tables:
                    tables[name] = torch.from_numpy(~rest).to(self.device)
                table = tables[name]
            blocks.append(Block(start, end, runs(keys), table))
        return tuple(blocks)


def cut_into_blocks(pieces: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Cut queries into blocks of at most `size`.

    Args:
        pieces: Where sequences may be parted, 0 and T among them.
        size: Most queries of a block.

    Returns:
        Start and end of each block. Short pieces go together as far as they fit; a long one is cut evenly, and
        shares no block with another, so that no query meets keys of a sequence that is not its own.
    """
    blocks: list[tuple[int, int]] = []
    joinable = False
    for start, end in pairwise(pieces):
        if end - start > size:
            count = -(-(end - start) // size)
            edges = [start + (end - start) * number // count for number in range(count + 1)]
            blocks += list(pairwise(edges))
            joinable = False
        elif joinable and end - blocks[-1][0] <= size:
            blocks[-1] = (blocks[-1][0], end)
        else:
            blocks.append((start, end))
            joinable = True
    return blocks


def runs(numbers: Ints) -> tuple[tuple[int, int], ...]:
    """Sorted numbers as runs of consecutive ones: start and end of each."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    return tuple((int(numbers[left]), int(numbers[right - 1]) + 1) for left, right in pairwise(edges))
