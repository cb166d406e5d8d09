"""The tree gives the numbers of transformers' plain forward, family by family, or steps aside and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metier.engine.forward import TreeRunner, plain_logits
from metier.engine.tree import TokenSequence, TokenTree
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]
FAMILIES = ["llama", "qwen2", "gpt2", "mistral", "qwen3", "gemma3_text"]
SHARED = 9


def alone(network: Any, sequences: Sequence[TokenSequence]) -> Tensor:
    """Logits at targets by nothing but transformers: each sequence alone, no index of logits, no cache."""
    rows = []
    for sequence in sequences:
        logits = network(input_ids=torch.from_numpy(sequence.ids)[None], use_cache=False).logits[0].float()
        rows.append(logits[torch.from_numpy(np.flatnonzero(sequence.targets) - 1)])
    return torch.cat(rows)


def padded_loss(network: Any, sequences: Sequence[TokenSequence]) -> Tensor:
    """Mean loss over targets of one right-padded batch, as a training loop elsewhere would write it."""
    width = max(len(sequence.ids) for sequence in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, sequence in enumerate(sequences):
        length = len(sequence.ids)
        ids[row, :length] = torch.from_numpy(sequence.ids)
        mask[row, :length] = 1
        labels[row, :length] = torch.from_numpy(np.where(sequence.targets, sequence.ids, -100))
    logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def tree_loss(runner: TreeRunner, sequences: Sequence[TokenSequence]) -> Tensor:
    tree = TokenTree.build(sequences)
    return torch.nn.functional.cross_entropy(runner.logits(tree, sequences), torch.from_numpy(tree.target_ids))


def relative(mine: Tensor, reference: Tensor) -> float:
    return float((mine - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 7])
def test_logits_at_targets(tiny_base: TinyBase, domain_sequences: Make, notices: Any, family: str, count: int) -> None:
    network, sequences = tiny_base(family).network, domain_sequences(count)
    runner = TreeRunner(network, observers=[notices])
    with torch.no_grad():
        mine = runner.logits(TokenTree.build(sequences), sequences)
        reference = alone(network, sequences)
    assert mine.dtype is torch.float32 and mine.shape == reference.shape
    assert relative(mine, reference) < 1e-5
    assert relative(plain_logits(network, sequences), reference) < 1e-5
    assert not runner.plain and notices.messages == []


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_after_a_prefix_of_key_value_state(tiny_base: TinyBase, domain_sequences: Make, family: str) -> None:
    network, sequences = tiny_base(family).network, domain_sequences(7)
    runner = TreeRunner(network)
    prefix = runner.prefill(sequences[0].ids[:SHARED])
    assert prefix is not None
    rest = [TokenSequence(s.ids[SHARED:], s.targets[SHARED:]) for s in sequences]
    tree = TokenTree.build(rest, offset=SHARED)
    with torch.no_grad():
        first = runner.logits(tree, sequences, prefix)
        again = runner.logits(tree, sequences, prefix)
        assert relative(first, alone(network, sequences)) < 1e-5
    assert torch.equal(first, again), "using the prefix changed it"


def test_trees_of_several_blocks(tiny_base: TinyBase, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.engine.attention.BLOCK", 5)
    for family in ("llama", "mistral"):
        network, sequences = tiny_base(family).network, domain_sequences(11, seed=3)
        with torch.no_grad():
            mine = TreeRunner(network).logits(TokenTree.build(sequences), sequences)
            assert relative(mine, alone(network, sequences)) < 1e-5, family


def adapted(tiny_base: TinyBase, family: str, method: str) -> Any:
    layers = "top 1" if method == "freeze" else "all"
    model = adapt_model(AdaptationSection(method=method, layers=layers, r=4), tiny_base(family), seed=5)
    if method == "lora":  # B is zero at first, and A would have no gradient worth comparing
        with torch.no_grad():
            for name, parameter in model.trainable().items():
                if "lora_B" in name:
                    parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).reshape(parameter.shape))
    return model


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients(tiny_base: TinyBase, domain_sequences: Make, family: str, method: str) -> None:
    model, sequences = adapted(tiny_base, family, method), domain_sequences(6, seed=2)
    learning = model.trainable()
    gradients = []
    for loss in (padded_loss(model.network, sequences), tree_loss(TreeRunner(model.network), sequences)):
        gradients.append(torch.autograd.grad(loss, list(learning.values())))
    for name, reference, mine in zip(learning, *gradients, strict=True):
        assert float((mine - reference).abs().max()) <= 1e-5 * max(float(reference.abs().max()), 1e-2), name


@pytest.mark.parametrize(("family", "method"), [("llama", "lora"), ("gpt2", "full"), ("gemma3_text", "freeze")])
def test_ten_steps_of_a_training_loop(tiny_base: TinyBase, domain_sequences: Make, family: str, method: str) -> None:
    curves = []
    for kind in ("plain", "tree"):
        model = adapted(tiny_base, family, method)
        runner = TreeRunner(model.network)
        optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=1e-3)
        curve = []
        for step in range(10):
            sequences = domain_sequences(5, seed=step)
            loss = padded_loss(model.network, sequences) if kind == "plain" else tree_loss(runner, sequences)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            curve.append(float(loss.detach()))
        curves.append(curve)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    assert curves[0][0] != curves[0][-1]


@pytest.mark.parametrize(
    ("family", "why"), [("mamba", "logits differ by"), ("gemma2", "TreeUnsupportedError: Gemma2Attention")]
)
@pytest.mark.parametrize("count", [1, 6])
def test_a_family_that_does_not_fit_runs_plainly(
    tiny_base: TinyBase, domain_sequences: Make, notices: Any, family: str, why: str, count: int
) -> None:
    """Even when the first batch has no branch at all, and a wrong family would pass."""
    network = tiny_base(family).network
    runner = TreeRunner(network, observers=[notices])
    for seed in range(3):
        sequences = domain_sequences(count if seed == 0 else 6, seed=seed)
        with torch.no_grad():
            mine = runner.logits(TokenTree.build(sequences), sequences)
            assert relative(mine, alone(network, sequences)) < 1e-5
    assert runner.plain and not runner.probe(sequences) and runner.prefill(sequences[0].ids) is None
    assert len(notices.messages) == 1
    assert "runs plainly, without shared prefixes: " + why in notices.messages[0]


@pytest.mark.parametrize("option", ["softcap", "s_aux", "position_bias", "head_mask"])
def test_options_that_change_scores_are_refused(option: str) -> None:
    from metier.engine.attention import TreeLayout, TreeUnsupportedError, tree_attention

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
    runner = TreeRunner(tiny_base("gemma2").network, observers=[notices])
    assert not runner.probe(domain_sequences(2))
    assert not replace(runner, trunk=None).probe(domain_sequences(2))
    assert len(notices.messages) == 1
