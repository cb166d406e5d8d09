"""Texts without padding give the vectors and gradients of each text alone, or a family runs padded and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from metier.engine.network import boundary_states
from metier.engine.texts import TextBatch, computed_tokens, pooled, text_batches
from metier.engine.tree import Ints

TEXTS: list[Ints] = [
    np.array(ids)
    for ids in ([5, 9, 3], [5, 9, 10, 11, 12, 3], [5, 3], [5, 9, 10, 3, 40, 41, 42], [5, 9, 3], [5, *range(60, 90), 3])
]
SMALL = {"vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {**SMALL, "num_hidden_layers": 2, "max_position_embeddings": 64},
    "distilbert": {"vocab_size": 120, "dim": 32, "hidden_dim": 48, "n_heads": 4, "n_layers": 2},
    "roberta": {**SMALL, "num_hidden_layers": 2, "max_position_embeddings": 40, "pad_token_id": 1},
    "electra": {**SMALL, "num_hidden_layers": 2, "embedding_size": 32},
    "modernbert": {
        **SMALL, "num_hidden_layers": 3, "local_attention": 6, "global_attn_every_n_layers": 2, "pad_token_id": 0,
    },
}  # fmt: skip


def network_of(kind: str, **changes: Any) -> Any:
    """A random model, always the same."""
    make = AutoModel if kind in ENCODERS or kind == "deberta-v2" else AutoModelForCausalLM
    config = AutoConfig.for_model(kind, initializer_range=0.15, **{**ENCODERS.get(kind, {}), **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make.from_config(config).train(False)


def alone(network: Any, kind: str, texts: Sequence[Ints] = TEXTS) -> Tensor:
    """By nothing but transformers: each text alone, without a mask, without positions."""
    rows = []
    for text in texts:
        states = network.base_model(input_ids=torch.from_numpy(text)[None]).last_hidden_state[0].float()
        rows.append(states.mean(0) if kind == "encoder" else states[-1])
    return torch.stack(rows)


def batch_of(texts: Sequence[Ints] = TEXTS) -> TextBatch:
    return TextBatch(tuple(range(len(texts))), tuple(texts))


def tokens_entering(network: Any, run: Callable[[], Any]) -> list[int]:
    """Tokens of each pass through the word embeddings while `run` runs."""
    seen: list[int] = []
    handle = network.get_input_embeddings().register_forward_hook(lambda _m, args, _o: seen.append(args[0].numel()))
    try:
        run()
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", list(ENCODERS))
def test_an_encoder_without_padding(notices: Any, kind: str) -> None:
    network, batch = network_of(kind), batch_of()
    mine, wanted = pooled(network, batch, "encoder", observers=[notices]), alone(network, "encoder")
    torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5)
    learning = [each for each in network.parameters() if each.requires_grad]
    gradients = [torch.autograd.grad(each.square().sum(), learning, allow_unused=True) for each in (mine, wanted)]
    for own, right in zip(*gradients, strict=True):
        if right is not None:
            torch.testing.assert_close(own, right, rtol=1e-4, atol=1e-5 * max(1.0, float(right.abs().max())))
    assert notices.messages == []
    assert tokens_entering(network, lambda: pooled(network, batch, "encoder")) == [batch.tokens]
    assert computed_tokens(network, batch, "encoder") == batch.tokens == sum(map(len, TEXTS))


def test_more_tokens_than_a_text_may_have(notices: Any) -> None:
    """Positions of every text begin anew, so a batch may be longer than the model's longest text."""
    network = network_of("roberta", max_position_embeddings=36)  # 34 tokens, above the padding token
    many = [TEXTS[5], TEXTS[3], TEXTS[5][::-1].copy()]
    mine = pooled(network, batch_of(many), "encoder", observers=[notices])
    torch.testing.assert_close(mine, alone(network, "encoder", many), rtol=1e-5, atol=1e-5)
    assert notices.messages == []


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_a_decoder_shares_what_texts_begin_with(tiny_base: Callable[..., Any], notices: Any, kind: str) -> None:
    network, batch = tiny_base(kind).network, batch_of()
    with torch.no_grad():
        mine = pooled(network, batch, "decoder", observers=[notices])
        torch.testing.assert_close(mine, alone(network, "decoder"), rtol=1e-5, atol=1e-5)
        entering = tokens_entering(network, lambda: pooled(network, batch, "decoder"))
    assert entering == [len(batch.tree)] and len(batch.tree) < batch.tokens and notices.messages == []
    assert computed_tokens(network, batch, "decoder") == len(batch.tree)


