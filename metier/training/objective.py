"""What is learned: the loss of some examples, summed over their targets, and how they are cut into passes.

The sum is divided by the weight of the whole optimiser step, known beforehand, so that micro-batches,
padding and sharing do not change the gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.engine.forward import TreeRunner
from metier.engine.texts import computed_tokens, pooled, text_batches
from metier.engine.tree import Ints, TokenSequence, TokenTree, cut_into_groups
from metier.engine.trunk import TrunkCache, stored_states
from metier.errors import DataError
from metier.events import Observer


@dataclass(frozen=True)
class Part:
    """A micro-batch that was run: its summed loss and what it cost."""

    loss: Tensor
    """Weighted sum over targets; backward may be called on it."""
    computed: int
    """Tokens computed."""
    logical: int
    """Tokens that the same examples have without sharing, padding left out."""


class Objective(Protocol):
    """Examples and their loss."""

    def __len__(self) -> int:
        """Number of examples."""

    def weight(self, numbers: Sequence[int]) -> float:
        """Summed weight of all targets of some examples."""

    def targets(self, numbers: Sequence[int]) -> int:
        """Number of targets of some examples."""

    def text(self, number: int) -> Ints:
        """Tokens of one example: what it costs, and what it shares with others."""

    def parts(self, numbers: Sequence[int], budget: int) -> Iterator[Part]:
        """Run some examples in micro-batches of at most `budget` tokens."""


@dataclass(frozen=True, eq=False)
class LanguageObjective:
    """Answers as tokens: cross-entropy at every answer token, end of turn included."""

    runner: TreeRunner
    examples: Sequence[Sequence[TokenSequence]]
    """The sequences of each example: one an answer, so a conversation has as many as turns that are learned."""
    weights: Sequence[float]
    """Weight of each example's tokens."""

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def weight(self, numbers: Sequence[int]) -> float:
        """Summed weight of the answer tokens."""
        return sum(self.weights[number] * self.targets([number]) for number in numbers)

    def targets(self, numbers: Sequence[int]) -> int:
        """Number of answer tokens."""
        return sum(int(each.targets.sum()) for number in numbers for each in self.examples[number])

    def text(self, number: int) -> Ints:
        """The longest of its sequences: the others begin as it does."""
        return max((each.inputs for each in self.examples[number]), key=len)

    def parts(self, numbers: Sequence[int], budget: int) -> Iterator[Part]:
        """Run examples as token trees; those that share a prefix go together."""
        chosen = [(each, self.weights[number]) for number in numbers for each in self.examples[number]]
        for group in cut_into_groups([each for each, _ in chosen], budget):
            sequences = [chosen[place][0] for place in group]
            weights = np.array([chosen[place][1] for place in group], dtype=np.float32)
            tree = TokenTree.build(sequences)
            loss = self.runner.loss(tree, sequences, weights[tree.target_sequences])
            computed = tree.logical_tokens if self.runner.plain else len(tree)
            yield Part(loss, computed, tree.logical_tokens)


@dataclass(frozen=True, eq=False)
class HeadObjective:
    """Answers as classes: cross-entropy of a linear head on pooled features.

    Of several labels it is the mean over labels of the binary cross-entropy.
    """

    network: PreTrainedModel
    kind: str
    """`encoder` or `decoder`: how features are pooled."""
    head: nn.Linear
    texts: Sequence[Ints]
    classes: Sequence[int] | Sequence[Sequence[float]]
    """Of each text its class, or 1.0 and 0.0 for every label."""
    weights: Sequence[float]
    autocast: bool = False
    trunk: TrunkCache | None = None
    observers: Sequence[Observer] = ()
    """Told once when padding has to be computed."""

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.texts)

    def weight(self, numbers: Sequence[int]) -> float:
        """Summed weight of the examples."""
        return sum(self.weights[number] for number in numbers)

    def targets(self, numbers: Sequence[int]) -> int:
        """One target an example."""
        return len(numbers)

    def text(self, number: int) -> Ints:
        """Its tokens."""
        return self.texts[number]

    def parts(self, numbers: Sequence[int], budget: int) -> Iterator[Part]:
        """Run examples in length-sorted batches without padding."""
        texts = [self.texts[number] for number in numbers]
        device = self.network.device
        for batch in text_batches(texts, budget):
            chosen = [numbers[number] for number in batch.numbers]
            with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                stored = stored_states(self.trunk, texts, batch)
                features = pooled(self.network, batch, self.kind, stored, self.observers)
            scores = self.head(features)
            gold = torch.tensor([self.classes[number] for number in chosen], device=device)
            losses = _label_losses(scores, gold)
            scale = torch.tensor([self.weights[number] for number in chosen], device=device)
            computed = computed_tokens(self.network, batch, self.kind)
            yield Part((losses * scale).sum(), computed, batch.tokens)


def _label_losses(scores: Tensor, gold: Tensor) -> Tensor:
    """Loss of each text, shape (N,), from scores (N, C) and classes (N,), or a number from 0 to 1 a label (N, C)."""
    if gold.is_floating_point():
        return nn.functional.binary_cross_entropy_with_logits(scores, gold, reduction="none").mean(dim=1)
    return nn.functional.cross_entropy(scores, gold, reduction="none")


def class_weights(choice: str | dict[str, float], labels: Sequence[str]) -> list[float]:
    """Weight of each example's loss.

    Args:
        choice: `none`, `balanced` (N / (classes * count), as scikit-learn), or a weight by label.
        labels: Gold label of each example.

    Raises:
        DataError: a label that is in the data has no weight, or none above 0.
    """
    if choice == "none":
        return [1.0] * len(labels)
    if choice == "balanced":
        counts = Counter(labels)
        return [len(labels) / (len(counts) * counts[label]) for label in labels]
    assert isinstance(choice, dict)
    missing = sorted(set(labels) - set(choice))
    if missing:
        raise DataError("training.class_weights", f"has no weight for {', '.join(map(repr, missing))}", "one a label")
    useless = sorted(label for label in set(labels) if choice[label] <= 0)
    if useless:
        # A step of such records alone would divide by zero.
        found, fix = f"is not above 0 for {', '.join(map(repr, useless))}", "data.ignore_labels leaves records out."
        raise DataError("training.class_weights", found, "weights above 0", fix)
    return [choice[label] for label in labels]
