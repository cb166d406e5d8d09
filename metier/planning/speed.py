"""How fast this machine multiplies matrices of a model's own shapes, measured in half a second."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.model.blocks import blocks_of
from metier.model.quantized import count_parameters, is_quantized

SECONDS, QUICKLY = 0.5, 0.1
ROWS = 512
"""Tokens of one measured product: about what a micro-batch has after sharing."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a network that decide what it costs."""

    layers: int
    hidden: int
    vocabulary: int
    """Rows of the output layer; 0 for an encoder."""
    block_weights: int
    """Weights in the matrix products of one block."""
    block_cells: int
    """Numbers that one block keeps of one token for its backward pass, at most."""
    weight_bytes: int
    parameters: int
    number_bytes: int
    """Bytes of one number in the run's type."""
    attention_cells: int = 0
    """Numbers that attention keeps of one token in one block while an answer is written."""

    @staticmethod
    def of(network: PreTrainedModel, *, vocabulary: int, number_bytes: int) -> Shape:
        """The sizes of a network.

        Args:
            network: Any family; adapters must be off.
            vocabulary: Rows of the output layer; 0 for none.
            number_bytes: Bytes of one activation.
        """
        blocks = blocks_of(network).modules
        sizes = [tuple(weight.shape) for weight in _products(blocks)]
        return Shape(
            layers=len(blocks),
            hidden=int(network.config.get_text_config().hidden_size),
            vocabulary=vocabulary,
            block_weights=sum(rows * columns for rows, columns in sizes) // len(blocks),
            block_cells=sum(rows + columns for rows, columns in sizes) // len(blocks),
            weight_bytes=sum(p.numel() * p.element_size() for p in network.parameters()),
            parameters=count_parameters(network.parameters()),
            number_bytes=number_bytes,
            attention_cells=_attention_cells(network),
        )

    def block_flops(self, length: float) -> float:
        """Operations of one block for one token in texts of `length`: products, and attention to half of them."""
        return 2.0 * self.block_weights + 2.0 * length * self.hidden


def measure_speed(network: PreTrainedModel, dtype: torch.dtype, *, rows: int = ROWS, seconds: float = SECONDS) -> float:
    """Operations in a second in the matrix products of one block of `network`.

    Args:
        network: The model; nothing in it is changed.
        dtype: The type in which the run multiplies.
        rows: Tokens of one product.
        seconds: How long to measure.
    """
    weights = [weight.detach().to(dtype) for weight in _products(nn.ModuleList([blocks_of(network).modules[0]]))]
    inputs = [torch.ones(rows, weight.shape[0], dtype=dtype, device=weight.device) for weight in weights]
    flops = sum(2.0 * rows * weight.numel() for weight in weights)
    with torch.no_grad():
        _multiply(inputs, weights)
        times: list[float] = []
        while not times or sum(times) < seconds:
            started = time.perf_counter()
            _multiply(inputs, weights)
            times.append(time.perf_counter() - started)
    return flops / statistics.median(times)  # one hiccup of a busy machine is not its speed


def _attention_cells(network: PreTrainedModel) -> int:
    """Keys and values of one token in one block, as far as the configuration says how many heads share them."""
    config = network.config.get_text_config()
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    if not heads:
        return 0
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return 2 * shared * size


def _multiply(inputs: list[Tensor], weights: list[Tensor]) -> None:
    """Every product once; the sum makes an accelerator finish before the clock is read."""
    total = sum((left @ right)[0, 0] for left, right in zip(inputs, weights, strict=True))
    float(total)


def _products(modules: nn.Module) -> list[Tensor]:
    """Weights of all matrix products, input side first."""
    found = []
    for module in modules.modules():
        if is_quantized(module):
            # Its weight lies in bytes of another shape: a product of the same sizes stands in.
            found.append(torch.ones(module.in_features, 1, device=module.weight.device).expand(-1, module.out_features))
        elif isinstance(module, nn.Linear):
            found.append(module.weight.t())
        elif isinstance(module, Conv1D):
            found.append(module.weight)
    return found
