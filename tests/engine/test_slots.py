"""Slots keep what belongs to a row while others leave, come and grow; attention over them is plain attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.engine.attention import TreeUnsupportedError
from metier.engine.forward import KeysValues, Prefix
from metier.engine.slots import Slots

GROUPS, SIZE = 2, 4


class Layer(torch.nn.Module):
    """What attention knows of its layer."""

    layer_idx = 1


def state(tokens: int, seed: int) -> KeysValues:
    keys, values = torch.randn(2, 1, GROUPS, tokens, SIZE, generator=torch.Generator().manual_seed(seed))
    return ((1, keys, values),)


def held(slots: Slots, row: int) -> torch.Tensor:
    return slots.keys[1][row, :, : slots.lengths[row]]


def test_rows_that_leave_make_room_for_the_last() -> None:
    slots, read = Slots(6), state(9, 0)
    paths = [np.arange(start, start + length) for start, length in ((0, 3), (2, 1), (4, 5), (0, 9), (7, 2))]
    slots.add(read, paths)
    before = [held(slots, row).clone() for row in range(5)]
    assert slots.remove([0, 4, 2]) == [(3, 0)]
    assert slots.lengths.tolist() == [9, 1] and len(slots) == 2
    assert torch.equal(held(slots, 0), before[3]) and torch.equal(held(slots, 1), before[1])
    slots.add(state(400, 1), [np.arange(400)])  # longer than any slot
    assert torch.equal(held(slots, 0), before[3]) and torch.equal(held(slots, 1), before[1])
    assert slots.remove([0, 1, 2]) == [] and len(slots) == 0


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), prefix=st.integers(0, 6),
    window=st.none() | st.integers(1, 9), repeats=st.sampled_from([1, 3]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_step_is_plain_attention(
    lengths: list[int], prefix: int, window: int | None, repeats: int, seed: int
) -> None:
    total = prefix + sum(lengths)
    read = state(total, seed)
    (_, keys, values) = read[0]
    shared = ((1, keys[:, :, :prefix], values[:, :, :prefix]),)
    slots = Slots(5, Prefix(np.arange(prefix), shared) if prefix else None)
    ends = np.cumsum(lengths)
    paths = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    slots.add(read, paths)
    ((_, key, value),) = state(len(lengths), seed + 1)
    key, value = key.transpose(0, 2).contiguous(), value.transpose(0, 2).contiguous()
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(len(lengths), GROUPS * repeats, 1, SIZE, generator=generator)
    options = {"sliding_window": window, "scaling": 0.6}
    step = slots.step()
    mine = step.attend(Layer(), query, key, value, options)
    assert step.positions[:, 0].tolist() == [prefix + length for length in lengths]
    for row, path in enumerate(paths):
        places = [*range(prefix), *(path + prefix)]
        one = torch.cat([keys[0][:, places], key[row]], dim=1)[:, -(window or 99) :].repeat_interleave(repeats, 0)
        two = torch.cat([values[0][:, places], value[row]], dim=1)[:, -(window or 99) :].repeat_interleave(repeats, 0)
        weights = torch.softmax(query[row] @ one.transpose(1, 2) * 0.6, dim=-1)
        torch.testing.assert_close(mine[row, 0], (weights @ two)[:, 0], atol=1e-5, rtol=1e-5)


def test_a_layer_that_was_not_read_is_refused() -> None:
    slots = Slots(2)
    slots.add(state(3, 0), [np.arange(3)])
    states = torch.zeros(1, GROUPS, 1, SIZE)
    with pytest.raises(TreeUnsupportedError, match="Identity"):
        slots.step().attend(torch.nn.Identity(), states, states, states, {})


def test_bytes_of_a_token() -> None:
    slots = Slots(2)
    slots.add(state(3, 0), [np.arange(3)])
    assert slots.token_bytes == 2 * GROUPS * SIZE * 4
