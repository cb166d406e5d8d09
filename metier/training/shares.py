"""How an optimiser step's examples are shared out among processes: who computes what, never what is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metier.engine.tree import Ints, TokenSequence, canonical_order, cut_into_groups, shared_length


def cut_into_shares(numbers: Sequence[int], texts: Sequence[Ints], size: int) -> list[list[int]]:
    """Share examples out so that what shares a beginning stays together and each share has as many distinct tokens.

    Args:
        numbers: Example numbers of one optimiser step.
        texts: The tokens of each, in the same order.
        size: Number of shares.

    Returns:
        `size` lists that hold every number once; some are empty when there are fewer examples than shares.
    """
    order = canonical_order(texts)
    costs = []
    for place, number in enumerate(order):
        shared = shared_length(texts[order[place - 1]], texts[number]) if place else 0
        costs.append(max(1, len(texts[number]) - shared))
    shares: list[list[int]] = [[] for _ in range(size)]
    total, before = sum(costs), 0
    for number, cost in zip(order, costs, strict=True):
        # An example belongs to the share in which its middle lies.
        shares[min(size - 1, (2 * before + cost) * size // (2 * total))].append(numbers[number])
        before += cost
    return shares


def cut_into_passes(numbers: Sequence[int], texts: Sequence[Ints], budget: int) -> list[list[int]]:
    """Cut a share into passes of at most `budget` distinct tokens, an example that is longer alone.

    Every process can say of every share how many passes it takes.
    """
    sequences = [TokenSequence(text, np.zeros(len(text), dtype=np.bool_)) for text in texts]
    return [[numbers[place] for place in group] for group in cut_into_groups(sequences, budget)]
