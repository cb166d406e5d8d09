"""The output layer where a target is, a few nodes at a time: never all logits, never the layer in float32.

With a vocabulary of 50,000 the logits of a thousand targets are 200 MB in float32, and their gradient as much again.
Here the nodes are taken in chunks; the gradient of the loss is made while the logits of a chunk are there, so that
nothing of the size of the vocabulary outlives its chunk (after Cut Cross-Entropy, arXiv 2411.09009, and Liger,
arXiv 2410.10989, written for nodes that predict several targets).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.engine.products import product

CHUNK = 128
"""Nodes of one chunk: their logits stay in a processor's last cache, and the product is still a large one."""


@dataclass(frozen=True, eq=False)
class OutputLayer:
    """The last linear layer and what a family does to its logits."""

    layer: nn.Linear
    factor: float = 1.0
    """Logits are multiplied by it (Cohere, Granite)."""
    cap: float | None = None
    """Logits become `cap * tanh(logits / cap)` (Gemma 2)."""

    @staticmethod
    def of(network: PreTrainedModel) -> OutputLayer | None:
        """The output layer of a language model; None where it is no plain linear layer."""
        layer, config = network.get_output_embeddings(), network.config  # type: ignore[no-untyped-call]
        if type(layer) is not nn.Linear:
            return None
        factor = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1
        )
        return OutputLayer(layer, factor, getattr(config, "final_logit_softcapping", None))

    @contextmanager
    def inputs(self) -> Iterator[list[Tensor]]:
        """Inside, the layer computes nothing: what reaches it is put into the list."""
        own, reached = vars(self.layer).get("forward"), list[Tensor]()

        def forward(states: Tensor) -> Tensor:
            reached.append(states)
            return states[..., :1]

        vars(self.layer)["forward"] = forward
        try:
            yield reached
        finally:
            if own is None:
                del vars(self.layer)["forward"]
            else:
                vars(self.layer)["forward"] = own

    def logits(self, states: Tensor) -> Tensor:
        """Float32 logits of a chunk of states (n, hidden), shape (n, V)."""
        weight = self.layer.weight
        raw = product(states.to(weight.dtype), weight, self.layer.bias).float()
        if self.factor != 1.0:
            raw.mul_(self.factor)
        return raw if self.cap is None else raw.div_(self.cap).tanh_().mul_(self.cap)

    def pull(self, grad: Tensor, logits: Tensor | None) -> Tensor:
        """Gradient of the raw logits for a gradient of the final ones, in place; `logits` where there is a cap."""
        if self.cap is not None:
            assert logits is not None
            grad.mul_(1 - (logits / self.cap).square_())
        return grad if self.factor == 1.0 else grad.mul_(self.factor)


def target_log_probabilities(output: OutputLayer, states: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
    """Log-probability of each target; its gradient makes the logits of each chunk again.

    Args:
        output: The output layer.
        states: Hidden states of the nodes that predict something, shape (n, hidden).
        rows: The node of each target, shape (M,).
        wanted: The token of each target, shape (M,).

    Returns:
        Float32, shape (M,). Gradients reach `states` and, where they learn, the layer's weight and bias.
    """
    layer = output.layer
    found: Tensor = _TargetLogProbabilities.apply(states, layer.weight, layer.bias, output, (rows, wanted))  # type: ignore[no-untyped-call]
    return found


def target_loss(output: OutputLayer, states: Tensor, rows: Tensor, wanted: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of all targets, each times its weight, summed; arguments as above.

    Args:
        output: The output layer.
        states: Shape (n, hidden).
        rows: Shape (M,).
        wanted: Shape (M,).
        scale: Weight of each target, float32, shape (M,).

    Returns:
        A float32 scalar. Gradients reach `states` and, where they learn, the layer's weight and bias.
    """
    layer, targets = output.layer, (rows, wanted, scale)
    loss: Tensor = _TargetLoss.apply(states, layer.weight, layer.bias, output, targets)  # type: ignore[no-untyped-call]
    return loss


class _TargetLogProbabilities(torch.autograd.Function):
    """What is kept are the states: logits are made again, chunk by chunk, when the gradient is known."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        output: OutputLayer,
        targets: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Shape (M,)."""
        rows, wanted = targets
        found = torch.empty(len(rows), dtype=torch.float32, device=states.device)
        for start, end, places in _chunks(len(states), rows):
            logits = output.logits(states[start:end])
            here = rows[places] - start
            found[places] = logits[here, wanted[places]] - logits.logsumexp(1)[here]
        ctx.save_for_backward(states, rows, wanted)
        ctx.output = output
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of a cross-entropy whose targets weigh what the gradient says, with the other sign."""
        states, rows, wanted = ctx.saved_tensors
        _, *made = _summed_loss(states, ctx.output, (rows, wanted, -grads[0].float()), ctx.needs_input_grad)
        return (*made, None, None)


class _TargetLoss(torch.autograd.Function):
    """The gradient is made in the forward pass, chunk by chunk, while the logits are there."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        output: OutputLayer,
        targets: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """The summed loss."""
        total, *made = _summed_loss(states, output, targets, ctx.needs_input_grad)
        ctx.save_for_backward(*made)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """What was made in the forward pass, times the gradient of the sum."""
        made = [None if each is None else each * grads[0].to(each.dtype) for each in ctx.saved_tensors]
        return (*made, None, None)


def _summed_loss(
    states: Tensor, output: OutputLayer, targets: tuple[Tensor, Tensor, Tensor], needs: Sequence[bool]
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The summed loss, and its gradients by states, weight and bias as far as `needs` asks for them."""
    rows, wanted, scale = targets
    weight, bias = output.layer.weight, output.layer.bias
    total = torch.zeros((), dtype=torch.float32, device=states.device)
    of_states = torch.zeros_like(states) if needs[0] else None
    of_weight = torch.zeros_like(weight, dtype=torch.float32) if needs[1] else None
    of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs[2] else None
    weights = torch.zeros(len(states), dtype=torch.float32, device=states.device).index_add_(0, rows, scale)
    for start, end, places in _chunks(len(states), rows):
        part = states[start:end]
        logits = output.logits(part)
        here, which = rows[places] - start, wanted[places]
        picked = logits[here, which]
        capped = logits.clone() if output.cap is not None else None
        largest = logits.amax(1, keepdim=True)
        powers = logits.sub_(largest).exp_()
        sums = powers.sum(1, keepdim=True)
        normaliser = (largest + sums.log()).squeeze(1)
        total += (scale[places] * (normaliser[here] - picked)).sum()
        grad = powers.mul_(weights[start:end, None] / sums)
        grad.index_put_((here, which), -scale[places], accumulate=True)
        grad = output.pull(grad, capped).to(weight.dtype)
        if of_states is not None:
            of_states[start:end] = product(grad, weight.t())
        if of_weight is not None:
            of_weight += product(grad.t(), part.to(weight.dtype).t())
        if of_bias is not None:
            of_bias += grad.sum(0)
    return total, of_states, of_weight, of_bias


def _chunks(nodes: int, rows: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """First and one past the last node of each chunk, and the places of the targets that its nodes predict."""
    order = torch.argsort(rows, stable=True)
    edges = torch.arange(0, nodes + CHUNK, CHUNK, device=rows.device).clamp_(max=nodes)
    cuts = torch.searchsorted(rows[order], edges).tolist()
    for number, start in enumerate(range(0, nodes, CHUNK)):
        yield start, min(start + CHUNK, nodes), order[cuts[number] : cuts[number + 1]]
