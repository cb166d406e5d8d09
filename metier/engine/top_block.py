"""The last block computes its MLP only where an answer is wanted.

Keys and values of the last block are needed at every token, but what leaves the block only where a logit is: at the
other tokens the MLP, three quarters of a block's weights, is multiplied for nothing. Its output there is left at
zero, which nobody reads. No family has code of its own: an MLP is the part of a block that maps each token's state
to one of the same size without looking at the others, found out once by trying.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.engine.attention import TreeUnsupportedError
from metier.engine.network import without_dropout
from metier.errors import ModelError
from metier.model.blocks import blocks_of

LARGE = 0.25
"""Share of a block's weights from which a part of it is worth looking at."""
WORTH = 0.75
"""Share of the tokens from which on all are computed: gathering would cost what it saves."""
_ROUNDING = {torch.float32: 1e-4}
_COARSE = 0.05
_FOUND: WeakKeyDictionary[PreTrainedModel, nn.Module | None] = WeakKeyDictionary()


@contextmanager
def answered_only(network: PreTrainedModel, nodes: Tensor, tokens: int) -> Iterator[None]:
    """Inside, the last block's MLP is computed at `nodes` and zero elsewhere.

    Enter it after everything else that replaces a module's forward. A block whose own forward was replaced is left
    alone: it may be computed again later, when this context is over.

    Args:
        network: A decoder.
        nodes: Tokens whose logits are wanted, shape (M,).
        tokens: All tokens of the pass.
    """
    mlp = _mlp_of(network) if len(nodes) < WORTH * tokens else None
    if mlp is None:
        yield
        return
    before = vars(mlp).get("forward")
    compute = mlp.forward

    def forward(states: Tensor) -> Tensor:
        if states.shape[:2] != (1, tokens):
            return compute(states)  # type: ignore[no-any-return]
        answers: Tensor = compute(states.index_select(1, nodes))
        return answers.new_zeros(states.shape).index_copy(1, nodes, answers)

    vars(mlp)["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del vars(mlp)["forward"]
        else:
            vars(mlp)["forward"] = before


def _mlp_of(network: PreTrainedModel) -> nn.Module | None:
    """The MLP of the last block; None where there is none that can be told, or where the block is not to be touched."""
    try:
        block = blocks_of(network).modules[-1]
    except ModelError:
        return None
    if "forward" in vars(block):
        return None
    if network not in _FOUND:
        with torch.no_grad(), without_dropout(network):
            _FOUND[network] = _find(block, network)
    return _FOUND[network]


def _find(block: nn.Module, network: PreTrainedModel) -> nn.Module | None:
    whole = sum(p.numel() for p in block.parameters())
    hidden = int(network.config.get_text_config().hidden_size)
    steps = torch.arange(3 * hidden, dtype=torch.float32, device=network.device).view(1, 3, hidden)
    states = torch.sin(steps * 0.7).to(network.dtype)
    for part in block.children():
        if sum(p.numel() for p in part.parameters()) >= LARGE * whole and _is_token_wise(part, states):
            return part
    return None


def _is_token_wise(part: Any, states: Tensor) -> bool:
    """Whether a part of a block gives for one token what it gives for it among others, in the same shape."""
    try:
        together = part(states)
        alone = part(states[:, 1:2])
    except (TreeUnsupportedError, TypeError, ValueError, AttributeError, RuntimeError, IndexError):
        return False  # an attention, which wants more than states
    if not isinstance(together, Tensor) or together.shape != states.shape or not isinstance(alone, Tensor):
        return False
    size = together.float().abs().max().clamp_min(1e-9)
    off = (together[:, 1:2].float() - alone.float()).abs().max() / size
    cast = torch.is_autocast_enabled(states.device.type)
    return bool(off <= (_COARSE if cast else _ROUNDING.get(states.dtype, _COARSE)))
