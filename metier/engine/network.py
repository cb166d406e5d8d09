"""The parts of a pre-trained network that the engine needs by name, and the swap of its frozen trunk.

No family has code of its own here: blocks are found by their number, masks, rotary tables and norms
stay the model's. With the trunk swapped out, block 0 returns stored boundary states and the blocks
below the boundary pass them on, so the rest of the model computes what it would have computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.errors import ModelError
from metier.model.blocks import blocks_of


class _BoundaryReachedError(Exception):
    """Carries the states that reach the boundary out of a forward pass that need not go on."""

    def __init__(self, states: Tensor) -> None:
        super().__init__("boundary reached")
        self.states = states


class _StoredStates(nn.Module):
    """Stands in for block 0: returns the stored boundary states whatever comes in."""

    states: Tensor | None = None

    def __init__(self, block: nn.Module, outputs: int) -> None:
        super().__init__()
        _copy_marks(block, self)
        self.outputs = outputs

    def forward(self, *_args: Any, **_options: Any) -> Tensor | tuple[Tensor | None, ...]:
        """The stored states."""
        assert self.states is not None
        return _as_output(self.states, self.outputs)


class _PassOn(nn.Module):
    """Stands in for a trunk block above block 0: gives back what it gets."""

    def __init__(self, block: nn.Module, outputs: int) -> None:
        super().__init__()
        _copy_marks(block, self)
        self.outputs = outputs

    def forward(self, hidden_states: Tensor, *_args: Any, **_options: Any) -> Tensor | tuple[Tensor | None, ...]:
        """The states, untouched."""
        return _as_output(hidden_states, self.outputs)


class _NoEmbedding(nn.Module):
    """Stands in for the token embedding where no block reads it: gives something of the right shape."""

    states: Tensor | None = None

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.padding_idx = getattr(embedding, "padding_idx", None)

    def forward(self, *_args: Any, **_options: Any) -> Tensor:
        """The boundary states: the first stand-in above drops what it gets."""
        assert self.states is not None
        return self.states


def _as_output(states: Tensor, outputs: int) -> Tensor | tuple[Tensor | None, ...]:
    """States as a block of this family returns them: alone, or first in a tuple of `outputs` values."""
    return (states, *[None] * (outputs - 1)) if outputs else states


_OUTPUTS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def block_outputs(network: PreTrainedModel) -> int:
    """How many values a block returns as a tuple; 0 when it returns its states alone.

    Found out by one token, so no token tree may be in force.
    """
    if network not in _OUTPUTS:

        def look(_module: nn.Module, _args: Any, output: Any) -> None:
            _OUTPUTS[network] = len(output) if isinstance(output, tuple) else 0

        handle = blocks_of(network).modules[0].register_forward_hook(look)
        options = {"use_cache": False} if network.can_generate() else {}
        try:
            with torch.no_grad():
                network.base_model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=network.device), **options)
        finally:
            handle.remove()
    return _OUTPUTS[network]


def _copy_marks(block: nn.Module, stand_in: nn.Module) -> None:
    """Models read these from their blocks to choose a mask."""
    for name in ("attention_type", "is_sliding", "layer_idx"):
        if name in vars(block):
            setattr(stand_in, name, getattr(block, name))


@contextmanager
def stored_trunk(
    network: PreTrainedModel, depth: int, states: Tensor, *, spare_embedding: bool | None = None
) -> Iterator[None]:
    """Inside, the lowest `depth` blocks are not computed: `states` leave them.

    Args:
        network: The model.
        depth: Number of blocks.
        states: Shape (batch, tokens, hidden).
        spare_embedding: Whether the token embedding is not computed either; None: when its weights are out of memory.
    """
    blocks = blocks_of(network).modules
    outputs = block_outputs(network)
    kept = list(blocks[:depth])
    embedding = network.get_input_embeddings()
    spared = out_of_memory(embedding) if spare_embedding is None else spare_embedding
    first, others, no_embedding = _stand_ins(network, embedding, kept, outputs)
    first.states = no_embedding.states = states
    for number in range(depth):
        blocks[number] = first if number == 0 else others[number - 1]
    if spared:
        network.set_input_embeddings(no_embedding)
    try:
        yield
    finally:
        first.states = no_embedding.states = None
        for number, block in enumerate(kept):
            blocks[number] = block
        if spared:
            network.set_input_embeddings(embedding)


_StandIns = tuple[_StoredStates, list[_PassOn], _NoEmbedding]
_STAND_INS: WeakKeyDictionary[nn.Module, dict[int, _StandIns]] = WeakKeyDictionary()


def _stand_ins(network: PreTrainedModel, embedding: nn.Module, kept: list[nn.Module], outputs: int) -> _StandIns:
    """The same modules each time: what is known of a network goes by the modules in it."""
    made = _STAND_INS.setdefault(network, {})
    if len(kept) not in made:
        first, *rest = kept
        passing = [_PassOn(block, outputs) for block in rest]
        made[len(kept)] = _StoredStates(first, outputs), passing, _NoEmbedding(embedding)
    return made[len(kept)]


def out_of_memory(module: nn.Module) -> bool:
    """Whether the weight of a module was let go: see `trunk_memory.py`."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.numel() > 1 and set(weight.stride()) == {0}


def boundary_states(network: PreTrainedModel, depth: int, **inputs: Any) -> Tensor:
    """What reaches block `depth`, shape (batch, tokens, hidden); blocks from there on are not computed."""

    def stop(_module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        raise _BoundaryReachedError(args[0] if args else options["hidden_states"])

    handle = blocks_of(network).modules[depth].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.no_grad():
            network.base_model(**inputs)
    except _BoundaryReachedError as reached:
        return reached.states
    finally:
        handle.remove()
    raise ModelError("model", f"the forward pass never reached block {depth}", "a stack of transformer blocks")


@contextmanager
def without_dropout(network: PreTrainedModel) -> Iterator[None]:
    """Inside, no module of `network` drops anything out, and no random number is drawn."""
    dropping = [module for module in network.modules() if module.training]
    for module in dropping:
        module.training = False
    try:
        yield
    finally:
        for module in dropping:
            module.training = True
