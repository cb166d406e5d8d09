"""Attention over trees and texts: the numbers of dense attention with a mask, for less work and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metier.engine.attention_choice import AttentionChoice, choose_attention
from metier.engine.attention_flex import attend_flexibly, block_mask
from metier.engine.attention_layout import TreeLayout, cut_into_blocks
from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence, TokenTree

CPU = torch.device("cpu")
HEADS, GROUPS, SIZE = 4, 2, 8


def choose(patch: pytest.MonkeyPatch, queries: int, kept_keys: int = 256) -> None:
    choice = AttentionChoice(kernel="blocks", queries=queries, kept_keys=kept_keys, reason="a test")
    patch.setattr("metier.engine.attention_layout.choose_attention", lambda _device: choice)


def forest(prefix: int, branches: int, own: int, seed: int = 0) -> TokenTree:
    """`branches` sequences of `own` tokens below a beginning of `prefix` tokens."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 1000, prefix)
    whole = [np.concatenate([start, rng.integers(0, 100_000, own)]) for _ in range(branches)]
    return TokenTree.build([TokenSequence(ids, np.zeros(len(ids), np.bool_)) for ids in whole])


@st.composite
def forests(draw: st.DrawFn) -> TokenTree:
    """Trees of any number of levels, and several of them side by side."""
    token = st.integers(0, 3)
    lists = draw(st.lists(st.lists(token, min_size=1, max_size=12), min_size=1, max_size=8))
    return TokenTree.build([TokenSequence(np.array(ids), np.zeros(len(ids), np.bool_)) for ids in lists])


def who_sees_whom(tree: TokenTree, prefix: int, window: int | None) -> Tensor:
    """Bool, shape (T, P + T), from the paths alone."""
    seen = torch.zeros(len(tree), prefix + len(tree), dtype=torch.bool)
    for path in tree.paths:
        for place, node in enumerate(path.tolist()):
            keys = [*range(prefix), *(prefix + path[: place + 1]).tolist()]
            seen[node, keys[-window:] if window is not None else keys] = True
    return seen


def dense(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, softcap: float | None) -> Tensor:
    repeats = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(repeats, 1).transpose(2, 3) * query.shape[3] ** -0.5
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=3)
    return (weights @ value.repeat_interleave(repeats, 1)).transpose(1, 2)


