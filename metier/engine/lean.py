"""Modules of a network computed with fewer passes over memory, with the same numbers up to rounding.

On a CPU, and for small models everywhere, what surrounds the matrix products costs as much as the products: PEFT
casts the input of every adapter to float32 and keeps a copy of it, a norm makes five passes, a gated MLP keeps a
product that can be made again. Here each of them is one autograd function that keeps only what its derivative needs.
No family has code of its own: a module is replaced when it has the parts of one that is known and gives the same
answer on a few numbers. Parameters stay where they are, so saving, merging and loading see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.engine.network import without_dropout
from metier.engine.products import GatedLoraProduct, GatedProduct, LinearProduct, LoraProduct, Normed, faster_float32

Forward = Callable[..., Any]

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 0.004}
"""Largest difference, relative to the largest value, between a module and what replaces it."""


@contextmanager
def lean_modules(network: PreTrainedModel) -> Iterator[None]:
    """Inside, the modules of `network` that are known compute with fewer passes.

    A module whose forward somebody else replaced is left alone, and so is everything under autocast: products are
    then cast by torch.
    """
    if torch.is_autocast_enabled(network.device.type):
        yield
        return
    replaced = []
    try:
        for module, forward in _replacements(network):
            if "forward" not in vars(module):
                vars(module)["forward"] = forward
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]


@dataclass(frozen=True, eq=False)
class _Known:
    """What can be replaced in a network, as long as its modules are these."""

    places: list[tuple[dict[str, nn.Module | None], str, nn.Module]]
    """Where each module hangs: its parent's table, and its name there."""
    replacements: list[tuple[nn.Module, Forward]]

    @property
    def holds(self) -> bool:
        """Whether every module is still where it was: adapters come and go."""
        return all(table.get(name) is module for table, name, module in self.places)


_KNOWN: WeakKeyDictionary[nn.Module, _Known] = WeakKeyDictionary()


def _replacements(network: PreTrainedModel) -> list[tuple[nn.Module, Forward]]:
    """What can be replaced in `network`, found out once for the modules that it has now."""
    known = _KNOWN.get(network)
    if known is None or not known.holds:
        modules = list(network.modules())
        tables = [module._modules for module in modules]
        places = [(table, name, child) for table in tables for name, child in table.items() if child is not None]
        with without_dropout(network):  # trying a module out must draw no random number
            found = [(module, _lean_forward(module)) for module in modules]
        known = _Known(places, [(module, forward) for module, forward in found if forward is not None])
        _KNOWN[network] = known
    return known.replacements


def _lean_forward(module: nn.Module) -> Forward | None:
    """The forward that replaces a module's own; None where the module is not known."""
    adapter = _Adapter.of(module)
    if adapter is not None:
        return adapter.forward
    if type(module) is nn.Linear and faster_float32(module.weight):
        return lambda states: LinearProduct.apply(states, module.weight, module.bias)  # type: ignore[no-untyped-call]
    if type(module).__name__.endswith("RMSNorm"):
        return _norm(module)
    if all(isinstance(getattr(module, name, None), nn.Module) for name in ("gate_proj", "up_proj", "down_proj")):
        return _gated_mlp(module)
    return None


