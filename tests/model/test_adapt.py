"""Exactly the planned parameters learn, everything else stays bit for bit, and adapters come off again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metier.errors import ModelError
from metier.model.adapt import AdaptedModel, adapt_model, check_gradients
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
IDS = torch.tensor([[5, 9, 12, 30, 7, 8], [6, 9, 12, 31, 7, 9]])
SECTIONS = {
    "full": AdaptationSection(method="full"),
    "freeze": AdaptationSection(method="freeze", layers="top 1"),
    "lora": AdaptationSection(method="lora", r=4),
    "lora top 1": AdaptationSection(method="lora", layers="top 1", r=4),
    "dora": AdaptationSection(method="lora", r=4, use_dora=True),
    "rslora": AdaptationSection(method="lora", r=4, use_rslora=True),
}


def adapt(base: Any, name: str = "lora", seed: int = 3, **more: Any) -> AdaptedModel:
    return adapt_model(SECTIONS[name], base, seed=seed, labels=("x", "y"), **more)


def loss_of(model: AdaptedModel) -> Tensor:
    if model.head is None:
        loss: Tensor = model.network(input_ids=IDS, labels=IDS, use_cache=False).loss
        return loss
    states = model.network(input_ids=IDS).last_hidden_state.float().mean(1)
    return torch.nn.functional.cross_entropy(model.head(states), torch.tensor([0, 1]))


def train(model: AdaptedModel, steps: int = 3) -> list[float]:
    if model.head is not None:  # a head of zeros passes no gradient down
        with torch.no_grad():
            model.head.weight.copy_(torch.linspace(-1, 1, model.head.weight.numel()).reshape(model.head.weight.shape))
    optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=0.001)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def bits(network: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def expected(model: AdaptedModel, name: str) -> set[str]:
    adapters = ["lora_A.default.weight", "lora_B.default.weight"]
    adapters += ["lora_magnitude_vector.default.weight"] if name == "dora" else []
    names = {f"{module}.{adapter}" for module in model.plan.adapted for adapter in adapters} | set(model.plan.weights)
    return names | ({"head.weight", "head.bias"} if model.head is not None else set())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("name", list(SECTIONS))
def test_the_plan_is_what_gets_a_gradient(tiny_base: TinyBase, kind: str, name: str) -> None:
    base = tiny_base(kind)
    model = adapt(base, name)
    before = bits(model.network)
    losses = train(model)
    check_gradients(model)
    wanted = expected(model, name)
    gradients = {n for n, p in model.network.named_parameters() if p.grad is not None}
    gradients |= {f"head.{n}" for n, p in model.head.named_parameters() if p.grad is not None} if model.head else set()
    assert gradients == wanted == set(model.trainable())
    assert losses[-1] < losses[0]
    learned = {n for n, value in model.network.state_dict(keep_vars=True).items() if value.requires_grad}
    for parameter, value in bits(model.network).items():
        assert parameter in learned or torch.equal(value, before[parameter]), f"{parameter} is frozen, but changed"
    assert any(not torch.equal(bits(model.network)[n], before[n]) for n in learned)


def test_check_gradients_says_what_is_wrong(tiny_base: TinyBase) -> None:
    model = adapt(tiny_base("llama"))
    with pytest.raises(ModelError, match=r"^adaptation: 42 planned parameters got no gradient \(.*\) and 0 others"):
        check_gradients(model)
    loss_of(model).backward()  # type: ignore[no-untyped-call]
    frozen = model.network.get_input_embeddings().weight
    frozen.grad = torch.zeros_like(frozen)
    with pytest.raises(ModelError, match=r" 0 planned parameters got no gradient \(\) and 1 others got one \(model"):
        check_gradients(model)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("name", ["lora", "dora"])
def test_detach_gives_the_base_back_bit_for_bit(tiny_base: TinyBase, kind: str, name: str) -> None:
    base = tiny_base(kind)
    before, modules = bits(base.network), [n for n, _ in base.network.named_modules()]
    runs = []
    for _ in range(2):
        model = adapt(base, name)
        runs.append((train(model), model.state()))
        assert model.detach() is base
        after = bits(base.network)
        assert list(after) == list(before) and all(torch.equal(after[n], before[n]) for n in before)
        assert [n for n, _ in base.network.named_modules()] == modules
        assert not any(p.requires_grad for p in base.network.parameters())
    assert runs[0][0] == runs[1][0], "the second attempt differs from the first"
    assert all(torch.equal(runs[0][1][n], runs[1][1][n]) for n in runs[0][1])


def test_a_changed_base_cannot_be_given_back(tiny_base: TinyBase) -> None:
    with pytest.raises(ModelError, match=r"^adaptation: full changed the base model, wanted a base loaded again\.$"):
        adapt(tiny_base("llama"), "full").detach()


def test_adapters_are_a_function_of_the_seed(tiny_base: TinyBase) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.rand(3)  # whatever happened before
        model = adapt(tiny_base("llama"), seed=seed)
        states.append(model.state()["model.layers.0.self_attn.q_proj.lora_A.default.weight"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", ["lora", "dora", "full"])
def test_what_learns_is_float32_on_a_bfloat16_base(tiny_base: TinyBase, name: str) -> None:
    model = adapt(tiny_base("llama", dtype="bfloat16"), name, autocast=True)
    assert {p.dtype for p in model.trainable().values()} == {torch.float32}
    assert model.autocast == (name == "full")
    frozen = {p.dtype for p in model.network.parameters() if not p.requires_grad}
    assert frozen == (set() if name == "full" else {torch.bfloat16})
    train(model, 1)


@pytest.mark.parametrize(("name", "scale"), [("lora", 32 / 4), ("rslora", 32 / 4**0.5)])
def test_the_scale_of_the_update(tiny_base: TinyBase, name: str, scale: float) -> None:
    model = adapt(tiny_base("llama"), name)
    assert model.network.get_submodule("model.layers.0.self_attn.q_proj").scaling == {"default": scale}


def test_a_new_adapter_changes_nothing(tiny_base: TinyBase) -> None:
    base = tiny_base("llama")
    with torch.no_grad():
        before = base.network(input_ids=IDS).logits
        for name in ("lora", "dora"):
            model = adapt(base, name)
            torch.testing.assert_close(model.network(input_ids=IDS).logits, before, rtol=1e-5, atol=1e-5)
            model.detach()


def test_state_round_trip_and_refusal(tiny_base: TinyBase) -> None:
    model = adapt(tiny_base("llama"))
    state = model.state()
    train(model)
    changed = model.state()
    assert not all(torch.equal(state[n], changed[n]) for n in state)
    model.load_state(state)
    assert all(torch.equal(state[n], value) for n, value in model.state().items())
    name = next(iter(state))
    other = {n: value for n, value in state.items() if n != name} | {"extra": torch.zeros(1)}
    message = r"^checkpoint: lacks \['model\.layers.*\], has extra \['extra'\], wanted exactly what learns\.$"
    with pytest.raises(ModelError, match=message):
        model.load_state(other)


def test_an_encoder_needs_a_head(tiny_base: TinyBase) -> None:
    message = r"^adaptation\.head: false, but an encoder cannot answer in words, wanted true or left out\.$"
    with pytest.raises(ModelError, match=message):
        adapt_model(AdaptationSection(method="lora", head=False), tiny_base("bert"), seed=1, labels=("x", "y"))


@pytest.mark.parametrize(("name", "method"), [("lora top 1", "lora"), ("freeze", "freeze"), ("full", "full")])
def test_the_summary_counts(tiny_base: TinyBase, name: str, method: str) -> None:
    model = adapt(tiny_base("llama"), name)
    summary = model.summary()
    assert summary.trainable_parameters == sum(p.numel() for p in model.trainable().values())
    assert summary.parameters == sum(p.numel() for p in model.network.parameters())
    assert sum(summary.trainable_groups.values()) == summary.trainable_parameters
    assert (summary.method, summary.layers, summary.trunk_layers) == (method, 3, 0 if name == "full" else 2)
    assert ("layers.2" in summary.trainable_groups) and ("layers.0" in summary.trainable_groups) == (name == "full")
