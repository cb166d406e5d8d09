"""What may learn, name by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metier.errors import ModelError
from metier.model.plan import assumed_top, block_number, plan_learning
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
BLOCKS = {"llama": "model.layers", "gpt2": "transformer.h", "bert": "encoder.layer", "gemma3_text": "model.layers"}
NORMS = {
    "llama": {"model.norm.weight"}, "gpt2": {"transformer.ln_f.weight", "transformer.ln_f.bias"}, "bert": set(),
    "gemma3_text": {"model.norm.weight"},
}  # fmt: skip


def plan(base: Any, method: str, layers: Any = "all", **more: Any) -> Any:
    return plan_learning(AdaptationSection(method=method, layers=layers, **more), base.network)


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_full_is_every_parameter_but_an_encoders_pooler(tiny_base: TinyBase, kind: str) -> None:
    base = tiny_base(kind)
    found = plan(base, "full")
    assert set(found.weights) == {n for n, _ in base.network.named_parameters() if not n.startswith("pooler.")}
    assert (found.adapted, found.trunk_layers) == ((), 0)


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_freeze_top_is_the_last_blocks_and_the_final_norm(tiny_base: TinyBase, kind: str) -> None:
    base = tiny_base(kind)
    found = plan(base, "freeze", "top 1")
    last = f"{BLOCKS[kind]}.{base.layers - 1}."
    assert set(found.weights) == {n for n, _ in base.network.named_parameters() if n.startswith(last)} | NORMS[kind]
    assert found.trunk_layers == base.layers - 1


@pytest.mark.parametrize(
    ("model_class", "config_class", "settings", "norm"),
    [
        (
            "OPTForCausalLM",
            "OPTConfig",
            {"ffn_dim": 48, "word_embed_proj_dim": 32},
            "model.decoder.final_layer_norm.weight",
        ),
        ("PhiForCausalLM", "PhiConfig", {"intermediate_size": 48}, "model.final_layernorm.weight"),
        ("BloomForCausalLM", "BloomConfig", {}, "transformer.ln_f.weight"),
        ("GPTNeoXForCausalLM", "GPTNeoXConfig", {"intermediate_size": 48}, "gpt_neox.final_layer_norm.weight"),
    ],
    ids=["opt", "phi", "bloom", "gpt_neox"],
)
def test_the_final_norm_has_many_names(
    model_class: str, config_class: str, settings: dict[str, Any], norm: str
) -> None:
    import transformers

    config = getattr(transformers, config_class)(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0, **settings
    )
    network = getattr(transformers, model_class)(config)
    found = plan_learning(AdaptationSection(method="freeze", layers="top 1"), network)
    outside = {name for name in found.weights if block_number(network, name) is None}
    assert outside == {norm, norm.replace("weight", "bias")}
    assert found.trunk_layers == 1


@pytest.mark.parametrize(
    ("kind", "modules"),
    [("llama", 7), ("gpt2", 4), ("bert", 6), ("gemma3_text", 7)],
)
@pytest.mark.parametrize("layers", ["all", "top 1", "top 2"])
def test_lora_is_every_linear_module_of_its_blocks(tiny_base: TinyBase, kind: str, modules: int, layers: str) -> None:
    base = tiny_base(kind)
    found = plan(base, "lora", layers)
    count = base.layers if layers == "all" else int(layers[-1])
    assert len(found.adapted) == modules * count
    assert {block_number(base.network, name) for name in found.adapted} == set(range(base.layers - count, base.layers))
    assert found.trunk_layers == base.layers - count and found.weights == ()


def test_lora_on_chosen_modules_and_patterns(tiny_base: TinyBase) -> None:
    base = tiny_base("llama")
    chosen = plan(base, "lora", "top 2", target_modules=["q_proj", "mlp.up_proj"])
    assert set(chosen.adapted) == {
        f"model.layers.{n}.{end}" for n in (1, 2) for end in ("self_attn.q_proj", "mlp.up_proj")
    }
    by_pattern = plan(base, "lora", ["*.0.*q_proj", "*.2.mlp.*"])
    assert set(by_pattern.adapted) == {
        "model.layers.0.self_attn.q_proj", *(f"model.layers.2.mlp.{name}_proj" for name in ("gate", "up", "down")),
    }  # fmt: skip
    assert by_pattern.trunk_layers == 0
    assert plan(base, "lora", ["*.2.mlp.*"]).trunk_layers == 2


@pytest.mark.parametrize(
    ("patterns", "trunk"),
    [
        (["*.layers.2.*"], 2),
        (["*.layers.2.*", "model.norm.*"], 2),
        (["model.embed_tokens.*"], 0),
        (["model.norm.*"], 3),
    ],
    ids=["a block", "and the final norm", "embeddings", "the final norm alone"],
)
def test_freeze_by_patterns(tiny_base: TinyBase, patterns: list[str], trunk: int) -> None:
    assert plan(tiny_base("llama"), "freeze", patterns).trunk_layers == trunk


def test_a_head_alone_learns_above_everything(tiny_base: TinyBase) -> None:
    found = plan(tiny_base("bert"), "head")
    assert (found.weights, found.adapted, found.trunk_layers) == ((), (), 2)


@pytest.mark.parametrize(
    ("method", "layers", "more", "message"),
    [
        ("lora", "top 4", {}, r"^adaptation\.layers: top 4 of a model with 3 blocks, wanted at most top 3\. Write "),
        ("freeze", "top 9", {}, r"^adaptation\.layers: top 9 of a model with 3 blocks, wanted at most top 3\."),
        (
            "lora", ["*.7.*"], {},
            r"^adaptation\.target_modules: all-linear in layers \['\*\.7\.\*'\] names no linear module, wanted some of "
            r"down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj\.$",
        ),
        ("lora", "all", {"target_modules": ["q"]}, r"\['q'\] in layers 'all' names no linear module"),
        (
            "freeze", ["nothing*"], {},
            r"^adaptation\.layers: \['nothing\*'\] matches no parameter, wanted patterns of parameter names\. "
            r"A name looks like 'model\.layers\.\d\..*'\.$",
        ),
    ],
    ids=["lora too many", "freeze too many", "lora pattern", "lora module", "freeze pattern"],
)  # fmt: skip
def test_what_matches_nothing(
    tiny_base: TinyBase, method: str, layers: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        plan(tiny_base("llama"), method, layers, **more)


def test_a_network_without_a_stack_can_learn_whole_but_not_in_part() -> None:
    """ALBERT uses one block many times."""
    from transformers import AlbertConfig, AlbertModel

    network = AlbertModel(
        AlbertConfig(vocab_size=64, hidden_size=32, embedding_size=16, intermediate_size=48, num_hidden_layers=3,
                     num_attention_heads=4)
    )  # fmt: skip
    found = plan_learning(AdaptationSection(method="full"), network)
    assert len(found.weights) > 10 and found.trunk_layers == 0
    for section in (AdaptationSection(method="freeze", layers="top 1"), AdaptationSection(method="lora")):
        message = (
            r"^model: AlbertModel has no list of 3 blocks, .* Use adaptation\.method: full with layers: all, or head"
        )
        with pytest.raises(ModelError, match=message):
            plan_learning(section, network)


@pytest.mark.parametrize(("kind", "top"), [("llama", 2), ("bert", 1)])
def test_auto_is_planned_with_half_until_it_is_decided(tiny_base: TinyBase, kind: str, top: int) -> None:
    base = tiny_base(kind)
    assert assumed_top(base.layers) == top
    assert plan(base, "lora", "auto") == plan(base, "lora", f"top {top}")
