"""How many tokens a run computes, and how many it would compute without sharing: from lengths and labels alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np

from metier.data.records import Choice, Record
from metier.engine.texts import text_batches
from metier.engine.tree import Ints, TokenSequence, TokenTree, cut_into_groups, shared_length
from metier.engine.trunk import CHUNK_TOKENS
from metier.planning.tokens import Asking
from metier.recipe.sections import TrainingSection

R = TypeVar("R", bound=Record)
SAMPLED = 256
"""Training records whose optimiser steps are put together to see how much they share."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of one pass over some records."""

    computed: float
    logical: float
    targets: float = 0.0
    """Places where the output layer is computed."""
    length: float = 0.0
    """Mean length of the texts, for attention."""

    def times(self, factor: float) -> Tokens:
        """The same pass so many times."""
        return replace(
            self, computed=self.computed * factor, logical=self.logical * factor, targets=self.targets * factor
        )


@dataclass(frozen=True)
class Counter:
    """Counts the tokens of one candidate."""

    asking: Asking
    sample: Sequence[Choice]
    """Some training records."""

    @cached_property
    def sequences(self) -> list[TokenSequence]:
        """The sample as it is trained."""
        return [self.asking.sequence(record) for record in self.sample]

    @cached_property
    def shared_start(self) -> int:
        """Tokens that all prompts begin with."""
        prompts = [sequence.ids[~sequence.targets] for sequence in self.sequences]
        if len(prompts) < 2 or self.asking.prompt is None:
            return 0
        return min(shared_length(prompts[0], other) for other in prompts[1:])

    @cached_property
    def label_tokens(self) -> tuple[int, int]:
        """Tokens of all labels: as a tree under a prompt, and one by one."""
        assert self.asking.prompt is not None
        answers = self.asking.encoder.answers(self.asking.prompt)
        tree = TokenTree.build([TokenSequence.of([0], ids.tolist()) for ids in answers])
        return len(tree) - 1, sum(len(ids) - 1 for ids in answers)

    def texts(self, lengths: Sequence[int]) -> Tokens:
        """One pass over bare texts, as a head reads them, padding left out."""
        total = float(sum(lengths))
        return Tokens(computed=total, logical=total, length=_mean(lengths))

    def labels(self, lengths: Sequence[int], *, longer_start: int = 0) -> Tokens:
        """Every label scored under every prompt.

        Args:
            lengths: Tokens of each prompt.
            longer_start: Tokens that examples and label names add to the shared beginning.
        """
        tree, single = self.label_tokens
        count, choices = len(lengths), len(self.asking.labels)
        own = sum(lengths) - count * self.shared_start
        return Tokens(
            computed=self.shared_start + longer_start + own + count * tree,
            logical=choices * (sum(lengths) + count * longer_start) + count * single,
            targets=count * (tree + 1.0),
            length=_mean(lengths) + longer_start,
        )

    def trunk(self, lengths: Sequence[int], *, labels: bool) -> Tokens:
        """What the frozen layers compute once, in chunks that each begin with the shared start.

        Args:
            lengths: Tokens of each prompt.
            labels: Whether all labels stand below each prompt; otherwise its own answer.
        """
        if self.asking.prompt is None:
            return self.texts(lengths)
        tree, single = self.label_tokens
        below = tree if labels else single / len(self.asking.labels)
        own = sum(lengths) - len(lengths) * self.shared_start + len(lengths) * below
        chunks = math.ceil(own / max(1, CHUNK_TOKENS - self.shared_start))
        times = len(self.asking.labels) if labels else 1
        return Tokens(
            computed=own + chunks * self.shared_start,
            logical=times * sum(lengths) + len(lengths) * (single if labels else below),
            length=_mean(lengths),
        )

    def training(self, section: TrainingSection, examples: float) -> Tokens:
        """Forward and backward over all examples drawn, as batches of the sample share.

        Args:
            section: Batch size and micro-batch budget.
            examples: Examples drawn in the whole training.
        """
        if self.asking.prompt is not None:
            return count_training([(sequence,) for sequence in self.sequences], section, examples)
        batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
        computed = logical = 0
        for start in range(0, len(self.sequences), batch):
            some = [sequence.ids for sequence in self.sequences[start : start + batch]]
            computed += sum(part.tokens for part in text_batches(some, section.tokens_per_microbatch))
            logical += sum(len(sequence.inputs) for sequence in self.sequences[start : start + batch])
        one = Tokens(computed=computed, logical=logical, length=logical / len(self.sequences))
        return one.times(examples / len(self.sequences))


def largest_batch(texts: Sequence[Ints], section: TrainingSection) -> int:
    """The same of bare texts, as a head reads them.

    Args:
        texts: Some training texts, in the order in which training meets them.
        section: Batch size and micro-batch budget.
    """
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    steps = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    parts = (part.tokens for step in steps for part in text_batches(step, section.tokens_per_microbatch))
    return max(parts, default=1)


def count_training(sample: Sequence[Sequence[TokenSequence]], section: TrainingSection, examples: float) -> Tokens:
    """Forward and backward over all examples drawn, as token trees of the sample's batches share.

    Args:
        sample: Sequences of some examples, in the order in which training meets them.
        section: Batch size and micro-batch budget.
        examples: Examples drawn in the whole training.
    """
    if not sample:
        return Tokens(computed=0.0, logical=0.0)
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    computed = logical = targets = count = 0
    for start in range(0, len(sample), batch):
        some = [sequence for example in sample[start : start + batch] for sequence in example]
        computed += distinct_tokens(some, section.tokens_per_microbatch)
        logical += sum(len(sequence.inputs) for sequence in some)
        targets += sum(int(sequence.targets.sum()) for sequence in some)
        count += len(some)
    one = Tokens(computed=computed, logical=logical, targets=targets, length=logical / count)
    return one.times(examples / len(sample))


def distinct_tokens(sequences: Sequence[TokenSequence], budget: int) -> int:
    """Tokens that trees of at most `budget` tokens hold.

    Args:
        sequences: What goes into the trees.
        budget: Distinct tokens of one tree.
    """
    return sum(_tree_tokens(sequences, budget))


def _tree_tokens(sequences: Sequence[TokenSequence], budget: int) -> Iterator[int]:
    """Tokens of each tree."""
    for group in cut_into_groups(sequences, budget):
        yield distinct_ids([sequences[number].inputs for number in group])


def largest_pass(sample: Sequence[Sequence[TokenSequence]], section: TrainingSection) -> int:
    """Tokens of the largest forward and backward pass: memory is at its fullest there, not at the mean.

    Args:
        sample: Sequences of some examples, in the order in which training meets them.
        section: Batch size and micro-batch budget.
    """
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    steps = [sample[start : start + batch] for start in range(0, len(sample), batch)]
    trees = [[sequence for example in step for sequence in example] for step in steps]
    return max((size for some in trees for size in _tree_tokens(some, section.tokens_per_microbatch)), default=1)


def distinct_ids(sequences: Sequence[Ints]) -> int:
    """Tokens of some sequences, what each shares with the one before it counted once.

    Args:
        sequences: Token ids, in order.
    """
    shared = sum(shared_length(before, after) for before, after in pairwise(sequences))
    return sum(map(len, sequences)) - shared


def draw_sample(train: Sequence[R], seed: int) -> list[R]:
    """Some training records, in the mixed order in which training meets them.

    Args:
        train: All of them.
        seed: Seed of the order.
    """
    order = np.random.default_rng(seed).permutation(len(train))[:SAMPLED]
    return [train[int(place)] for place in order]


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / len(lengths) if lengths else 0.0
