"""Token trees: whatever goes in, every sequence can be read back, and nothing is stored twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engine.tree import TokenSequence, TokenTree, canonical_order, cut_into_groups, shared_length, with_sibling

TOKENS = st.integers(0, 3) | st.sampled_from([255, 256, 65_535, 65_536, 151_000])
"""Few different ones, so that prefixes are shared; some where the order of bytes would show."""


@st.composite
def sequences(draw: st.DrawFn) -> TokenSequence:
    ids = draw(st.lists(TOKENS, min_size=2, max_size=9))
    targets = draw(st.lists(st.booleans(), min_size=len(ids) - 1, max_size=len(ids) - 1))
    return TokenSequence(np.array(ids, dtype=np.int64), np.array([False, *targets]))


@st.composite
def grown(draw: st.DrawFn) -> list[TokenSequence]:
    """Sequences that go on from any place of each other: many levels, duplicates, one a prefix of another."""
    some = [draw(sequences())]
    for _ in range(draw(st.integers(1, 9))):
        base = draw(st.sampled_from(some))
        kept = draw(st.integers(1, len(base.ids)))
        ids = [*base.ids[:kept].tolist(), *draw(st.lists(TOKENS, min_size=2 if kept == 1 else 0, max_size=5))]
        ids = ids if len(ids) > 1 else [*ids, 0]
        targets = draw(st.lists(st.booleans(), min_size=len(ids) - 1, max_size=len(ids) - 1))
        some.append(TokenSequence(np.array(ids, dtype=np.int64), np.array([False, *targets])))
    return some


MANY = st.lists(sequences(), min_size=1, max_size=8) | grown()


class Node:
    """A token tree as one would draw it: the trusted reference."""

    def __init__(self, token: int, depth: int) -> None:
        self.token, self.depth = token, depth
        self.children: dict[int, Node] = {}

    def child(self, token: int) -> Node:
        return self.children.setdefault(token, Node(token, self.depth + 1))

    def walk(self) -> list[Node]:
        """Itself and all below it, depth first, children by token."""
        return [self, *(node for _, each in sorted(self.children.items()) for node in each.walk())]


def context(given_sequences: Sequence[TokenSequence], tree: TokenTree, node: int) -> tuple[int, ...]:
    """The tokens from the root to `node`, read from a sequence that runs through it."""
    for sequence, path in zip(given_sequences, tree.paths, strict=True):
        if node in path:
            return tuple(sequence.inputs[: int(np.flatnonzero(path == node)[0]) + 1].tolist())
    raise AssertionError(f"node {node} belongs to no sequence")


@given(MANY)
def test_every_path_gives_its_inputs_back(some: list[TokenSequence]) -> None:
    tree = TokenTree.build(some)
    assert len(tree.paths) == len(some)
    for sequence, path in zip(some, tree.paths, strict=True):
        np.testing.assert_array_equal(tree.ids[path], sequence.inputs)
    assert tree.logical_tokens == sum(len(sequence.inputs) for sequence in some)


@given(MANY, st.integers(0, 50))
def test_positions_count_from_the_root_and_the_offset(some: list[TokenSequence], offset: int) -> None:
    tree = TokenTree.build(some, offset=offset)
    for path in tree.paths:
        np.testing.assert_array_equal(tree.positions[path], offset + np.arange(len(path)))


@given(MANY)
def test_each_token_in_its_context_is_stored_once(some: list[TokenSequence]) -> None:
    tree = TokenTree.build(some)
    wanted = {tuple(s.inputs[: end + 1].tolist()) for s in some for end in range(len(s.inputs))}
    found = [context(some, tree, node) for node in range(len(tree))]
    assert len(found) == len(set(found))
    assert set(found) == wanted


@given(MANY)
def test_ancestors_and_ends_are_those_of_the_paths(some: list[TokenSequence]) -> None:
    tree = TokenTree.build(some)
    contexts = [context(some, tree, node) for node in range(len(tree))]
    for node, mine in enumerate(contexts):
        above = [other for other, its in enumerate(contexts) if its == mine[: len(its)] and len(its) < len(mine)]
        np.testing.assert_array_equal(tree.ancestors(node), above)
        below = [other for other, its in enumerate(contexts) if its[: len(mine)] == mine]
        assert below == list(range(node, int(tree.ends[node])))


@given(MANY)
def test_targets_are_complete_and_a_branch_point_counts_once_a_child(some: list[TokenSequence]) -> None:
    tree = TokenTree.build(some)
    wanted = [
        (number, tuple(sequence.ids[:place].tolist()), int(sequence.ids[place]))
        for number, sequence in enumerate(some)
        for place in np.flatnonzero(sequence.targets)
    ]
    found = [
        (int(owner), context(some, tree, int(node)), int(token))
        for owner, node, token in zip(tree.target_sequences, tree.target_nodes, tree.target_ids, strict=True)
    ]
    assert found == wanted


@given(MANY, st.integers(1, 30))
def test_groups_cover_everything_once_within_the_budget(some: list[TokenSequence], budget: int) -> None:
    groups = list(cut_into_groups(some, budget))
    assert sorted(number for group in groups for number in group) == list(range(len(some)))
    for group in groups:
        assert len(TokenTree.build([some[number] for number in group])) <= budget or len(group) == 1


@given(MANY)
def test_the_tree_is_the_one_that_is_drawn(some: list[TokenSequence]) -> None:
    root = Node(-1, -1)
    for sequence in some:
        node = root
        for token in sequence.inputs.tolist():
            node = node.child(token)
    tree, drawn = TokenTree.build(some), root.walk()[1:]
    assert tree.ids.tolist() == [node.token for node in drawn]
    assert tree.positions.tolist() == [node.depth for node in drawn]
    assert tree.ends.tolist() == [place + len(node.walk()) for place, node in enumerate(drawn)]


@given(MANY, st.integers(1, 40))
def test_what_shares_stays_together(some: list[TokenSequence], budget: int) -> None:
    """A group ends only where the next sequence in canonical order would not fit, and all of one tree is one group."""
    groups = list(cut_into_groups(some, budget))
    assert [number for group in groups for number in group] == canonical_order([each.inputs for each in some])
    for group, following in pairwise(groups):
        assert len(TokenTree.build([some[number] for number in [*group, following[0]]])) > budget
    assert (len(groups) == 1) == (len(TokenTree.build(some)) <= budget or len(some) == 1)


@given(st.lists(st.integers(2, 12), min_size=1, max_size=9), st.integers(1, 40))
def test_without_sharing_nothing_is_computed_for_nobody(lengths: list[int], budget: int) -> None:
    """No padding whatever the order, so sorting by length would save nothing."""
    some = [TokenSequence.of(range(100 * n, 100 * n + length), [7]) for n, length in enumerate(lengths)]
    trees = [TokenTree.build([some[number] for number in group]) for group in cut_into_groups(some, budget)]
    assert sum(map(len, trees)) == sum(tree.logical_tokens for tree in trees) == sum(lengths)


@given(st.lists(st.lists(TOKENS, max_size=6), max_size=10))
def test_canonical_order_is_lexicographic(lists: list[list[int]]) -> None:
    order = canonical_order([np.array(one, dtype=np.int64) for one in lists])
    assert sorted(order) == list(range(len(lists)))
    assert [lists[number] for number in order] == sorted(lists)


@given(st.lists(TOKENS, max_size=6), st.lists(TOKENS, max_size=6))
def test_shared_length(left: list[int], right: list[int]) -> None:
    length = shared_length(np.array(left, dtype=np.int64), np.array(right, dtype=np.int64))
    assert left[:length] == right[:length]
    assert length in (len(left), len(right)) or left[length] != right[length]


@pytest.mark.parametrize(
    ("prompt", "answer", "inputs"), [((1, 2, 3), (4, 5), [1, 2, 3, 4]), ((1,), (2,), [1]), ((1, 2), (), [1, 2])]
)
def test_the_last_target_is_never_an_input(prompt: tuple[int, ...], answer: tuple[int, ...], inputs: list[int]) -> None:
    sequence = TokenSequence.of(prompt, answer)
    assert sequence.inputs.tolist() == inputs
    assert sequence.ids[sequence.targets].tolist() == list(answer)


def test_a_sibling_makes_a_branch() -> None:
    some = with_sibling([TokenSequence.of([5, 6, 7, 8, 9, 10], [11, 12])])
    tree = TokenTree.build(some)
    assert len(some) == 2
    assert len(some[0].inputs) < len(tree) < tree.logical_tokens
