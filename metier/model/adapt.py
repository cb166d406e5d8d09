"""The door to adaptation: a base model becomes one in which exactly the planned parameters learn.

Adapters are removable: `detach` gives the base back as it was. Methods that change the base's own
weights (`full`, `freeze`) consume it; whoever needs the base afterwards loads it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.device import derive_seed, seeded
from metier.errors import ModelError
from metier.model.base import BaseModel
from metier.model.blocks import blocks_of
from metier.model.plan import LearningPlan, block_number, plan_learning
from metier.model.quantized import count_parameters
from metier.model.quiet import quiet_transformers
from metier.model.summary import ModelSummary
from metier.recipe.sections import AdaptationSection

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(eq=False)
class AdaptedModel:
    """A network with its head and adapters, and the plan of what learns in it."""

    base: BaseModel
    section: AdaptationSection
    plan: LearningPlan
    head: nn.Linear | None
    """Classification head on pooled features, float32; None when the model answers in words."""
    labels: tuple[str, ...]
    autocast: bool = False
    """Whether float32 weights learn in a bfloat16 run, so that matrix products are cast."""
    peft: PeftModel | None = None
    consumed: bool = field(default=False, init=False)
    spread: bool = False
    """Whether several processes each keep a part of the blocks that learn while they are trained."""

    @property
    def network(self) -> PreTrainedModel:
        """The network, adapters in place."""
        return self.base.network

    def trainable(self) -> dict[str, nn.Parameter]:
        """Everything that learns, by name; head parameters are `head.weight` and `head.bias`."""
        found = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        if self.head is not None:
            found |= {f"head.{name}": p for name, p in self.head.named_parameters()}
        return found

    def state(self) -> dict[str, Tensor]:
        """A copy of everything that learns, on the CPU; of weights that are spread, all processes ask at once."""
        return {name: whole(p.detach()).to("cpu", copy=True).contiguous() for name, p in self.trainable().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set everything that learns.

        Raises:
            ModelError: the names are not exactly those that learn.
        """
        mine = self.trainable()
        if set(state) != set(mine):
            missing, extra = sorted(set(mine) - set(state)), sorted(set(state) - set(mine))
            raise ModelError("checkpoint", f"lacks {missing[:3]}, has extra {extra[:3]}", "exactly what learns")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(state[name].to(parameter.device))

    def detach(self) -> BaseModel:
        """Take the adapters off and give the base model back, bit for bit as it was.

        Raises:
            ModelError: the method changed the base's own weights.
        """
        if self.plan.weights:
            raise ModelError("adaptation", f"{self.section.method} changed the base model", "a base loaded again")
        if self.peft is not None:
            self.peft.unload()
            self.peft = None
        self.consumed = True
        self.network.requires_grad_(False)
        return self.base

    def summary(self) -> ModelSummary:
        """Sizes and names, as a frozen value."""
        trainable = self.trainable()
        everything = dict(self.network.named_parameters())
        extra = sum(p.numel() for p in self.head.parameters()) if self.head is not None else 0
        groups: dict[str, int] = {}
        for name, parameter in trainable.items():
            groups[self._group(name)] = groups.get(self._group(name), 0) + parameter.numel()
        base = self.base
        return ModelSummary(
            name=base.name,
            kind=base.kind,
            architecture=type(self.network).__name__,
            source=base.source,
            weights_sha256=base.weights_sha256,
            licence=base.licence,
            notes=tuple(base.notes),
            parameters=count_parameters(everything.values()) + extra,
            trainable_parameters=sum(p.numel() for p in trainable.values()),
            layers=base.layers,
            hidden_size=base.hidden_size,
            vocabulary=base.vocabulary,
            context=base.context,
            method=self.section.method,
            trunk_layers=self.plan.trunk_layers,
            bytes=sum(p.numel() * p.element_size() for p in everything.values()) + extra * 4,
            trainable_groups=groups,
        )

    def _group(self, name: str) -> str:
        number = block_number(self.network, name)
        return f"layers.{number}" if number is not None else name.split(".")[0]


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself; one that is spread over processes (a `DTensor`) is put together, by all of them at once."""
    together = getattr(tensor, "full_tensor", None)
    return tensor if together is None else together()


def has_head(section: AdaptationSection, kind: str) -> bool:
    """Whether a model answers with a head on its features, and not in words.

    Args:
        section: Of its candidate.
        kind: `encoder` or `decoder`.
    """
    return section.head if section.head is not None else kind == "encoder" or section.method == "head"


def adapt_model(
    section: AdaptationSection, base: BaseModel, *, seed: int, labels: Sequence[str] = (), autocast: bool = False
) -> AdaptedModel:
    """Attach what learns and freeze the rest.

    Args:
        section: Method and layers.
        base: A base model that nothing is attached to.
        seed: Adapter weights are a function of it.
        labels: The classes of a head, in order. Used where the section or the model's kind asks for a head.
        autocast: Whether the run computes in bfloat16; products of float32 weights that learn are then cast.

    Raises:
        ModelError: the layers or modules do not exist, or the plan and the parameters that learn differ.
    """
    network = base.network
    network.requires_grad_(False)
    wants_head = has_head(section, base.kind)
    plan = plan_learning(section, network, head=wants_head)
    if base.kind == "encoder" and not wants_head:
        raise ModelError("adaptation.head", "false, but an encoder cannot answer in words", "true or left out")
    head = _empty_head(base.hidden_size, len(labels), network.device) if wants_head else None
    model = AdaptedModel(base, section, plan, head, tuple(labels), autocast and bool(plan.weights))
    if plan.weights:
        network.float()  # type: ignore[no-untyped-call]
        chosen = set(plan.weights)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in chosen)
    elif plan.adapted:
        with seeded(derive_seed(seed, "adapter")):
            model.peft = _attach_lora(section, network, plan)
    _verify(model)
    return model


def _empty_head(hidden: int, classes: int, device: torch.device) -> nn.Linear:
    head = nn.Linear(hidden, classes, device=device)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    return head


def _attach_lora(section: AdaptationSection, network: PreTrainedModel, plan: LearningPlan) -> PeftModel:
    """Low-rank adapters by PEFT (arXiv 2106.09685), in float32 whatever the base's dtype."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=section.r,
        lora_alpha=section.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=section.lora_dropout,
        use_dora=section.use_dora,
        use_rslora=section.use_rslora,
        bias="none",
        fan_in_fan_out=all(isinstance(network.get_submodule(name), Conv1D) for name in plan.adapted),
        task_type="CAUSAL_LM" if network.can_generate() else None,
        **_lora_targets(network, plan),
    )
    with quiet_transformers():
        return get_peft_model(network, config)


