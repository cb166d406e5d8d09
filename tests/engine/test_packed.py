"""Packed weights give the same products, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.packed import packed_bytes, packed_linears
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
IDS = torch.arange(3, 19).reshape(2, 8)


def available(dtype: torch.dtype) -> bool:
    from metier.engine.packed import _has_packed_products

    return _has_packed_products(dtype)


@pytest.fixture(autouse=True)
def _small_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.engine.packed.SMALLEST", 1)


@pytest.mark.parametrize("family", ["llama", "qwen2"])  # the second with biases and a head of its own
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "autocast"])
def test_the_same_numbers(tiny_base: TinyBase, family: str, dtype: str) -> None:
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    if not available(kind):
        pytest.skip(f"no packed products in {kind} here")
    network = tiny_base(family, dtype="float32" if dtype == "autocast" else dtype).network
    cast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast")
    with torch.no_grad(), cast:
        plain = network(input_ids=IDS, use_cache=False).logits
        with packed_linears(network, rows=2, autocast=dtype == "autocast") as done:
            packed = network(input_ids=IDS, use_cache=False).logits
        again = network(input_ids=IDS, use_cache=False).logits
    assert done and torch.equal(again, plain) and packed.dtype == plain.dtype
    scale = float(plain.float().abs().max())
    assert float((packed.float() - plain.float()).abs().max()) <= (1e-5 if dtype == "float32" else 0.02) * scale
    assert not any("forward" in vars(module) for module in network.modules())


def test_with_an_adapter(tiny_base: TinyBase) -> None:
    if not available(torch.float32):
        pytest.skip("no packed products here")
    model = adapt_model(AdaptationSection(method="lora", r=4), tiny_base("llama"), seed=5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.fill_(0.05)
        plain = model.network(input_ids=IDS, use_cache=False).logits
        with packed_linears(model.network, rows=2):
            packed = model.network(input_ids=IDS, use_cache=False).logits
    assert float((packed - plain).abs().max()) <= 1e-5 * float(plain.abs().max())


def test_weights_trained_since_are_packed_anew(tiny_base: TinyBase) -> None:
    network = tiny_base("llama").network
    with torch.no_grad():
        with packed_linears(network, rows=2):
            network(input_ids=IDS, use_cache=False)
        for parameter in network.parameters():
            parameter.mul_(1.1)
        plain = network(input_ids=IDS, use_cache=False).logits
        with packed_linears(network, rows=2):
            packed = network(input_ids=IDS, use_cache=False).logits
    assert float((packed - plain).abs().max()) <= 1e-5 * float(plain.abs().max())


def test_given_back_after_a_fault(tiny_base: TinyBase) -> None:
    network = tiny_base("llama").network
    with pytest.raises(KeyError), packed_linears(network, rows=2):
        raise KeyError
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("reason", ["memory", "build"])
def test_not_where_it_cannot_be(tiny_base: TinyBase, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    if reason == "memory":
        monkeypatch.setattr("metier.engine.packed.available_memory_bytes", lambda: 1000)
    else:
        monkeypatch.setattr("metier.engine.packed._pack", lambda *_: torch.ops.mkldnn.there_is_no_such_product())
    with packed_linears(tiny_base("llama").network, rows=2) as done:
        assert not done
    assert packed_bytes(tiny_base("llama").network) == 0


def test_bytes_of_the_copies_are_those_of_the_layers(tiny_base: TinyBase) -> None:
    network = tiny_base("llama", dtype="float32").network
    weights = sum(module.weight.numel() for module in network.modules() if type(module) is torch.nn.Linear)
    assert packed_bytes(network) == 4 * weights > 0
    if available(torch.bfloat16):
        assert packed_bytes(network, autocast=True) == 2 * weights


def test_long_answers_are_written_with_packed_weights(tiny_base: TinyBase, monkeypatch: pytest.MonkeyPatch) -> None:
    network, prompts = tiny_base("llama").network, [np.arange(3, 3 + length) for length in (4, 9, 6)]
    decoding = Decoding(max_new_tokens=10, stop_ids=frozenset({319}), batch_size=2)
    wanted = [answer.ids.tolist() for answer in generate(TreeRunner(network), prompts, decoding)]
    called = []

    def seen(*args: Any, **options: Any) -> Any:
        called.append(options)
        return packed_linears(*args, **options)

    monkeypatch.setattr("metier.engine.generate.packed_linears", seen)
    monkeypatch.setattr("metier.engine.generate.WORTH_PACKING", {torch.float32: 15})
    assert [answer.ids.tolist() for answer in generate(TreeRunner(network), prompts, decoding)] == wanted
    assert called == [{"rows": 2, "autocast": False}]
