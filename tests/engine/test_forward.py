"""The tree gives the numbers of transformers' plain forward, family by family, or steps aside and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence, TokenTree
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]


def alone(network: Any, sequences: Sequence[TokenSequence]) -> Tensor:
    """Logits at targets by nothing but transformers: each sequence alone, no index of logits, no cache."""
    rows = []
    for sequence in sequences:
        logits = network(input_ids=torch.from_numpy(sequence.ids)[None], use_cache=False).logits[0].float()
        rows.append(logits[torch.from_numpy(np.flatnonzero(sequence.targets) - 1)])
    return torch.cat(rows)


def relative(mine: Tensor, reference: Tensor) -> float:
    return float((mine - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("count", [1, 6])
def test_a_family_that_does_not_fit_runs_plainly(
    tiny_base: TinyBase, domain_sequences: Make, notices: Any, count: int
) -> None:
    """Even when the first batch has no branch at all, and a wrong family would pass."""
    network = tiny_base("mamba").network
    runner = TreeRunner(network, observers=[notices])
    for seed in range(3):
        sequences = domain_sequences(count if seed == 0 else 6, seed=seed)
        with torch.no_grad():
            mine = runner.logits(TokenTree.build(sequences), sequences)
            assert relative(mine, alone(network, sequences)) < 1e-5
    assert runner.plain and not runner.probe(sequences) and runner.prefill(sequences[0].ids) is None
    assert len(notices.messages) == 1
    assert "MambaForCausalLM runs plainly, without shared prefixes: logits differ by" in notices.messages[0]


@pytest.mark.parametrize("option", ["s_aux", "position_bias", "head_mask", "dropout"])
def test_options_that_change_scores_are_refused(option: str) -> None:
    from metier.engine.attention import TreeUnsupportedError, tree_attention
    from metier.engine.attention_layout import TreeLayout

    states = torch.zeros(1, 2, 3, 4)
    layout = TreeLayout.of(TokenTree.build([TokenSequence.of([1, 2, 3], [4])]), 0, states.device)
    tree_attention(torch.nn.Identity(), states, states, states, None, tree_layout=layout, **{option: None})
    with pytest.raises(TreeUnsupportedError, match="Identity"):
        tree_attention(torch.nn.Identity(), states, states, states, None, tree_layout=layout, **{option: 1.0})


def test_the_attention_of_the_network_is_given_back(tiny_base: TinyBase, domain_sequences: Make) -> None:
    network, sequences = tiny_base("llama").network, domain_sequences(3)
    before = network.config._attn_implementation
    with torch.no_grad():
        TreeRunner(network).logits(TokenTree.build(sequences), sequences)
    assert network.config._attn_implementation == before == "sdpa"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bfloat16_stays_within_its_own_noise(tiny_base: TinyBase, domain_sequences: Make, family: str) -> None:
    sequences = domain_sequences(7)
    exact = alone(tiny_base(family).network, sequences)
    network = tiny_base(family, dtype="bfloat16").network
    with torch.no_grad():
        mine = TreeRunner(network).logits(TokenTree.build(sequences), sequences)
        noise = float((alone(network, sequences) - exact).abs().mean())
    assert noise > 0
    assert float((mine - exact).abs().mean()) < 2 * noise


def test_dropout_does_not_disturb_the_comparison(tiny_base: TinyBase, domain_sequences: Make, notices: Any) -> None:
    """Else a resumed training, whose adapters are no longer zero, would run plainly and draw other masks."""
    section = AdaptationSection(method="lora", r=4, lora_dropout=0.5)
    model = adapt_model(section, tiny_base("llama"), seed=5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.fill_(0.1)
    model.network.train(True)
    state = torch.random.get_rng_state()
    runner = TreeRunner(model.network, observers=[notices])
    assert runner.probe(domain_sequences(3)) and notices.messages == []
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in model.network.modules())


def test_autocast_stays_within_its_own_noise(tiny_base: TinyBase, domain_sequences: Make, notices: Any) -> None:
    network, sequences = tiny_base("llama").network, domain_sequences(7)
    runner = TreeRunner(network, observers=[notices], autocast=True)
    with torch.no_grad():
        exact = alone(network, sequences)
        mine = runner.logits(TokenTree.build(sequences), sequences)
        with torch.autocast("cpu", torch.bfloat16):
            noise = float((alone(network, sequences) - exact).abs().mean())
    assert 0 < float((mine - exact).abs().mean()) < 2 * noise
    assert notices.messages == []


def test_a_copy_of_a_runner_does_not_say_it_again(tiny_base: TinyBase, domain_sequences: Make, notices: Any) -> None:
    runner = TreeRunner(tiny_base("mamba").network, observers=[notices])
    assert not runner.probe(domain_sequences(2))
    assert not replace(runner, trunk=None).probe(domain_sequences(2))
    assert len(notices.messages) == 1
