"""Rates that follow from operations and the speed of matrix products alone, where there is no time to measure."""

from __future__ import annotations

from metier.planning.rates import Pace, Rates
from metier.planning.speed import Shape

SHARE = 0.4
"""Part of the products' speed that is left to whole passes, which also normalise, attend and copy."""
DOUBT = 2.5
"""A real pass takes between a `DOUBT`-th of this and so many times it."""
LOGIT_BYTES = 12
"""A logit in float32 and what normalising it takes."""
TOKENS = 2048
"""Tokens of the pass that memory is told for."""
TARGETS = 0.2
"""Share of its tokens that predict something."""
STEP = 2e-9
"""Seconds of an optimiser step for one parameter."""


def nominal_rates(shape: Shape, flops_per_second: float, *, weights_learn: bool) -> Rates:
    """Rates of a model from its sizes.

    Args:
        shape: Its sizes.
        flops_per_second: In its matrix products.
        weights_learn: Whether its own weights learn: a backward pass then costs twice a forward pass.
    """
    forward = 2.0 * shape.block_weights / (flops_per_second * SHARE)
    head = 2.0 * shape.vocabulary * shape.hidden * TARGETS / (flops_per_second * SHARE)
    logits = TOKENS * TARGETS * shape.vocabulary * (shape.number_bytes + LOGIT_BYTES)
    cells = shape.block_cells * shape.number_bytes

    def pace(passes: float, kept: float) -> Pace:
        return Pace(
            block=forward * passes, rest=head * min(passes, 2.0), low=1 / DOUBT, high=DOUBT, block_bytes=kept,
            rest_bytes=logits + cells * TOKENS, tokens=TOKENS,
        )  # fmt: skip

    paces = {"train": pace(3.0 if weights_learn else 2.0, cells)}
    paces |= dict.fromkeys(("score", "features", "read", "prompt", "write"), pace(1.0, 0.0))
    return Rates(paces=paces, flops_per_second=flops_per_second, step=STEP, measured=False)
