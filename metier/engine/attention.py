"""Attention over token trees and texts without padding, as an attention function of transformers.

Who sees whom is a layout, which travels through the model's keyword arguments; how it is computed is in
`attention_blocks.py` and `attention_flex.py`, and chosen in `attention_choice.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

from metier.engine.lean import lean_modules

NAME = "metier_tree"
UNKNOWN_TO_TREES = ("s_aux", "position_bias", "head_mask")
"""Options that change attention scores in a way that is not followed here."""


class TreeUnsupportedError(Exception):
    """This family's attention does something that the tree does not follow; the plain path is used."""


class Layout(Protocol):
    """Who may attend to whom in one forward pass: a token tree, or one new token of each row."""

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """Attention output of shape (batch, tokens, H, D)."""


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
        **options: `tree_layout` (a `Layout`), `scaling`, `sliding_window`, `softcap`.

    Returns:
        Attention output of shape (1, T, H, D) or (n, 1, H, D), and no weights.

    Raises:
        TreeUnsupportedError: no layout reached this layer, or the family does more to its scores than scale them.
    """
    layout: Layout | None = options.get("tree_layout")
    changed = any(options.get(name) is not None for name in UNKNOWN_TO_TREES) or options.get("dropout")
    if layout is None or changed or attention_mask is not None:
        raise TreeUnsupportedError(type(module).__name__)
    return layout.attend(module, query, key, value, options), None


AttentionInterface.register(NAME, tree_attention)


@contextmanager
def attend_to_trees(network: PreTrainedModel) -> Iterator[None]:
    """Inside, `network` computes attention over token trees instead of padded batches, and modules as in `lean.py`.

    Autocast, where it is wanted, is entered before.
    """
    configs = _CONFIGS.get(network)
    if configs is None:
        configs = _CONFIGS[network] = _configs_of(network)
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = NAME
    try:
        with lean_modules(network):
            yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


_CONFIGS: WeakKeyDictionary[PreTrainedModel, list[PreTrainedConfig]] = WeakKeyDictionary()
"""The configurations that a network's layers read their attention from; transformers looks for them each time."""


def _configs_of(network: PreTrainedModel) -> list[PreTrainedConfig]:
    """Found out by letting transformers switch the attention once, so that it says what it refuses."""
    found: dict[int, Any] = {
        id(module.config): module.config for module in network.modules() if hasattr(module, "config")
    }
    before = {key: config._attn_implementation for key, config in found.items()}
    name = network.config._attn_implementation
    if name == NAME:  # somebody switched it already
        return [config for key, config in found.items() if before[key] == NAME]
    network.set_attn_implementation(NAME)
    switched = [config for key, config in found.items() if config._attn_implementation != before[key]]
    network.set_attn_implementation(name)
    return switched
