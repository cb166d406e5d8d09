"""Weights that learn, spread over the processes of a team (FSDP2: `torch.distributed.fsdp.fully_shard`).

Each process keeps its part of every block that learns, of its gradient and of its moments; a block is put
together while it is computed. Embeddings, norms outside blocks and heads stay whole in every process, because
the engine uses them outside the network's own forward. Afterwards the network is as it was before, trained.

FSDP takes its steps together with the other processes: all of them must run equally many passes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from metier.model.adapt import AdaptedModel, whole
from metier.model.blocks import blocks_of
from metier.team import Team


@dataclass(eq=False)
class SpreadWeights:
    """A model whose blocks that learn are spread over a team."""

    model: AdaptedModel
    team: Team
    _plain: dict[int, nn.Module] = field(default_factory=dict, init=False, repr=False)
    """Block number -> the block as it was, without its weights."""

    def __post_init__(self) -> None:
        """Spread every block in which something learns."""
        from torch.distributed.device_mesh import init_device_mesh

        mesh = init_device_mesh(self.model.network.device.type, (self.team.size,))
        for number, block in enumerate(list(self._all_blocks())):
            if any(parameter.requires_grad for parameter in block.parameters()):
                self._plain[number] = _hollow(block)
                fully_shard(block, mesh=mesh, reshard_after_forward=True)  # changes the block in place
        for each in self._blocks():
            # The loss is divided by the weight of the whole step: gradients are summed, not averaged.
            each.set_gradient_divide_factor(1.0)
            each.set_force_sum_reduction_for_comms(True)  # gloo has no sum with a factor

    def gradients_to_sum(self) -> list[Tensor]:
        """Gradients of what every process keeps whole; FSDP sums the others."""
        gradients = [parameter.grad for parameter in self.model.trainable().values()]
        return [each for each in gradients if each is not None and not isinstance(each, DTensor)]

    def clip(self, limit: float) -> float:
        """Clip the whole gradient to `limit` as torch does; returns its norm before."""
        parts, shared = 0.0, 0.0
        for parameter in self.model.trainable().values():
            gradient = parameter.grad
            if isinstance(gradient, DTensor):
                parts += float(gradient.to_local().double().square().sum())
            elif gradient is not None:
                shared += float(gradient.double().square().sum())
        norm = math.sqrt(self.team.add(parts)[0] + shared)
        for parameter in self.model.trainable().values():
            if parameter.grad is not None:
                parameter.grad.mul_(min(1.0, limit / (norm + 1e-6)))
        return norm

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, every process has all weights, so that each may run as many passes as it likes, without gradients."""
        for block in self._blocks():
            block.unshard()
            block.set_reshard_after_forward(False)
        try:
            yield
        finally:
            for block in self._blocks():
                block.set_reshard_after_forward(True)
                block.reshard()

    def spread_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Spread moments that were read whole, as their parameters are."""
        for parameter, entry in optimizer.state.items():
            if not isinstance(parameter, DTensor):
                continue
            for name, value in entry.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and not isinstance(value, DTensor):
                    mesh, places = parameter.device_mesh, parameter.placements
                    entry[name] = distribute_tensor(value, mesh, places, src_data_rank=None)

    def end(self) -> None:
        """Put the whole weights back into a plain network in every process."""
        blocks = self._all_blocks()
        for number, plain in self._plain.items():
            for name, parameter in list(blocks[number].named_parameters()):
                owner, _, last = name.rpartition(".")
                value = nn.Parameter(whole(parameter.detach()), requires_grad=parameter.requires_grad)
                setattr(plain.get_submodule(owner), last, value)
            blocks[number] = plain

    def _all_blocks(self) -> nn.ModuleList:
        return blocks_of(self.model.network).modules

    def _blocks(self) -> list[FSDPModule]:
        return [block for block in self._all_blocks() if isinstance(block, FSDPModule)]


def _hollow(block: nn.Module) -> nn.Module:
    """A copy of a block whose parameters take no memory; its buffers are real."""
    empty: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        for parameter in block.parameters()
    }
    return copy.deepcopy(block, empty)
