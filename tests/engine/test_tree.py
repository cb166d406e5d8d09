"""Token trees: whatever goes in, every sequence can be read back, and nothing is stored twice."""

from __future__ import annotations

from collections.abc import Sequence

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


MANY = st.lists(sequences(), min_size=1, max_size=8)


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
