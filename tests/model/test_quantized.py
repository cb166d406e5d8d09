"""Base models in 4 and 8 bits: they learn, answer and come back as what they were measured; else they are refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.device import Hardware
from metier.engine.forward import TreeRunner, plain_logits
from metier.engine.tree import TokenSequence, TokenTree
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.errors import LackingEnvironment, MissingPackage, ModelError
from metier.events import Event
from metier.model.adapt import AdaptedModel, adapt_model, check_gradients
from metier.model.base import BaseModel, load_base_model
from metier.model.quantized import check_quantization, dequantize, is_quantized
from metier.model.saved import load_model, save_model
from metier.recipe.sections import AdaptationSection, ModelSection

HERE = importlib.util.find_spec("bitsandbytes") is not None
needs_package = pytest.mark.skipif(not HERE, reason="needs the extra `quantization`")
SEQUENCES = [TokenSequence.of([*range(3, 20), 30 + k], [k, 7, 9]) for k in (3, 4, 5, 6)]


def hardware(dtype: str = "float32") -> Hardware:
    return Hardware(device="cpu", dtype=dtype, threads=1, reason="a test")


@pytest.fixture
def load(tiny_model: Callable[..., Path]) -> Callable[..., BaseModel]:
    """`load(kind, quantization, dtype, **changes)`; changes go to its config."""

    def make(kind: str = "llama", quantization: Any = "nf4", dtype: str = "float32", **changes: Any) -> BaseModel:
        name = str(tiny_model(kind, **changes))
        return load_base_model(ModelSection(name=name, quantization=quantization), hardware(dtype))

    return make


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return plain_logits(network, SEQUENCES)


def learn(model: AdaptedModel, steps: int = 6) -> list[float]:
    runner, tree = TreeRunner(model.network), TokenTree.build(SEQUENCES)
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=1e-2)
    wanted, losses = torch.from_numpy(tree.target_ids), []
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(runner.logits(tree, SEQUENCES), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 0:
            check_gradients(model)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert not runner.plain
    return losses


@needs_package
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_learn_over_it(load: Callable[..., BaseModel], kind: str, quantization: str, dtype: str) -> None:
    base, whole = load(kind, quantization, dtype), load(kind, None, dtype)
    assert base.parameters == whole.parameters and base.bytes < whole.bytes
    assert base.precision == f"torch.{dtype}/{quantization}" and whole.precision == f"torch.{dtype}"
    assert sum(is_quantized(module) for module in base.network.modules()) >= 8
    before = logits(base.network)
    assert not torch.allclose(before, logits(whole.network), rtol=1e-3)
    model = adapt_model(AdaptationSection(method="lora", r=4), base, seed=1)
    bits = {"nf4": 4, "int8": 8}[quantization]
    assert model.summary().notes[-1] == (
        f"its linear layers were held in {bits} bits ({quantization}, bitsandbytes) while it learned and was measured"
    )
    assert model.summary().parameters > whole.parameters
    losses = learn(model)
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(logits(model.detach().network), before)


@needs_package
def test_the_tree_gives_what_each_sequence_gets_alone(load: Callable[..., BaseModel]) -> None:
    for quantization in ("nf4", "int8"):
        network = load("llama", quantization).network
        heard: list[Event] = []
        runner = TreeRunner(network, observers=[heard.append])
        with torch.no_grad():
            mine = runner.logits(TokenTree.build(SEQUENCES), SEQUENCES)
        torch.testing.assert_close(mine, logits(network), rtol=1e-4, atol=1e-4)
        assert not heard and not runner.plain


@needs_package
def test_answers_do_not_change_when_it_stops_learning(load: Callable[..., BaseModel]) -> None:
    model = adapt_model(AdaptationSection(method="lora", r=4), load(), seed=1)
    model.network.train(True)
    learning = plain_logits(model.network, SEQUENCES).detach()
    model.network.train(False)
    assert torch.equal(logits(model.network), learning)


@needs_package
def test_a_trunk_of_4_bits_is_another_trunk(load: Callable[..., BaseModel], tmp_path: Path) -> None:
    model = adapt_model(AdaptationSection(method="lora", r=4, layers="top 1"), load(), seed=1)
    depth, base = model.plan.trunk_layers, model.base
    plain = TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype="torch.float32")
    identity = TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype=base.precision)
    assert identity.key != plain.key
    trunk = TrunkCache(tmp_path, identity)
    trunk.build(model.network, SEQUENCES)
    tree = TokenTree.build(SEQUENCES)
    with torch.no_grad():
        stored = TreeRunner(model.network, trunk).logits(tree, SEQUENCES)
        whole = TreeRunner(model.network).logits(tree, SEQUENCES)
    torch.testing.assert_close(stored, whole, rtol=1e-4, atol=1e-4)


@needs_package
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_saved_adapter_answers_as_it_did(load: Callable[..., BaseModel], quantization: str, tmp_path: Path) -> None:
    model = adapt_model(AdaptationSection(method="lora", r=4), load("llama", quantization), seed=1)
    learn(model)
    answers = logits(model.network)
    save_model(model, tmp_path / "model", prompt=None, max_length=64, too_long="cut_end", rule=None, examples=4)
    saved = load_model(tmp_path / "model", hardware())
    assert saved.model.base.quantization == quantization
    torch.testing.assert_close(logits(saved.model.network), answers, rtol=1e-5, atol=1e-5)
    plain = load_model(tmp_path / "model", hardware(), dequantized=True)
    assert plain.model.base.quantization is None and not any(map(is_quantized, plain.model.network.modules()))
    off = float((logits(plain.model.network) - answers).norm() / answers.norm())
    assert off < {"nf4": 1e-5, "int8": 0.05}[quantization]


@needs_package
@pytest.mark.parametrize(("quantization", "least", "most"), [("nf4", 0.05, 0.12), ("int8", 0.002, 0.02)])
def test_dequantised_weights_are_what_the_bits_stand_for(
    load: Callable[..., BaseModel], quantization: str, least: float, most: float
) -> None:
    # The scales are quantised together, 256 at a time: a layer that has fewer loses more.
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_key_value_heads": 4}
    base, whole = load("llama", quantization, **sizes), load("llama", None, **sizes)
    before = logits(base.network)
    dequantize(base.network, base.folder)
    after = logits(base.network)
    # int8 also rounds what goes into each product.
    assert float((after - before).norm() / before.norm()) < {"nf4": 1e-5, "int8": 0.05}[quantization]
    others = dict(whole.network.named_parameters())
    for name, mine in base.network.named_parameters():
        own = others.pop(name)
        off = float((mine - own).norm() / own.norm())
        # A normal weight is off by about 9 % of its size in 4 bits of the normal float, by 0.7 % in 8 bits.
        assert least < off < most if name.endswith("_proj.weight") else off == 0, name
    assert not others
    base.network.to(torch.bfloat16)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"has no quantised layer, wanted a network that was loaded with model\.quant"):
        dequantize(base.network, base.folder)


@needs_package
def test_read_again_it_is_quantised_again_unless_a_type_is_asked_for(load: Callable[..., BaseModel]) -> None:
    base = load()
    assert torch.equal(logits(base.fresh().network), logits(base.network))
    whole = base.fresh(torch.float32)
    assert whole.quantization is None and torch.equal(logits(whole.network), logits(load("llama", None).network))


@needs_package
def test_weight_decomposed_adapters(load: Callable[..., BaseModel]) -> None:
    model = adapt_model(AdaptationSection(method="lora", r=4, use_dora=True), load(), seed=1)
    losses = learn(model)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_an_encoder_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError) as refused:
        load_base_model(ModelSection(name=str(tiny_model("bert")), quantization="nf4"), hardware())
    assert str(refused.value) == (
        f"model.quantization: nf4, but {tiny_model('bert')} is an encoder, wanted a language model: encoders are small "
        "and run in float32. Remove model.quantization."
    )


def test_a_missing_package_is_said_with_how_to_install_it(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    with pytest.raises(MissingPackage) as missing:
        load_base_model(ModelSection(name=str(tiny_model("llama")), quantization="nf4"), hardware())
    assert missing.value.exit_code == 5
    assert str(missing.value) == (
        "model.quantization: nf4 needs the package bitsandbytes, which is not installed. "
        'Install it: pip install "metier[quantization]"'
    )


def test_a_device_that_cannot_is_refused() -> None:
    with pytest.raises(LackingEnvironment) as refused:
        check_quantization("int8", "mps")
    assert str(refused.value) == (
        "model.quantization: int8 does not run on mps, wanted cpu or cuda. "
        "Set `hardware.device: cpu`, or remove `model.quantization`."
    )
    check_quantization(None, "mps")
