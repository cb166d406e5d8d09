"""A base model held in 4 or 8 bits while adapters learn over it (QLoRA, arXiv 2305.14314; LLM.int8, arXiv 2208.07339).

The only file that imports bitsandbytes. Quantised weights never learn and never leave: an export holds
the numbers that they stand for, in an ordinary type.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import nn

from metier.errors import LackingEnvironment, MissingPackage, ModelError
from metier.model.quiet import quiet_transformers
from metier.recipe.sections import Quantization

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

PACKAGE, EXTRA = "bitsandbytes", "quantization"
DEVICES = ("cpu", "cuda")
"""Where its products run."""
NOTES = {
    "nf4": "its linear layers were held in 4 bits (nf4, bitsandbytes) while it learned and was measured",
    "int8": "its linear layers were held in 8 bits (int8, bitsandbytes) while it learned and was measured",
}
"""What a card and a table say about weights that were quantised when they were loaded."""


def bitsandbytes(where: str, wanted: str) -> Any:
    """The package bitsandbytes, imported.

    Args:
        where: The recipe field that asks for it.
        wanted: What it asks for.

    Raises:
        MissingPackage: It is not installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        fix = f'Install it: pip install "metier[{EXTRA}]"'
        raise MissingPackage(where, f"{wanted} needs the package {PACKAGE}, which is not installed", "", fix)
    # Its lines are about kernels of its own and casts that it does at every product, not about the user's run.
    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    with quiet_transformers():
        return importlib.import_module(PACKAGE)


def check_quantization(name: Quantization | None, device: str) -> None:
    """Say early that a quantisation cannot be had.

    Args:
        name: `model.quantization`.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        MissingPackage: bitsandbytes is not installed.
        LackingEnvironment: The device cannot run quantised products.
    """
    if name is None:
        return
    if device not in DEVICES:
        wanted, fix = " or ".join(DEVICES), "Set `hardware.device: cpu`, or remove `model.quantization`."
        raise LackingEnvironment("model.quantization", f"{name} does not run on {device}", wanted, fix)
    bitsandbytes("model.quantization", name)


def quantization_config(name: Quantization, dtype: torch.dtype, device: str) -> BitsAndBytesConfig:
    """How transformers loads the weights.

    Args:
        name: `nf4` (4 bits, normal float, its scales quantised again) or `int8`.
        dtype: Type of activations and products.
        device: `cpu` or `cuda`.

    Raises:
        MissingPackage: bitsandbytes is not installed.
        LackingEnvironment: The device cannot run quantised products.
    """
    check_quantization(name, device)
    from transformers import BitsAndBytesConfig

    if name == "int8":
        # Without a threshold no column is taken out for the sake of other rows: what a token gets does not
        # depend on what is computed beside it.
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def keep_as_loaded(network: PreTrainedModel) -> None:
    """Let 4-bit weights stay as they were quantised.

    On processors with bfloat16 products, bitsandbytes packs them at the first answer, with coarser scales: the
    model would answer with other numbers than it learned with.
    """
    for module in network.modules():
        if is_quantized(module) and "support_avx512bf16_for_cpu" in vars(module):
            vars(module)["support_avx512bf16_for_cpu"] = False


def dequantize(network: PreTrainedModel, folder: Path) -> None:
    """Replace every quantised layer by an ordinary one with the numbers that its weights stand for.

    Args:
        network: A network that was loaded with a quantisation, without adapters.
        folder: Where it came from, for the message.

    Raises:
        ModelError: Nothing in it is quantised.
    """
    functional = bitsandbytes("model.quantization", "a quantised model").functional
    found = [(name, module) for name, module in network.named_modules() if is_quantized(module)]
    if not found:
        raise ModelError(str(folder), "has no quantised layer", "a network that was loaded with model.quantization")
    for name, module in found:
        place, _, last = name.rpartition(".")
        setattr(network.get_submodule(place), last, _plain_layer(module, functional, network.dtype))
    del network.hf_quantizer, network.config.quantization_config
    for mark in ("is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized", "quantization_method"):
        if mark in vars(network):
            delattr(network, mark)


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Numbers that parameters stand for: two of 4 bits lie in one byte."""
    return sum(_shape(parameter).numel() for parameter in parameters)


def _shape(parameter: nn.Parameter) -> torch.Size:
    state = getattr(parameter, "quant_state", None)
    return parameter.shape if state is None else torch.Size(state.shape)


def is_quantized(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether this is a linear layer whose weights are held in 4 or 8 bits."""
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Linear) and weight is not None and weight.dtype in (torch.uint8, torch.int8)


def _plain_layer(module: Any, functional: Any, dtype: torch.dtype) -> nn.Linear:
    """An ordinary linear layer with the numbers of a quantised one."""
    weight = module.weight
    if weight.dtype is torch.uint8:
        values = functional.dequantize_4bit(weight.data, weight.quant_state)
    else:
        # The first product moves the scales from the weight to the layer.
        scales = weight.SCB if weight.SCB is not None else module.state.SCB
        values = functional.int8_vectorwise_dequant(weight.data, scales)
    plain = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
    plain.weight = nn.Parameter(values.to(dtype), requires_grad=False)
    plain.bias = module.bias
    return plain
