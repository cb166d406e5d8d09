"""Key-value state of rows that are being written: a slot for each row, and the shared prefix once for all.

Shape letters: n rows now, B rows at most, G key-value heads, R query heads for each of them, D head size,
P tokens of the prefix, L own tokens of the longest row, C places of a slot, V vocabulary.

Rows are always the slots 0 to n-1: when some end, the last ones move into their places, so no step
computes a row that has ended. There is no padding: what a row has not reached is masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metier.engine.attention import TreeUnsupportedError
from metier.engine.forward import KeysValues, Prefix
from metier.engine.tree import Ints

ROOM = 64
"""Places that a slot has at first beyond the longest prompt; then it grows by half."""


@dataclass(eq=False)
class Slots:
    """Keys and values of rows, layer by layer, in preallocated storage of shape (B, G, C, D)."""

    size: int
    """Most rows, B."""
    prefix: Prefix | None = None
    lengths: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Own tokens of each row, without the prefix, shape (n,)."""
    capacity: int = 0
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    shared: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values of the prefix, shape (G, P, D)."""

    def __len__(self) -> int:
        """Number of rows now, n."""
        return len(self.lengths)

    @property
    def shared_length(self) -> int:
        """Length of the prefix, P."""
        return 0 if self.prefix is None else len(self.prefix.ids)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        storages = [*self.keys.values(), *self.values.values()]
        return sum(storage.shape[1] * storage.shape[3] * storage.element_size() for storage in storages)

    def add(self, state: KeysValues, paths: Sequence[Ints]) -> None:
        """Give each path of a tree a slot, after the rows that there are.

        Args:
            state: Keys and values of prefix and tree, shape (1, G, P + T, D).
            paths: The nodes of each new row.
        """
        own = np.array([len(path) for path in paths], dtype=np.int64)
        longest = int(own.max())
        if not self.keys:
            self._allocate(state, longest + ROOM)
        self._grow_to(longest + 1)
        nodes = np.zeros((len(paths), longest), dtype=np.int64)
        for row, path in enumerate(paths):
            nodes[row, : len(path)] = path + self.shared_length
        first, last = len(self), len(self) + len(paths)
        for layer, keys, values in state:
            where = torch.from_numpy(nodes).to(keys.device)
            self.keys[layer][first:last, :, :longest] = keys[0][:, where].transpose(0, 1)
            self.values[layer][first:last, :, :longest] = values[0][:, where].transpose(0, 1)
        self.lengths = np.concatenate([self.lengths, own])

    def remove(self, ended: Iterable[int]) -> list[tuple[int, int]]:
        """Free the slots of `ended` rows; returns the moves (from, to) by which the others stay together."""
        gone = set(ended)
        left = len(self) - len(gone)
        holes = sorted(row for row in gone if row < left)
        moved = [row for row in range(left, len(self)) if row not in gone]
        if moved:
            longest = int(self.lengths[moved].max())
            for storage in (*self.keys.values(), *self.values.values()):
                storage[holes, :, :longest] = storage[moved, :, :longest]
            self.lengths[holes] = self.lengths[moved]
        self.lengths = self.lengths[:left].copy()
        return list(zip(moved, holes, strict=True))

    def step(self) -> SlotStep:
        """Make room for one more token of each row. It counts once `advance` is called."""
        self._grow_to(int(self.lengths.max()) + 1)
        return SlotStep(self)

    def advance(self) -> None:
        """Each row has one token more."""
        self.lengths = self.lengths + 1

    def _allocate(self, state: KeysValues, capacity: int) -> None:
        self.capacity = capacity
        for layer, keys, values in state:
            # Under autocast keys come in float32, to be cast for every product: they are cast once here.
            for store, part in ((self.keys, keys), (self.values, values)):
                # Zeros: what no row has reached is masked, but must be finite.
                shape = (self.size, part.shape[1], capacity, part.shape[3])
                store[layer] = torch.zeros(shape, dtype=values.dtype, device=part.device)
        for layer, keys, values in self.prefix.keys_values if self.prefix is not None else ():
            self.shared[layer] = (keys[0].to(values.dtype), values[0])

    def _grow_to(self, length: int) -> None:
        if length <= self.capacity:
            return
        self.capacity = max(length, self.capacity * 3 // 2)
        for store in (self.keys, self.values):
            for layer, old in store.items():
                store[layer] = old.new_zeros(old.shape[0], old.shape[1], self.capacity, old.shape[3])
                store[layer][: len(self), :, : old.shape[2]] = old[: len(self)]


@dataclass(frozen=True, eq=False)
class SlotStep:
    """One decoding step: attention of one new token of each row to the prefix and to the row's own slot."""

    slots: Slots
    places: dict[int, Tensor] = field(default_factory=dict)
    masks: dict[tuple[str, int | None], Tensor | None] = field(default_factory=dict)

    @property
    def positions(self) -> Ints:
        """Position of each new token, shape (n, 1)."""
        return (self.slots.lengths + self.slots.shared_length)[:, None]

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """Write the new keys and values, and attend.

        Args:
            module: The attention layer; its `layer_idx` says which storage is its own.
            query: Shape (n, G * R, 1, D).
            key: Shape (n, G, 1, D).
            value: As `key`.
            options: `scaling` and `sliding_window`.

        Returns:
            Shape (n, 1, G * R, D).

        Raises:
            TreeUnsupportedError: the layer is not one whose keys and values were kept, or caps its scores.
        """
        slots, layer, rows = self.slots, getattr(module, "layer_idx", None), len(self.slots)
        if layer not in slots.keys or query.shape[2] != 1 or options.get("softcap") is not None:
            raise TreeUnsupportedError(type(module).__name__)
        groups, size = key.shape[1], query.shape[3]
        keys, values = slots.keys[layer], slots.values[layer]
        where = self._where(groups, keys.device)
        for storage, new in ((keys, key), (values, value)):
            flat = new.reshape(rows * groups, -1).to(storage.dtype)
            storage.view(-1, storage.shape[3]).index_copy_(0, where, flat)
        shared, own = self._visible(options.get("sliding_window"))
        grouped = query.reshape(rows, groups, -1, size).to(keys.dtype)
        keys, values = keys[:rows, :, own], values[:rows, :, own]
        scale = options.get("scaling") or size**-0.5
        if shared.start >= shared.stop:
            mask = self._mask(options.get("sliding_window"), keys)
            output = torch.nn.functional.scaled_dot_product_attention(
                grouped, keys, values, attn_mask=mask, scale=scale
            )
        else:
            mask = self._mask(options.get("sliding_window"), keys)
            first = slots.shared[layer][0][:, shared], slots.shared[layer][1][:, shared]
            output = _attend_to_both(grouped * scale, first, (keys, values), mask)
        return output.reshape(rows, 1, -1, output.shape[3])

    def _where(self, groups: int, device: torch.device) -> Tensor:
        """Place of each row's new token in storage flattened to (B * G * C, D); shape (n * G,)."""
        if groups not in self.places:
            starts = np.arange(len(self.slots) * groups) * self.slots.capacity
            self.places[groups] = torch.from_numpy(starts + self.slots.lengths.repeat(groups)).to(device)
        return self.places[groups]

    def _visible(self, window: int | None) -> tuple[slice, slice]:
        """The part of the prefix and the part of the slots that any row may see."""
        lengths, shared = self.slots.lengths, self.slots.shared_length
        start = 0 if window is None else max(0, int(lengths.min()) + shared - window + 1)
        return slice(min(start, shared), shared), slice(max(0, start - shared), int(lengths.max()) + 1)

    def _mask(self, window: int | None, keys: Tensor) -> Tensor | None:
        """Additive mask over the visible prefix and slots, shape (n, 1, 1, P + L); None when all see all."""
        name = (str(keys.dtype), window)
        if name not in self.masks:
            shared, own = self._visible(window)
            after = self.slots.shared_length
            there = np.concatenate([np.arange(shared.start, shared.stop), np.arange(own.start, own.stop) + after])
            distance = self.positions - there[None, :]
            seen = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
            if seen.all():
                self.masks[name] = None
            else:
                hidden = torch.from_numpy(~seen).to(keys.device)
                mask = torch.zeros(seen.shape, dtype=keys.dtype, device=keys.device)
                self.masks[name] = mask.masked_fill_(hidden, torch.finfo(keys.dtype).min)[:, None, None]
        return self.masks[name]


def _attend_to_both(
    query: Tensor, shared: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], mask: Tensor | None
) -> Tensor:
    """One softmax over a prefix that all rows share and each row's own keys.

    Args:
        query: Scaled, shape (n, G, R, D).
        shared: Keys and values of shape (G, P, D): read once for all rows.
        own: Keys and values of shape (n, G, L, D).
        mask: Additive, shape (n, 1, 1, P + L), or None.

    Returns:
        Shape (n, G, R, D).
    """
    rows, groups, repeats, size = query.shape
    together = query.transpose(0, 1).reshape(groups, rows * repeats, size)
    first = torch.matmul(together, shared[0].transpose(1, 2)).view(groups, rows, repeats, -1).transpose(0, 1)
    scores = torch.cat([first, torch.matmul(query, own[0].transpose(2, 3))], dim=3).float()
    weights = torch.softmax(scores if mask is None else scores + mask, dim=3).to(own[1].dtype)
    length = first.shape[3]
    left = weights[..., :length].transpose(0, 1).reshape(groups, rows * repeats, length)
    output = torch.matmul(left, shared[1]).view(groups, rows, repeats, -1).transpose(0, 1)
    return output + torch.matmul(weights[..., length:], own[1])
