"""The next token of each row: greedy, or drawn at random as a function of seed, answer number and step alone.

Repetition penalty, temperature, top-k and top-p mean what transformers' logits processors mean by them, in
transformers' order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metier.device import derive_seed
from metier.engine.tree import Ints


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are written."""

    max_new_tokens: int
    stop_ids: frozenset[int]
    """Tokens that end an answer and are no part of it: the end of a turn."""
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    top_k: int | None = None
    repetition_penalty: float = 1.0
    """Counts the tokens of prompt and answer."""
    stop_texts: tuple[str, ...] = ()
    """Texts that end an answer and are no part of it."""
    seed: int = 17
    batch_size: int = 32
    """Most answers that are written at the same time; changes speed, not greedy answers in float32."""

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise ValueError("max_new_tokens and batch_size are at least 1")

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == 0

    def generator(self, number: int) -> np.random.Generator | None:
        """Random numbers of answer `number`, one for each token; None when nothing is drawn."""
        return None if self.is_greedy else np.random.default_rng(derive_seed(self.seed, "answer", number))


def choose(
    logits: Tensor,
    histories: Sequence[Ints],
    generators: Sequence[np.random.Generator | None],
    decoding: Decoding,
) -> list[int]:
    """The next token of each row.

    Args:
        logits: Logits of the last token of each row, shape (B, V).
        histories: Prompt and answer so far of each row; read only where repetition is penalised.
        generators: One for each row; each gives one number a token.
        decoding: The settings.
    """
    scores = logits.float()
    if decoding.repetition_penalty != 1.0:
        scores = penalised(scores, histories, decoding.repetition_penalty)
    if decoding.is_greedy:
        return [int(token) for token in scores.argmax(dim=-1).tolist()]
    chances = torch.softmax(warped(scores, decoding), dim=-1)
    if chances.device.type == "mps":  # has no float64
        chances = chances.cpu()
    sums = chances.double().cumsum(dim=-1)
    drawn = np.array([generator.random() for generator in generators if generator is not None])
    wanted = torch.from_numpy(drawn).to(sums.device)[:, None] * sums[:, -1:]
    # `right`: a token of probability 0 adds nothing to the sum and is never hit, not even by a drawn 0.
    picked = torch.searchsorted(sums, wanted, right=True)[:, 0]
    return [int(token) for token in picked.clamp_max(logits.shape[-1] - 1).tolist()]


def penalised(scores: Tensor, histories: Sequence[Ints], penalty: float) -> Tensor:
    """Scores with those of tokens that occurred divided by `penalty`, negative ones multiplied; shape (B, V)."""
    changed = scores.clone()
    for row, history in enumerate(histories):
        seen = torch.from_numpy(np.unique(history)).to(scores.device)
        old = scores[row, seen]
        changed[row, seen] = torch.where(old < 0, old * penalty, old / penalty)
    return changed


def warped(scores: Tensor, decoding: Decoding) -> Tensor:
    """Scores after temperature, top-k and top-p, in this order; what is left out is -inf. Shape (B, V)."""
    scores = scores / decoding.temperature
    if decoding.top_k is not None and decoding.top_k < scores.shape[-1]:
        smallest = torch.topk(scores, decoding.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < smallest, -torch.inf)
    if decoding.top_p < 1.0:
        ordered, places = torch.sort(scores, dim=-1, descending=False)
        out = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - decoding.top_p
        out[:, -1] = False  # the most likely token always stays
        scores = scores.masked_fill(out.scatter(1, places, out), -torch.inf)
    return scores
