"""Preference pairs as two children of one prompt: it is computed once, and each answer reads it.

What preference training compares are sums of log-probabilities: of the chosen answer, and of the rejected one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence, TokenTree


@dataclass(frozen=True, eq=False)
class PreferencePair:
    """Two answers to one prompt, of which one was preferred."""

    chosen: TokenSequence
    rejected: TokenSequence

    @staticmethod
    def of(prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> PreferencePair:
        """A pair from token ids; every token of an answer counts, its end of turn too where it is given."""
        return PreferencePair(TokenSequence.of(prompt, chosen), TokenSequence.of(prompt, rejected))


def preference_log_probabilities(runner: TreeRunner, pairs: Sequence[PreferencePair]) -> tuple[Tensor, Tensor]:
    """Summed log-probability of each chosen and each rejected answer, with gradients, from one token tree.

    Args:
        runner: The model.
        pairs: N pairs, each answer at least one token.

    Returns:
        Two float32 tensors of shape (N,): chosen, rejected.
    """
    sequences = [sequence for pair in pairs for sequence in (pair.chosen, pair.rejected)]
    tree = TokenTree.build(sequences)
    each = runner.learning_log_probabilities(tree, sequences)
    owners = torch.from_numpy(tree.target_sequences).to(each.device)
    sums = torch.zeros(len(sequences), dtype=torch.float32, device=each.device).index_add(0, owners, each)
    return sums[0::2], sums[1::2]
