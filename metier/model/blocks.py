"""Where the blocks of a pre-trained network are, for every family alike: found by their number, not by name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from metier.errors import ModelError


@dataclass(frozen=True, eq=False)
class Blocks:
    """The stack of transformer blocks of one network."""

    modules: nn.ModuleList
    """Lowest first."""
    prefix: str
    """Name of the list inside the network, e.g. `model.layers`."""


def blocks_of(network: PreTrainedModel) -> Blocks:
    """The stack of transformer blocks.

    Raises:
        ModelError: the network has no list of as many modules as its configuration has layers.
    """
    wanted = network.config.num_hidden_layers
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return Blocks(module, name)
    raise ModelError(
        "model", f"{type(network).__name__} has no list of {wanted} blocks", "a stack of transformer blocks",
        "Use adaptation.method: full with layers: all, or head, with this architecture.",
    )  # fmt: skip
