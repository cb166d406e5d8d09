"""The last block's MLP is computed where a logit is wanted, and the numbers are those of all of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine import forward as forward_module
from metier.engine.forward import TreeRunner
from metier.engine.top_block import answered_only
from metier.engine.tree import TokenSequence, TokenTree
from metier.model.adapt import adapt_model
from metier.model.blocks import blocks_of
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]
FAMILIES = ["llama", "qwen2", "qwen3", "gpt2", "mistral", "gemma3_text"]


def products(network: Any, run: Callable[[], Any]) -> int:
    """Tokens that reach the last block's MLP."""
    seen: list[int] = []
    for part in blocks_of(network).modules[-1].children():
        linear = [m for m in part.modules() if m.__class__.__name__ in ("Linear", "Conv1D")]
        if linear and "attn" not in type(part).__name__.lower() and "attention" not in type(part).__name__.lower():
            linear[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
            break
    run()
    return seen[-1]


@contextmanager
def everywhere(*_: Any) -> Any:
    yield


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_the_whole_block(
    tiny_base: TinyBase, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    sequences, found = domain_sequences(6), []
    tree = TokenTree.build(sequences)
    for whole in (True, False):
        with monkeypatch.context() as patch:
            if whole:
                patch.setattr(forward_module, "answered_only", everywhere)
            model = adapt_model(AdaptationSection(method="lora", layers="all", r=4), tiny_base(family), seed=3)
            with torch.no_grad():
                for name, parameter in model.trainable().items():
                    if "lora_B" in name:
                        parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter))
            runner = TreeRunner(model.network)
            logits = runner.logits(tree, sequences)
            assert not runner.plain
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(tree.target_ids)).backward()
            gradients = {name: p.grad for name, p in model.trainable().items()}
            found.append((logits.detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    for name, wanted in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], wanted, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_only_the_answered_tokens_are_multiplied(tiny_base: TinyBase, domain_sequences: Make, family: str) -> None:
    network, sequences = tiny_base(family).network, domain_sequences(6)
    tree = TokenTree.build(sequences)
    nodes = len(np.unique(tree.target_nodes))
    assert nodes < 0.75 * len(tree)
    runner = TreeRunner(network, checked=True)
    ids = torch.from_numpy(tree.ids)[None]
    with torch.no_grad():
        assert products(network, lambda: runner.logits(tree, sequences)) == nodes
        assert products(network, lambda: network(input_ids=ids)) == len(tree), "nothing is left behind"


def test_a_block_that_may_be_computed_again_is_left_alone(tiny_base: TinyBase) -> None:
    network = tiny_base("llama").network
    block = blocks_of(network).modules[-1]
    vars(block)["forward"] = block.forward
    with answered_only(network, torch.tensor([1]), 9):
        assert "forward" not in vars(block.mlp)
    del vars(block)["forward"]
    with answered_only(network, torch.tensor([1]), 9):
        assert "forward" in vars(block.mlp)
    assert "forward" not in vars(block.mlp)
    with answered_only(network, torch.arange(8), 9):
        assert "forward" not in vars(block.mlp)
