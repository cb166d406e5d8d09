"""The optimiser: AdamW (arXiv 1711.05101), its moments in float32 or in 8 bits (arXiv 2110.02861)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from metier.errors import LackingEnvironment
from metier.model.quantized import bitsandbytes
from metier.recipe.sections import OptimizerName, TrainingSection

Groups = Sequence[Mapping[str, Any]]

DEVICES: Mapping[OptimizerName, tuple[str, ...]] = {
    "adamw_torch": ("cpu", "cuda", "mps"), "adamw_bnb_8bit": ("cpu", "cuda"), "paged_adamw_8bit": ("cuda",),
}  # fmt: skip
"""Where each optimiser runs."""
SMALLEST_8BIT = 4096
"""Parameters of fewer numbers keep moments in float32: bitsandbytes' own limit."""


def check_optimizer(name: OptimizerName, device: str) -> None:
    """Say early that an optimiser cannot be had.

    Args:
        name: `training.optim`.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        LackingEnvironment: It does not run on this device, or its package is missing.
    """
    if device not in DEVICES[name]:
        others = " or ".join(f"`{other}`" for other, devices in DEVICES.items() if device in devices)
        found = f"{name} does not run on {device}"
        raise LackingEnvironment("training.optim", found, " or ".join(DEVICES[name]), f"Choose {others}.")
    if name != "adamw_torch":
        bitsandbytes("training.optim", name)


def make_optimizer(
    section: TrainingSection, learning: Mapping[str, nn.Parameter], peak: float
) -> torch.optim.Optimizer:
    """AdamW as the recipe asks for it; norms and biases, which have one dimension, do not decay.

    Args:
        section: Which one, and its numbers.
        learning: Everything that learns.
        peak: Learning rate to begin with.

    Raises:
        LackingEnvironment: It does not run where the parameters are, or its package is missing.
    """
    parameters = list(learning.values())
    check_optimizer(section.optim, parameters[0].device.type)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options = {"lr": peak, "betas": (section.adam_beta1, section.adam_beta2), "eps": section.adam_epsilon}
    return OPTIMIZERS[section.optim]([group for group in groups if group["params"]], options)


def _adamw(groups: Groups, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    parameters = [parameter for group in groups for parameter in group["params"]]
    # One pass a parameter where torch has it; hundreds of small adapters take a dozen each otherwise. Parameters that
    # are spread over processes are of another type.
    fused = all(type(each) is nn.Parameter and each.device.type in ("cpu", "cuda") for each in parameters)
    return torch.optim.AdamW([dict(group) for group in groups], fused=fused, **options)


def _adamw_8bit(groups: Groups, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    optim = bitsandbytes("training.optim", "adamw_bnb_8bit").optim
    made: torch.optim.Optimizer = optim.AdamW8bit(list(groups), min_8bit_size=SMALLEST_8BIT, **options)
    return made


def _paged_adamw_8bit(groups: Groups, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    optim = bitsandbytes("training.optim", "paged_adamw_8bit").optim
    made: torch.optim.Optimizer = optim.PagedAdamW8bit(list(groups), min_8bit_size=SMALLEST_8BIT, **options)
    return made


OPTIMIZERS: Mapping[OptimizerName, Callable[[Groups, Mapping[str, Any]], torch.optim.Optimizer]] = {
    "adamw_torch": _adamw, "adamw_bnb_8bit": _adamw_8bit, "paged_adamw_8bit": _paged_adamw_8bit,
}  # fmt: skip
"""What `training.optim` names. To add one: a row here and in `DEVICES`, its name in the recipe, and a test."""
