"""Token trees: many token sequences as one tree in which every shared prefix is stored once.

Shape letters: S sequences, L tokens of one sequence, T nodes of the tree, M targets.

A node stands for one token in one context. The model computes each node once, and every sequence
gets the numbers that it would have got alone: positions count from the root, and a node attends to
its ancestors only (`attention.py`). Nodes are in depth-first order, so the descendants of node i are
exactly the nodes i+1 … ends[i]-1, and the ancestor relation needs no T x T table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """Token ids, and which of them the model must predict.

    `ids` and `targets` have shape (L,). Token 0 can be no target: nothing predicts it.
    """

    ids: Ints
    targets: Bools

    @staticmethod
    def of(prompt: Sequence[int], answer: Sequence[int]) -> TokenSequence:
        """A prompt that is read and an answer whose every token is predicted."""
        ids = np.fromiter((*prompt, *answer), dtype=np.int64, count=len(prompt) + len(answer))
        targets = np.zeros(len(ids), dtype=np.bool_)
        targets[len(prompt) :] = True
        return TokenSequence(ids, targets)

    @property
    def inputs(self) -> Ints:
        """The ids that must be computed: all before the last target. A last target is never an input."""
        where = np.flatnonzero(self.targets)
        return self.ids[: where[-1]] if len(where) else self.ids


@dataclass(frozen=True, eq=False)
class TokenTree:
    """Sequences with shared prefixes stored once, in depth-first order."""

    ids: Ints
    """Token id of each node, shape (T,)."""
    positions: Ints
    """Position of each node in its sequence, shape (T,)."""
    ends: Ints
    """One past the last descendant of each node, shape (T,)."""
    paths: tuple[Ints, ...]
    """For each sequence, in the given order, the nodes of its inputs."""
    target_nodes: Ints
    """Node whose hidden state predicts each target, shape (M,). A branch point appears once per child."""
    target_ids: Ints
    """Token to be predicted, shape (M,)."""
    target_sequences: Ints
    """Number of the sequence that each target belongs to, shape (M,)."""

    def __len__(self) -> int:
        """Number of nodes, T."""
        return len(self.ids)

    @property
    def logical_tokens(self) -> int:
        """Tokens that the same sequences have without sharing."""
        return sum(len(path) for path in self.paths)

    @staticmethod
    def build(sequences: Sequence[TokenSequence], offset: int = 0) -> TokenTree:
        """Merge sequences into a tree.

        Args:
            sequences: At least one. Order is kept in `paths` and `target_sequences`.
            offset: Position of the roots: the length of a prefix that is kept as key-value state and
                that `sequences` no longer contain.
        """
        inputs = [sequence.inputs for sequence in sequences]
        paths: list[Ints] = [np.empty(0, np.int64)] * len(sequences)
        ids: list[Ints] = []
        total, previous = 0, -1
        for number in canonical_order(inputs):
            shared = shared_length(inputs[previous], inputs[number]) if previous >= 0 else 0
            new = inputs[number][shared:]
            fresh = np.arange(total, total + len(new), dtype=np.int64)
            paths[number] = np.concatenate([paths[previous][:shared], fresh]) if shared else fresh
            ids.append(new)
            total, previous = total + len(new), number
        positions, ends = np.zeros(total, np.int64), np.zeros(total, np.int64)
        for path in paths:
            positions[path] = np.arange(len(path))
        _fill_ends(ends, paths)
        nodes, wanted, owner = _targets(sequences, paths)
        flat = np.concatenate(ids) if ids else np.empty(0, np.int64)
        return TokenTree(flat, positions + offset, ends, tuple(paths), nodes, wanted, owner)

    def ancestors(self, node: int) -> Ints:
        """The nodes before `node` that it may attend to, in order; `node` itself is not among them."""
        before = np.arange(node)
        return before[self.ends[:node] > node]


def with_sibling(sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
    """`sequences` and one more that leaves the first one half-way: a tree of them has a branch for sure."""
    first = sequences[0]
    half = max(1, len(first.inputs) // 2)
    ids = np.concatenate([first.ids[:half], first.ids[half:][::-1]])
    return [*sequences, TokenSequence(ids, first.targets)]


def shared_length(left: Ints, right: Ints) -> int:
    """Length of the longest common prefix."""
    limit = min(len(left), len(right))
    different = np.flatnonzero(left[:limit] != right[:limit])
    return int(different[0]) if len(different) else limit


def canonical_order(sequences: Sequence[Ints]) -> list[int]:
    """Numbers of the sequences sorted by their tokens: neighbours share the longest prefixes.

    Big-endian bytes of non-negative integers sort like the integers.
    """
    return sorted(range(len(sequences)), key=lambda number: sequences[number].astype(">u4").tobytes())


def common_start(sequences: Sequence[Ints]) -> Ints:
    """What all of at least two sequences begin with, at least one token short of each; else nothing."""
    if len(sequences) < 2:
        return np.empty(0, dtype=np.int64)
    order = canonical_order(sequences)
    length = shared_length(sequences[order[0]], sequences[order[-1]])
    return sequences[0][: min(length, *(len(sequence) - 1 for sequence in sequences))]


def cut_into_groups(sequences: Sequence[TokenSequence], budget: int) -> Iterator[list[int]]:
    """Cut sequences into groups of at most `budget` distinct tokens, so that what shares stays together.

    A single sequence longer than the budget is a group of its own. Yields lists of sequence numbers.
    """
    inputs = [sequence.inputs for sequence in sequences]
    group: list[int] = []
    size = 0
    for number in canonical_order(inputs):
        length = len(inputs[number])
        new = length - shared_length(inputs[group[-1]], inputs[number]) if group else length
        if group and size + new > budget:
            yield group
            group, size, new = [], 0, length
        group.append(number)
        size += new
    if group:
        yield group


def _fill_ends(ends: Ints, paths: Sequence[Ints]) -> None:
    """Set `ends`: the last node of every path reaches back to all its ancestors."""
    for path in paths:
        if len(path):
            np.maximum.at(ends, path, path[-1] + 1)


def _targets(sequences: Sequence[TokenSequence], paths: Sequence[Ints]) -> tuple[Ints, Ints, Ints]:
    """Predicting nodes, wanted ids and owners of all targets."""
    nodes, wanted, owner = [], [], []
    for number, (sequence, path) in enumerate(zip(sequences, paths, strict=True)):
        where = np.flatnonzero(sequence.targets)
        nodes.append(path[where - 1])
        wanted.append(sequence.ids[where])
        owner.append(np.full(len(where), number, dtype=np.int64))
    return np.concatenate(nodes), np.concatenate(wanted), np.concatenate(owner)
