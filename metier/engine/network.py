"""The parts of a pre-trained network that the engine needs by name, and the swap of its frozen trunk.

No family has code of its own here: blocks are found by their number, masks, rotary tables and norms
stay the model's. With the trunk swapped out, block 0 returns stored boundary states and the blocks
below the boundary pass them on, so the rest of the model computes what it would have computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.errors import ModelError
from metier.model.blocks import blocks_of


class _Boundary(Exception):
    """Carries the states that reach the boundary out of a forward pass that need not go on."""

    def __init__(self, states: Tensor) -> None:
        super().__init__("boundary reached")
        self.states = states


class _StoredStates(nn.Module):
    """Stands in for block 0: returns the stored boundary states whatever comes in."""

    def __init__(self, block: nn.Module, states: Tensor) -> None:
        super().__init__()
        _copy_marks(block, self)
        self.states = states

    def forward(self, *_args: Any, **_options: Any) -> Tensor:
        """The stored states."""
        return self.states


class _PassOn(nn.Module):
    """Stands in for a trunk block above block 0: gives back what it gets."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        _copy_marks(block, self)

    def forward(self, hidden_states: Tensor, *_args: Any, **_options: Any) -> Tensor:
        """The states, untouched."""
        return hidden_states


def _copy_marks(block: nn.Module, stand_in: nn.Module) -> None:
    """Models read these from their blocks to choose a mask."""
    for name in ("attention_type", "is_sliding", "layer_idx"):
        if name in vars(block):
            setattr(stand_in, name, getattr(block, name))


@contextmanager
def stored_trunk(network: PreTrainedModel, depth: int, states: Tensor) -> Iterator[None]:
    """Inside, the lowest `depth` blocks are not computed: `states` (batch, tokens, hidden) leave them."""
    blocks = blocks_of(network).modules
    kept = list(blocks[:depth])
    for number, block in enumerate(kept):
        blocks[number] = _StoredStates(block, states) if number == 0 else _PassOn(block)
    try:
        yield
    finally:
        for number, block in enumerate(kept):
            blocks[number] = block


def boundary_states(network: PreTrainedModel, depth: int, **inputs: Any) -> Tensor:
    """What reaches block `depth`, shape (batch, tokens, hidden); blocks from there on are not computed."""

    def stop(_module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        raise _Boundary(args[0] if args else options["hidden_states"])

    handle = blocks_of(network).modules[depth].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.no_grad():
            network.base_model(**inputs)
    except _Boundary as reached:
        return reached.states
    finally:
        handle.remove()
    raise ModelError("model", f"the forward pass never reached block {depth}", "a stack of transformer blocks")