def _lora_targets(network: PreTrainedModel, plan: LearningPlan) -> dict[str, Any]:
    """Module endings with block numbers where that says exactly the same, else full names."""
    blocks = blocks_of(network)
    ends = sorted({name.rpartition(".")[2] for name in plan.adapted})
    numbers = sorted({number for name in plan.adapted if (number := block_number(network, name)) is not None})
    same = [
        name for name, _ in network.named_modules()
        if block_number(network, name) in numbers and name.rpartition(".")[2] in ends
    ]  # fmt: skip
    if set(same) == set(plan.adapted):
        pattern = blocks.prefix.rpartition(".")[2]
        return {"target_modules": ends, "layers_to_transform": numbers, "layers_pattern": pattern}
    return {"target_modules": list(plan.adapted)}


def _verify(model: AdaptedModel) -> None:
    """Hold the network to its plan: exactly the planned parameters learn, and all of them in float32."""
    learning = {name for name, p in model.network.named_parameters() if p.requires_grad}
    expected = set(model.plan.weights)
    for module in model.plan.adapted:
        adapter = {name for name in learning if name.startswith(f"{module}.lora_")}
        if not adapter:
            raise ModelError("adaptation", f"no adapter was attached to {module}", "one for each planned module")
        expected |= adapter
    if learning != expected:
        wrong = sorted(learning ^ expected)
        raise ModelError("adaptation", f"plan and learning parameters differ in {wrong[:3]}", "equal sets")
    for name, parameter in model.trainable().items():
        if parameter.dtype is not torch.float32:
            raise ModelError("adaptation", f"{name} learns in {parameter.dtype}", "float32")


def check_gradients(model: AdaptedModel) -> None:
    """After a first backward pass: exactly the planned parameters have a gradient.

    Raises:
        ModelError: a planned parameter got none, or another one got some.
    """
    with_gradient = {name for name, p in model.network.named_parameters() if p.grad is not None}
    if model.head is not None:
        with_gradient |= {f"head.{name}" for name, p in model.head.named_parameters() if p.grad is not None}
    planned = set(model.trainable())
    if with_gradient != planned:
        without, extra = sorted(planned - with_gradient), sorted(with_gradient - planned)
        raise ModelError(
            "adaptation", f"{len(without)} planned parameters got no gradient ({', '.join(without[:3])}) and "
            f"{len(extra)} others got one ({', '.join(extra[:3])})", "exactly the planned ones",
        )  # fmt: skip
