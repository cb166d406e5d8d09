"""What a frozen network makes of a text at several depths: pooled states between its blocks, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.engine.texts import text_batches
from metier.engine.tree import Ints
from metier.events import Observer, Progress, tell
from metier.model.blocks import blocks_of

Floats32 = npt.NDArray[np.float32]


class _ReachedError(Exception):
    """The deepest block that was asked for is entered: what lies above is not computed."""


def pooled_at_depths(
    network: PreTrainedModel,
    texts: Sequence[Ints],
    depths: Sequence[int],
    *,
    budget: int = 4096,
    observers: Sequence[Observer] = (),
    label: str = "depths",
) -> Floats32:
    """Mean states of texts where they enter some blocks.

    Blocks above can gather from any token, so the mean over tokens stands for what they are given. The first token
    of a language model is left out of it: it holds little of the text and far larger numbers than the others
    (arXiv 2309.17453).

    Args:
        network: Encoder or decoder, frozen.
        texts: N texts as token ids, none empty.
        depths: Numbers of blocks below the boundary; the number of all blocks stands for the last hidden state.
        budget: Tokens of one batch, without padding; changes memory, not results.
        observers: Told about progress.
        label: Name of the progress bar.

    Returns:
        Shape (D, N, hidden).
    """
    causal = network.can_generate()
    found: list[list[Tensor]] = [[torch.empty(0)] * len(texts) for _ in depths]
    done = 0
    for batch in text_batches(texts, budget):
        ids, mask = batch.padded(network.device)
        top = torch.empty(0)
        with torch.no_grad(), _entering(network, depths) as states:
            options = {"use_cache": False} if causal else {}
            with suppress(_ReachedError):
                top = network.base_model(input_ids=ids, attention_mask=mask, **options).last_hidden_state
        weights = mask.float()
        if causal and ids.shape[1] > 1:
            weights[:, 0] = (weights.sum(dim=1) <= 1).float()
        for rows, depth in zip(found, depths, strict=True):
            at = states.get(depth, top)
            mean = (at.float() * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
            for number, row in zip(batch.numbers, mean.cpu(), strict=True):
                rows[number] = row
        done += len(batch.numbers)
        tell(observers, Progress(label=label, done=done, total=len(texts)))
    return torch.stack([torch.stack(rows) for rows in found]).numpy()


@contextmanager
def _entering(network: PreTrainedModel, depths: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Inside, a forward pass leaves what enters each block of `depths`, shape (B, L, hidden), and ends at the last."""
    found: dict[int, Tensor] = {}
    blocks = blocks_of(network).modules

    def watch(depth: int) -> Any:
        def look(_module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            found[depth] = args[0] if args else options["hidden_states"]
            if depth == max(depths):
                raise _ReachedError

        return look

    handles = [
        blocks[depth].register_forward_pre_hook(watch(depth), with_kwargs=True)
        for depth in depths
        if depth < len(blocks)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
