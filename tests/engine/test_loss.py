"""The loss in chunks is torch's cross-entropy, at shared nodes too, and never holds all logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metier.engine import loss as module
from metier.engine.loss import OutputLayer, target_log_probabilities, target_loss

NODES, HIDDEN, WORDS, TARGETS = 11, 8, 30, 17


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)


def setting(bias: bool, factor: float, cap: float | None) -> tuple[OutputLayer, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(HIDDEN, WORDS, bias=bias)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    states = torch.randn(NODES, HIDDEN, generator=generator)
    # Some nodes predict nothing, some several targets, and they come in no order.
    rows = torch.randint(0, NODES - 1, (TARGETS,), generator=generator)
    wanted = torch.randint(0, WORDS, (TARGETS,), generator=generator)
    scale = torch.rand(TARGETS, generator=generator)
    return OutputLayer(layer, factor, cap), states, rows, wanted, scale


def plain(output: OutputLayer, states: Tensor) -> Tensor:
    logits = output.layer(states) * output.factor
    return logits if output.cap is None else output.cap * torch.tanh(logits / output.cap)


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize(("factor", "cap"), [(1.0, None), (0.3, None), (1.0, 3.0), (0.7, 5.0)])
def test_loss_and_gradients(bias: bool, factor: float, cap: float | None) -> None:
    output, states, rows, wanted, scale = setting(bias, factor, cap)
    leaves = [states.requires_grad_(), *output.layer.parameters()]
    losses = nn.functional.cross_entropy(plain(output, states)[rows], wanted, reduction="none")
    reference = (losses * scale).sum()
    mine = target_loss(output, states, rows, wanted, scale)
    torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)
    right = torch.autograd.grad(reference / 3, leaves)
    for got, gradient in zip(torch.autograd.grad(mine / 3, leaves), right, strict=True):
        torch.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize(("factor", "cap"), [(1.0, None), (0.5, None), (0.7, 5.0)])
def test_log_probabilities_and_gradients(bias: bool, factor: float, cap: float | None) -> None:
    output, states, rows, wanted, scale = setting(bias, factor, cap)
    leaves = [states.requires_grad_(), *output.layer.parameters()]
    mine = target_log_probabilities(output, states, rows, wanted)
    reference = torch.log_softmax(plain(output, states), 1)[rows, wanted]
    torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)
    # A loss whose gradient depends on the values, as that of preferences does.
    right = torch.autograd.grad((reference * scale).sigmoid().sum(), leaves)
    for got, gradient in zip(torch.autograd.grad((mine * scale).sigmoid().sum(), leaves), right, strict=True):
        torch.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-5)


def test_no_tensor_of_all_logits_is_kept() -> None:
    output, states, rows, wanted, scale = setting(False, 1.0, None)
    output.layer.requires_grad_(False)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        target_loss(output, states.requires_grad_(), rows, wanted, scale).backward()
        target_log_probabilities(output, states, rows, wanted).sum().backward()
    assert max(kept) < NODES * WORDS


def test_bfloat16_gradient_stays_near() -> None:
    output, states, rows, wanted, scale = setting(False, 1.0, None)
    exact = torch.autograd.grad(target_loss(output, states.requires_grad_(), rows, wanted, scale), states)[0]
    half = OutputLayer(output.layer.to(torch.bfloat16))
    low = states.detach().to(torch.bfloat16).requires_grad_()
    mine = torch.autograd.grad(target_loss(half, low, rows, wanted, scale), low)[0]
    assert mine.dtype is torch.bfloat16
    assert (mine.float() - exact).norm() < 0.05 * exact.norm()