@dataclass(frozen=True, eq=False)
class _Adapter:
    """A plain adapter beside a linear layer, as PEFT keeps it."""

    module: LoraLinear
    name: str
    own: Forward

    @staticmethod
    def of(module: nn.Module) -> _Adapter | None:
        """The adapter of a layer; None where PEFT does more than add a product of two matrices."""
        if type(module) is not LoraLinear or type(module.base_layer) not in (nn.Linear, Conv1D):
            return None
        if len(module.lora_A) != 1:
            return None
        name = next(iter(module.lora_A))
        parts = module.lora_A[name], module.lora_B[name]
        plain = all(type(part) is nn.Linear and part.bias is None for part in parts)
        return _Adapter(module, name, module.forward) if plain and name not in module.lora_variant else None

    @property
    def weight(self) -> Tensor:
        """The frozen layer's weight, shape (N, K)."""
        base: Any = self.module.base_layer
        weight: Tensor = base.weight.t() if type(base) is Conv1D else base.weight
        return weight

    @property
    def matrices(self) -> tuple[Tensor, Tensor, float]:
        """The adapter: shapes (r, K) and (N, r), and the scale of their product."""
        module: Any = self.module
        return module.lora_A[self.name].weight, module.lora_B[self.name].weight, module.scaling[self.name]

    def usable(self, states: Tensor) -> bool:
        """Whether nothing is switched on or off that changes what the layer computes."""
        module: Any = self.module
        dropout = module.lora_dropout[self.name]
        dropped = isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0
        other = dropped or module.disable_adapters or module.merged
        weight = self.weight
        same = not weight.requires_grad and states.dtype == weight.dtype and not weight.is_meta
        return same and not other and list(module.active_adapters) == [self.name]

    @property
    def is_packed(self) -> bool:
        """Whether the frozen layer computes in a way of its own for now."""
        return "forward" in vars(self.module.base_layer)

    def _beside_packed(self, states: Tensor) -> Tensor:
        """The answer of the frozen layer, whatever computes it, and the adapter's on top."""
        down, up, scale = self.matrices
        answer: Tensor = self.module.base_layer(states)
        inner = states @ down.to(states.dtype).t()
        return answer.add_(inner @ (up * scale).to(states.dtype).t())

    def forward(self, states: Tensor, *args: Any, **options: Any) -> Any:
        """What replaces the layer's own forward."""
        if args or options or not self.usable(states):
            return self.own(states, *args, **options)
        if self.is_packed:
            return self.own(states) if torch.is_grad_enabled() else self._beside_packed(states)
        bias: Any = self.module.base_layer.bias
        return LoraProduct.apply(states, self.weight, bias, *self.matrices)  # type: ignore[no-untyped-call]


def _norm(module: nn.Module) -> Forward | None:
    """A root mean square norm whose weight multiplies last."""
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, Tensor) or weight.ndim != 1 or not isinstance(eps, float):
        return None
    invertible = not weight.requires_grad and bool((weight != 0).all())

    def forward(states: Tensor) -> Any:
        return Normed.apply(states, module.weight, eps, invertible)  # type: ignore[no-untyped-call]

    return forward if _agree(module, forward, len(weight), weight) else None


def _gated_mlp(module: Any) -> Forward | None:
    """An MLP with a gate and the SiLU."""
    adapter = _Adapter.of(module.down_proj)

    def forward(states: Tensor) -> Any:
        gate, up = module.gate_proj(states), module.up_proj(states)
        if adapter is None or adapter.is_packed or not adapter.usable(gate):
            return module.down_proj(GatedProduct.apply(gate, up))  # type: ignore[no-untyped-call]
        layer = adapter.weight, module.down_proj.base_layer.bias
        return GatedLoraProduct.apply(gate, up, layer, *adapter.matrices)  # type: ignore[no-untyped-call]

    weight = getattr(module.down_proj, "base_layer", module.down_proj).weight
    size = getattr(module.gate_proj, "in_features", None)
    return forward if size is not None and _agree(module, forward, size, weight) else None


def _agree(module: nn.Module, forward: Forward, size: int, like: Tensor) -> bool:
    """Whether a module and its replacement answer the same on a few numbers."""
    numbers = torch.linspace(-2, 2, 3 * size, device=like.device, dtype=torch.float32).cos().reshape(1, 3, size)
    states = (numbers * 3).to(like.dtype)
    with torch.no_grad():
        try:
            wanted, mine = module(states), forward(states)
        except (TypeError, ValueError, RuntimeError):  # it wants more than states
            return False
    if not isinstance(wanted, Tensor) or wanted.shape != mine.shape or wanted.dtype != mine.dtype:
        return False
    largest = wanted.float().abs().max().clamp_min(1e-6)
    return bool((wanted.float() - mine.float()).abs().max() <= ROUNDING[like.dtype] * largest)