@pytest.mark.parametrize(
    ("kind", "pooling", "why"),
    [("deberta-v2", "encoder", r"DebertaV2Model computes texts in padded batches: "), ("mamba", "decoder", "Mamba")],
)
def test_a_family_that_does_not_fit_runs_padded(
    tiny_base: Callable[..., Any], notices: Any, kind: str, pooling: str, why: str
) -> None:
    settings = {**SMALL, "num_hidden_layers": 1, "type_vocab_size": 0, "pad_token_id": 0}
    network = network_of(kind, **settings) if kind == "deberta-v2" else tiny_base(kind).network
    batch = batch_of()
    with torch.no_grad():
        for _ in range(2):
            mine = pooled(network, batch, pooling, observers=[notices])
            torch.testing.assert_close(mine, alone(network, pooling), rtol=1e-4, atol=1e-5)
    assert len(notices.messages) == 1 and notices.messages[0].startswith(why)
    assert "computes texts in padded batches: " in notices.messages[0]
    assert computed_tokens(network, batch, pooling) == len(TEXTS) * 32


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_over_a_stored_trunk(kind: str) -> None:
    """First over stored states, which need no positions, and then without them, where roberta's are its own."""
    network, batch = network_of(kind), batch_of()
    rows = [boundary_states(network, 1, input_ids=torch.from_numpy(text)[None])[0] for text in TEXTS]
    with torch.no_grad():
        wanted = alone(network, "encoder")
        torch.testing.assert_close(pooled(network, batch, "encoder", (1, rows)), wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(pooled(network, batch, "encoder"), wanted, rtol=1e-5, atol=1e-5)


def test_a_text_alone_is_not_compared_with_itself() -> None:
    network = network_of("bert")
    with torch.no_grad():
        one = pooled(network, batch_of(TEXTS[:1]), "encoder")
    torch.testing.assert_close(one, alone(network, "encoder", TEXTS[:1]), rtol=1e-5, atol=1e-5)


def test_batches_hold_every_text_once_within_the_budget() -> None:
    batches = text_batches(TEXTS, 8)
    assert [[len(text) for text in batch.texts] for batch in batches] == [[2, 3, 3], [6], [7], [32]]
    assert sorted(number for batch in batches for number in batch.numbers) == list(range(len(TEXTS)))
    for batch in batches:
        assert batch.tokens == sum(len(TEXTS[number]) for number in batch.numbers)
        for number, text in zip(batch.numbers, batch.texts, strict=True):
            np.testing.assert_array_equal(text, TEXTS[number])


@pytest.mark.slow
def test_the_packaged_encoder() -> None:
    from metier.device import Hardware
    from metier.model.base import load_base_model
    from metier.recipe.sections import ModelSection

    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
    base = load_base_model(ModelSection(name="minilm"), hardware)
    texts = [base.tokenizer(text)["input_ids"] for text in ("my card was declined", "where is it?", "a refund, please")]
    some = [np.array(ids) for ids in texts]
    with torch.no_grad():
        mine = pooled(base.network, batch_of(some), "encoder")
        torch.testing.assert_close(mine, alone(base.network, "encoder", some), rtol=1e-5, atol=1e-5)
    assert computed_tokens(base.network, batch_of(some), "encoder") == sum(map(len, texts))
