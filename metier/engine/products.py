"""Matrix products and what surrounds them as autograd functions that keep only what their derivatives need.

Shape letters: M rows (tokens), K input features, N output features, r rank of an adapter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from metier.device import cpu_flags, cpu_vendor

Grads = tuple[Tensor | None, ...]


@lru_cache
def _onednn_is_faster() -> bool:
    """Whether float32 products go to oneDNN: MKL leaves AVX-512 unused on processors of other makers."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
    return there and cpu_vendor() == "AuthenticAMD" and "avx512f" in cpu_flags()


def faster_float32(weight: Tensor) -> bool:
    """Whether products with this weight are faster by `product` than by torch's own choice."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and _onednn_is_faster()


def product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`states` (M, K) times the transpose of `weight` (N, K), plus `bias` (N,): shape (M, N)."""
    if faster_float32(weight) and len(states):
        chosen: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
        return chosen
    return nn.functional.linear(states, weight, bias)


class LinearProduct(torch.autograd.Function):
    """A linear layer; input of any leading shape."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Shape (..., N)."""
        ctx.save_for_backward(states if weight.requires_grad else None, weight)
        flat = states.reshape(-1, states.shape[-1])
        return product(flat, weight, bias).view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        """Gradients of states, weight and bias, as far as they are needed."""
        states, weight = ctx.saved_tensors
        grad = grads[0]
        flat = grad.reshape(-1, grad.shape[-1])
        back = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            back = product(flat, weight.t()).view(*grad.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            of_weight = product(flat.t(), states.reshape(-1, states.shape[-1]).t())
        if ctx.needs_input_grad[2]:
            of_bias = flat.sum(0)
        return back, of_weight, of_bias


class LoraProduct(torch.autograd.Function):
    """A frozen linear layer with a low-rank adapter beside it (arXiv 2106.09685), in the dtype of the layer.

    The adapter's float32 matrices are rounded to the dtype of the product; their gradients come back in float32.
    Kept for the derivative: the input, which layers that read the same input share, and the (M, r) product.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        """Shape (..., N), for `weight` (N, K), `down` (r, K) and `up` (N, r)."""
        flat = states.reshape(-1, states.shape[-1])
        answer, inner = _with_adapter(flat, weight, bias, down, up, scale)
        ctx.save_for_backward(states, weight, down, up, inner)
        ctx.scale = scale
        return answer.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        """Gradients of states, down and up."""
        states, weight, down, up, inner = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        flat = states.reshape(-1, states.shape[-1])
        back, of_down, of_up = _adapter_gradients(
            grad, flat, inner, (weight, down, up, ctx.scale), ctx.needs_input_grad[0]
        )
        return back if back is None else back.view(states.shape), None, None, of_down, of_up, None


def _with_adapter(
    flat: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The layer's answer (M, N) and the adapter's inner product (M, r)."""
    inner = flat @ down.to(flat.dtype).t()
    answer = product(flat, weight, bias)
    answer.addmm_(inner, (up * scale).to(flat.dtype).t())
    return answer, inner


def _adapter_gradients(
    grad: Tensor, flat: Tensor, inner: Tensor, matrices: tuple[Tensor, Tensor, Tensor, float], wants_input: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of input (M, K), down (r, K) and up (N, r) for a gradient (M, N) of the answer."""
    weight, down, up, scale = matrices
    through = grad @ (up * scale).to(grad.dtype)
    of_down = (through.t() @ flat).to(down.dtype)
    of_up = (inner.t() @ grad).t().to(up.dtype) * scale
    if not wants_input:
        return None, of_down, of_up
    back = product(grad, weight.t())
    back.addmm_(through, down.to(grad.dtype))
    return back, of_down, of_up


class GatedProduct(torch.autograd.Function):
    """silu(gate) * up, the middle of a gated MLP (arXiv 2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """The same shape as both."""
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        return _gated_gradients(grads[0], gate, up)


class GatedLoraProduct(torch.autograd.Function):
    """`GatedProduct` and the adapted layer after it: silu(gate) * up is made again, not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: Tensor,
        up: Tensor,
        layer: tuple[Tensor, Tensor | None],
        down_matrix: Tensor,
        up_matrix: Tensor,
        scale: float,
    ) -> Tensor:
        """Shape (..., N), for gate and up (..., K) and a frozen layer of weight (N, K) and bias."""
        weight, bias = layer
        flat = _gated(gate, up).reshape(-1, gate.shape[-1])
        answer, inner = _with_adapter(flat, weight, bias, down_matrix, up_matrix, scale)
        ctx.save_for_backward(gate, up, weight, down_matrix, up_matrix, inner)
        ctx.scale = scale
        return answer.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        """Gradients of gate, up and the adapter's matrices."""
        gate, up, weight, down_matrix, up_matrix, inner = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        flat = _gated(gate, up).reshape(-1, gate.shape[-1])
        matrices = (weight, down_matrix, up_matrix, ctx.scale)
        back, of_down, of_up = _adapter_gradients(grad, flat, inner, matrices, ctx.needs_input_grad[0])
        if back is None:
            return None, None, None, of_down, of_up, None
        return *_gated_gradients(back.view(gate.shape), gate, up), None, of_down, of_up, None


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return nn.functional.silu(gate).mul_(up)


def _gated_gradients(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    of_up = nn.functional.silu(gate).mul_(grad)
    of_gate: Tensor = torch.ops.aten.silu_backward(grad * up, gate)
    return of_gate, of_up


class Normed(torch.autograd.Function):
    """Root mean square norm (arXiv 1910.07467). Kept: the answer, which the layers that read it keep too.

    Where the weight learns, or is 0 somewhere, the input is kept instead.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float, invertible: bool) -> Tensor:
        """The same shape as `states`; `weight` has the last dimension and no 0 if `invertible`."""
        size, exact = states.shape[-1], torch.promote_types(states.dtype, torch.float32)
        length = torch.linalg.vector_norm(states, 2, -1, keepdim=True, dtype=exact)
        inverse = torch.rsqrt(length.square_().div_(size).add_(eps))
        answer = (states * inverse).to(states.dtype).mul_(weight)
        ctx.from_answer = invertible and not ctx.needs_input_grad[1]
        ctx.save_for_backward(answer if ctx.from_answer else states, weight, inverse)
        return answer

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        """Gradients of states and weight, as far as they are needed."""
        kept, weight, inverse = ctx.saved_tensors
        grad = grads[0]
        unit = kept.to(inverse.dtype) / weight if ctx.from_answer else kept * inverse
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (grad * unit).flatten(0, -2).sum(0).to(weight.dtype)
        of_states = None
        if ctx.needs_input_grad[0]:
            pulled = (grad * weight).to(inverse.dtype)
            along = (pulled * unit).mean(-1, keepdim=True)
            of_states = pulled.sub_(unit.mul_(along)).mul_(inverse).to(grad.dtype)
        return of_states, of_weight, None, None
