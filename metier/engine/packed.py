"""Weights of linear layers laid out once for products with few rows, while answers are written on a CPU.

A decoding step multiplies every weight matrix by a few rows. In the layout of training each product rearranges
the matrix first; oneDNN's packed layout saves that. The numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.device import available_memory_bytes

SMALLEST = 32_768
"""Weights of a layer that is worth packing; an adapter's matrices are smaller."""
MEMORY = 0.5
"""Share of the free memory that the packed copy may take."""


@contextmanager
def packed_linears(network: PreTrainedModel, *, rows: int, autocast: bool = False) -> Iterator[bool]:
    """Inside, plain linear layers of `network` use packed copies of their weights. Nothing may train meanwhile.

    Args:
        network: The model.
        rows: Usual number of rows of a product.
        autocast: Products of float32 weights are computed in bfloat16: the copies are bfloat16.

    Yields:
        Whether there are packed copies: not on other devices, nor where memory is short.
    """
    layers = _packable(network, autocast)
    packed = []
    try:
        for layer in layers:
            vars(layer)["forward"] = _packed_forward(layer, rows, autocast)
            packed.append(layer)
        yield bool(packed)
    finally:
        for layer in packed:
            del vars(layer)["forward"]


def packed_bytes(network: PreTrainedModel, *, autocast: bool = False) -> int:
    """Bytes that the packed copies take while answers are written; 0 where there are none.

    Args:
        network: The model.
        autocast: As `packed_linears` gets it.
    """
    return sum(_bytes(layer, autocast) for layer in _packable(network, autocast))


def _bytes(layer: nn.Linear, autocast: bool) -> int:
    return layer.weight.numel() * (2 if autocast else layer.weight.element_size())


def _packable(network: PreTrainedModel, autocast: bool) -> list[nn.Linear]:
    """The layers that can be packed; none where the machine, the dtype or the memory does not allow it."""
    if network.device.type != "cpu" or not _has_packed_products(torch.bfloat16 if autocast else network.dtype):
        return []
    layers = [
        module
        for module in network.modules()
        if type(module) is nn.Linear
        and "forward" not in vars(module)
        and module.weight.numel() >= SMALLEST
        and module.weight.dtype in (torch.float32, torch.bfloat16)
    ]
    size = sum(_bytes(layer, autocast) for layer in layers)
    return layers if size <= MEMORY * available_memory_bytes() else []


def _packed_forward(layer: nn.Linear, rows: int, autocast: bool) -> Callable[[Tensor], Tensor]:
    """What replaces the layer's forward."""
    dtype = torch.bfloat16 if autocast else layer.weight.dtype
    weight = _pack(layer.weight.detach().to(dtype), rows)
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(states: Tensor) -> Tensor:
        return _product(states.to(dtype), weight, bias)

    return forward


def _pack(weight: Tensor, rows: int) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product


def _has_packed_products(dtype: torch.dtype) -> bool:
    """Whether this torch and this processor compute packed products in `dtype`, tried on a small one."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or dtype not in (torch.float32, torch.bfloat16):
        return False
    weight, states = torch.eye(8, dtype=dtype), torch.arange(16, dtype=dtype).reshape(2, 8)
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        return torch.equal(_product(states, _pack(weight, 2), None), states)
    except (AttributeError, RuntimeError):  # not in this build of torch
        return False
