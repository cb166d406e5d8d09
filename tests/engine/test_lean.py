"""Leaner modules give the answers and gradients of transformers' and PEFT's own, and keep less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from metier.engine.lean import lean_modules
from metier.engine.products import GatedProduct, LinearProduct, Normed

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 97}
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SMALL, intermediate_size=48, num_key_value_heads=2),
    "qwen3": lambda: Qwen3Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8),
    "gemma3": lambda: Gemma3TextConfig(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8),
    "gpt2": lambda: GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=97, attn_pdrop=0, resid_pdrop=0, embd_pdrop=0
    ),
}


def network(family: str, dtype: torch.dtype = torch.float32, **lora: object) -> PreTrainedModel:
    """A tiny random model with adapters whose second matrix is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(CONFIGS[family]()).to(dtype).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_" in name:
                parameter.data += 0.1 * torch.randn_like(parameter)
        options = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "fan_in_fan_out": family == "gpt2"} | lora
        get_peft_model(model, LoraConfig(**options))  # type: ignore[arg-type]
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.1)
            parameter.requires_grad_("lora_" in name)
            if "lora_" in name:
                parameter.data = parameter.data.float()
    return model


def learn(model: PreTrainedModel, ids: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


IDS = torch.arange(24).reshape(2, 12) * 7 % 97


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("rslora", [False, True], ids=["lora", "rslora"])
def test_loss_and_gradients_are_those_of_peft(family: str, rslora: bool) -> None:
    model = network(family, use_rslora=rslora)
    wanted, gradients = learn(model, IDS)
    with lean_modules(model):
        replaced = sum("forward" in vars(module) for module in model.modules())
        loss, mine = learn(model, IDS)
    assert replaced >= 8  # otherwise nothing is tested
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert mine.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert not any("forward" in vars(module) for module in model.modules())


def test_in_bfloat16_the_difference_is_that_of_rounding() -> None:
    exact, _ = learn(network("llama"), IDS)
    model = network("llama", torch.bfloat16)
    plain, reference = learn(model, IDS)
    with lean_modules(model):
        loss, mine = learn(model, IDS)
    assert abs(loss - exact) <= 2 * abs(plain - exact) + 0.01
    _, right = learn(network("llama"), IDS)
    for name in right:
        assert mine[name].dtype is torch.float32
        size = right[name].norm()
        assert (mine[name] - right[name]).norm() <= 1.5 * (reference[name] - right[name]).norm() + 0.01 * size, name


def test_dropout_and_dora_are_left_to_peft() -> None:
    model = network("llama", lora_dropout=0.5)
    for name, module in model.named_modules():
        module.train("lora_dropout" in name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wanted, _ = learn(model, IDS)
        torch.manual_seed(1)
        with lean_modules(model):
            assert learn(model, IDS)[0] == pytest.approx(wanted, rel=1e-6)
    dora = network("llama", use_dora=True)
    wanted, gradients = learn(dora, IDS)
    with lean_modules(dora):
        loss, mine = learn(dora, IDS)
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert mine.keys() == gradients.keys()


def test_a_switched_off_adapter_stays_off() -> None:
    model = network("llama")
    for module in model.modules():
        if isinstance(module, LoraLinear):
            module.enable_adapters(False)
    with torch.no_grad():
        wanted = model(input_ids=IDS).logits
        with lean_modules(model):
            torch.testing.assert_close(model(input_ids=IDS).logits, wanted)


def test_a_norm_that_adds_one_to_its_weight_is_left_alone() -> None:
    model = network("gemma3")
    with lean_modules(model):
        norms = [module for name, module in model.named_modules() if name.endswith("layernorm")]
        assert norms
        assert not any("forward" in vars(module) for module in norms)


def kept_bytes(model: PreTrainedModel, ids: torch.Tensor) -> int:
    """Bytes that autograd keeps between forward and backward, parameters and shared storage counted once."""
    seen = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held, total = [], 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        place = tensor.untyped_storage().data_ptr()
        if place not in seen:
            seen.add(place)
            held.append(tensor)
            total += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.base_model(input_ids=ids, use_cache=False)
    return total


def test_less_than_half_is_kept_for_the_backward_pass() -> None:
    model = network("llama", torch.bfloat16)
    plain = kept_bytes(model, IDS)
    with lean_modules(model):
        assert kept_bytes(model, IDS) < plain / 2


def test_gradients_of_the_functions_themselves() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        states, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3, 5), (4, 5), (4,)))
        gate, up, scale = torch.randn(3, 4), torch.randn(3, 4), torch.rand(5, dtype=torch.float64) + 0.5
    for each in (states, weight, bias, scale):
        each.requires_grad_()
    assert torch.autograd.gradcheck(LinearProduct.apply, (states, weight, bias))
    gated = [each.double().requires_grad_() for each in (gate, up)]
    assert torch.autograd.gradcheck(GatedProduct.apply, tuple(gated))
    assert torch.autograd.gradcheck(Normed.apply, (states, scale, 1e-6, False))
    assert torch.autograd.gradcheck(Normed.apply, (states, scale.detach(), 1e-6, True))


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_float32_products_are_those_of_torch(bias: bool) -> None:
    layer = nn.Linear(64, 48, bias=bias)
    states = torch.linspace(-1, 1, 2 * 7 * 64).reshape(2, 7, 64).requires_grad_()
    wanted = layer(states)
    gradients = torch.autograd.grad(wanted.square().sum(), [states, *layer.parameters()])
    mine = LinearProduct.apply(states, layer.weight, layer.bias)
    torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(mine.square().sum(), [states, *layer.parameters()]), gradients, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