def states(queries: int, keys: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value as models give them: transposed views."""
    generator = torch.Generator().manual_seed(queries + keys)
    return tuple(  # type: ignore[return-value]
        torch.randn(1, length, heads, SIZE, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
        for length, heads in ((queries, HEADS), (keys, GROUPS), (keys, GROUPS))
    )


def assert_same(mine: Tensor, wanted: Tensor, inputs: Sequence[Tensor], close: float = 1e-10) -> None:
    torch.testing.assert_close(mine, wanted, rtol=close, atol=close)
    weights = torch.linspace(-1, 1, wanted.numel(), dtype=wanted.dtype, device=wanted.device).view_as(wanted)
    gradients = [torch.autograd.grad((each * weights).sum(), inputs) for each in (mine, wanted)]
    for own, right in zip(*gradients, strict=True):
        torch.testing.assert_close(own, right, rtol=close, atol=close)


@settings(max_examples=60, deadline=None)
@given(
    forests(), st.sampled_from([0, 3]), st.sampled_from([None, 1, 2, 5]), st.sampled_from([None, 0.7]),
    st.sampled_from([2, 5, 96]), st.sampled_from([0, 6, 256]),
)  # fmt: skip
def test_blocks_are_dense_attention(
    tree: TokenTree, prefix: int, window: int | None, softcap: float | None, queries: int, kept_keys: int
) -> None:
    tree = TokenTree(
        tree.ids, tree.positions + prefix, tree.ends, tree.paths, tree.target_nodes, tree.target_ids,
        tree.target_sequences,
    )  # fmt: skip
    inputs = states(len(tree), prefix + len(tree))
    with pytest.MonkeyPatch.context() as patch:
        choose(patch, queries, kept_keys)
        layout = TreeLayout.of(tree, prefix, CPU)
    mine = layout.attend(torch.nn.Identity(), *inputs, {"sliding_window": window, "softcap": softcap})
    assert_same(mine, dense(*inputs, who_sees_whom(tree, prefix, window), softcap), inputs)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([None, 1, 3]), st.sampled_from([2, 7, 96]))
def test_a_token_of_a_text_sees_its_own_text(lengths: list[int], window: int | None, queries: int) -> None:
    total = sum(lengths)
    inputs = states(total, total)
    text = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.arange(length) for length in lengths])
    seen = text[:, None] == text[None]
    if window is not None:
        seen &= np.abs(place[:, None] - place[None]) < window
    with pytest.MonkeyPatch.context() as patch:
        choose(patch, queries)
        layout = TreeLayout.of_texts(lengths, CPU)
    mine = layout.attend(torch.nn.Identity(), *inputs, {"sliding_window": window})
    assert_same(mine, dense(*inputs, torch.from_numpy(seen), None), inputs)


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_flexible_attention_is_dense_attention(window: int | None, softcap: float | None) -> None:
    """Uncompiled, which is the same function on any device; several blocks of 128, whole, partial and empty.

    Forward only: torch has no backward of it on a CPU.
    """
    tree = forest(150, 4, 45)
    layout = TreeLayout.of(tree, 0, CPU)
    query, key, value = (part.detach() for part in states(len(tree), len(tree), torch.float32))
    mask = block_mask(layout.sight, window, CPU)
    assert 0 < mask.sparsity() < 100
    mine = attend_flexibly(query, key, value, mask, SIZE**-0.5, softcap)
    wanted = dense(query, key, value, who_sees_whom(tree, 0, window), softcap)
    torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_flexible_attention_on_a_gpu(softcap: float | None) -> None:
    device = torch.device("cuda")
    tree = forest(150, 4, 45)
    layout = TreeLayout.of(tree, 0, device)
    assert layout.choice.kernel == "flex"
    inputs = [part.detach().to(device).requires_grad_() for part in states(len(tree), len(tree), torch.float32)]
    mine = layout.attend(torch.nn.Identity(), *inputs, {"softcap": softcap})
    assert_same(mine, dense(*inputs, who_sees_whom(tree, 0, None).to(device), softcap), inputs, 1e-3)


@pytest.mark.slow
def test_flexible_attention_compiled() -> None:
    """In a process of its own: the compiler loads setuptools, which refuses to where distutils is loaded already."""
    code = f"""
import runpy
from torch.nn.attention.flex_attention import flex_attention
here = runpy.run_path({__file__!r})
tree = here["forest"](150, 4, 45)
torch, cpu, size = here["torch"], here["CPU"], here["SIZE"]
query, key, value = (part.detach() for part in here["states"](len(tree), len(tree), torch.float32))
mask = here["block_mask"](here["TreeLayout"].of(tree, 0, cpu).sight, None, cpu)
run = torch.compile(flex_attention, dynamic=True)
mine = run(query, key, value, block_mask=mask, scale=size**-0.5, enable_gqa=True).transpose(1, 2)
wanted = here["dense"](query, key, value, here["who_sees_whom"](tree, 0, None), None)
torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


SHAPES = {
    "16 short branches": (37, 16, 26), "16 branches under a long prefix": (600, 16, 30),
    "8 unshared sequences": (0, 8, 250), "one sequence": (0, 1, 2000),
}  # fmt: skip


def scores(layout: TreeLayout, window: int | None = None) -> int:
    """Scores that are computed, for one head."""
    return sum((block.end - block.start) * block.size for block in layout._blocks(window))


@pytest.mark.parametrize(("name", "most"), [(name, 2.8 if "short" in name else 1.4) for name in SHAPES])
def test_few_scores_are_computed_that_nobody_needs(name: str, most: float) -> None:
    tree = forest(*SHAPES[name])
    needed = int((tree.positions + 1).sum())
    computed = scores(TreeLayout.of(tree, 0, CPU))
    assert needed <= computed <= most * needed
    assert computed < 0.6 * len(tree) ** 2


def test_an_unshared_sequence_costs_what_it_costs_alone() -> None:
    alone = scores(TreeLayout.of(forest(0, 1, 250), 0, CPU))
    assert scores(TreeLayout.of(forest(0, 8, 250), 0, CPU)) == 8 * alone


def test_a_window_costs_its_width() -> None:
    tree = forest(0, 1, 2000)
    assert scores(TreeLayout.of(tree, 0, CPU), 64) < 2000 * (96 + 64)


def test_masks_are_small_and_shared() -> None:
    """A block has a table only for the keys that not all its queries see; blocks that look alike share one."""
    blocks = TreeLayout.of(forest(0, 1, 2016), 0, CPU)._blocks(None)
    tables = {id(block.hidden): block.hidden for block in blocks}
    assert len(blocks) == 21 and len(tables) == 1
    (table,) = tables.values()
    assert table is not None and table.shape == (96, 95), "the block's own first key is seen by all its queries"


def test_layers_share_what_was_laid_out() -> None:
    layout = TreeLayout.of(forest(5, 3, 4), 0, CPU)
    inputs = states(len(layout.sight), len(layout.sight))
    for window in (None, 4, None, 4):
        layout.attend(torch.nn.Identity(), *inputs, {"sliding_window": window})
    assert len(layout.made) == 2


def test_weights_over_many_keys_are_not_kept() -> None:
    """Memory for the backward pass must not grow with the square of the length."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    for length in (512, 1024):
        layout, inputs = TreeLayout.of(forest(0, 1, length), 0, CPU), states(length, length)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            layout.attend(torch.nn.Identity(), *inputs, {})
        kept.append(-1)
    short, long = (sum(part) for part in (kept[: kept.index(-1)], kept[kept.index(-1) + 1 : -1]))
    assert long < 2.2 * short


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 10))
def test_blocks_hold_every_query_once(lengths: list[int], size: int) -> None:
    pieces = [0, *np.cumsum(lengths).tolist()]
    blocks = cut_into_blocks(pieces, size)
    assert [query for start, end in blocks for query in range(start, end)] == list(range(pieces[-1]))
    assert all(0 < end - start <= size for start, end in blocks)
    for start, end in pairwise(pieces):
        if end - start > size:
            assert {start, end} <= {edge for block in blocks for edge in block}, "a long piece shares no block"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_computes_in_its_dtype(dtype: torch.dtype) -> None:
    layout = TreeLayout.of(forest(3, 2, 4), 0, CPU)
    inputs = states(len(layout.sight), len(layout.sight), torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        output = layout.attend(torch.nn.Identity(), *inputs, {})
    assert output.dtype is dtype
    output.float().sum().backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None and each.grad.dtype is torch.float32 for each in inputs)


def test_gradients_in_bfloat16_do_not_grow_with_the_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys at the beginning are in every block: sums in bfloat16 would lose their last bits."""
    tree = forest(0, 1, 1024)
    exact = states(len(tree), len(tree))
    seen = who_sees_whom(tree, 0, None)
    wanted = torch.autograd.grad(dense(*exact, seen, None).sum(), exact)[2]
    errors = []
    for queries in (512, 16):
        choose(monkeypatch, queries)
        rough = [each.detach().bfloat16().requires_grad_() for each in exact]
        output = TreeLayout.of(tree, 0, CPU).attend(torch.nn.Identity(), *rough, {})
        own = torch.autograd.grad(output.sum(), rough)[2]
        errors.append(float((own - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()))
    assert errors[1] < 1.2 * errors[0]


@pytest.fixture
def anew() -> Any:
    choose_attention.cache_clear()
    yield
    choose_attention.cache_clear()


@pytest.mark.usefixtures("anew")
def test_the_choice_is_a_function_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.engine.attention_choice.find_spec", lambda _name: object())
    assert choose_attention("cpu").kernel == choose_attention("mps").kernel == "blocks"
    assert choose_attention("cuda") == AttentionChoice(kernel="flex", reason="cuda runs flex_attention compiled")
    assert choose_attention("cpu") is choose_attention("cpu"), "decided once"


@pytest.mark.usefixtures("anew")
def test_a_missing_kernel_is_announced(
    tiny_base: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, notices: Any
) -> None:
    monkeypatch.setattr("metier.engine.attention_choice.find_spec", lambda _name: None)
    without = choose_attention("cuda")
    assert without.kernel == "blocks" and without.notice is not None
    monkeypatch.setattr("metier.engine.forward.choose_attention", lambda _device: without)
    runner = TreeRunner(tiny_base("llama").network, observers=[notices])
    for _ in range(2):
        assert runner.probe([TokenSequence.of([3, 4, 5], [6])])
    assert notices.messages == [
        "Attention runs in blocks of queries, which is slower here: flex_attention needs the package triton, which is "
        "missing."
    ]
