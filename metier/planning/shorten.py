"""A model with fewer blocks that shares the weights of the whole one: what a block costs is measured on it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from torch import nn

from metier.model.base import BaseModel
from metier.model.blocks import blocks_of


def shorten(base: BaseModel, layers: int, *, own: bool = False) -> BaseModel:
    """The lowest `layers` blocks of a model with all that stands beside them; the model itself stays as it is.

    Args:
        base: Any family; nothing may be attached to it.
        layers: Blocks to keep, at least 1.
        own: Whether the weights are copied, because they will be changed; otherwise they are shared.
    """
    network = base.network
    shared = [*network.parameters(), *network.buffers()]
    kept = blocks_of(network).modules
    # What is in the memo is not copied: tensors are shared, and the blocks that are left out stand in by name only.
    memo: dict[int, Any] = {} if own else {id(tensor): tensor for tensor in shared}
    memo |= {id(block): nn.Identity() for block in kept[layers:]}
    short = copy.deepcopy(network, memo)
    stack = blocks_of(short).modules
    del stack[layers:]
    for config in (short.config, short.config.get_text_config()):
        config.num_hidden_layers = layers
        kinds = getattr(config, "layer_types", None)
        if kinds is not None:
            config.layer_types = list(kinds)[:layers]
    return dataclasses.replace(base, network=short, layers=layers)
