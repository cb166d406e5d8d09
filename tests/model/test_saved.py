"""A saved model answers as it did, opens without metier, and is refused on another base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.device import Hardware
from metier.engine.forward import plain_logits
from metier.engine.texts import pooled, text_batches
from metier.engine.tree import TokenSequence
from metier.errors import ModelError
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.model.saved import load_model, save_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
PROMPT = PromptFormat(instruction="Which?", labels=("a", "b"), label_texts=("x", "y"), shots=(("one", "a"),))
RULE = {"name": "sum", "divisors": [1.0, 1.0], "offsets": [0.0, 0.0]}
SEQUENCES = [TokenSequence.of([5, 9, 12, 30], [7, 8]), TokenSequence.of([5, 9, 13], [7])]


def shaken(base: Any, **section: Any) -> AdaptedModel:
    """A model whose every learning parameter was moved."""
    model = adapt_model(AdaptationSection(**{"r": 4, **section}), base, seed=3, labels=("a", "b"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def save(model: AdaptedModel, folder: Path, **more: Any) -> None:
    rule = None if model.head is not None else RULE
    save_model(model, folder, prompt=PROMPT, max_length=99, too_long="cut_start", rule=rule, examples=42, **more)


def answers(model: AdaptedModel) -> torch.Tensor:
    with torch.no_grad():
        if model.head is None:
            return plain_logits(model.network, SEQUENCES)
        (batch,) = text_batches([np.array([2, 9, 3]), np.array([2, 9, 10, 3])], 64)
        scores: torch.Tensor = model.head(pooled(model.network, batch, model.base.kind))
        return scores


CASES = {
    "lora": ("llama", {}), "lora top 1": ("llama", {"layers": "top 1"}),
    "patterns": ("llama", {"layers": ["*.1.mlp.*"]}),
    "one module": ("llama", {"target_modules": ["q_proj"]}), "dora": ("llama", {"use_dora": True}),
    "rslora": ("qwen2", {"use_rslora": True}), "dropout": ("llama", {"lora_dropout": 0.5}), "gpt2": ("gpt2", {}),
    "full": ("llama", {"method": "full"}), "untied full": ("qwen2", {"method": "full"}),
    "freeze": ("gpt2", {"method": "freeze", "layers": "top 1"}), "encoder lora": ("bert", {}),
    "encoder full": ("bert", {"method": "full"}), "encoder head": ("bert", {"method": "head"}),
    "decoder head": ("llama", {"method": "head"}), "decoder lora head": ("llama", {"head": True}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_round_trip(tiny_base: TinyBase, tmp_path: Path, case: str) -> None:
    kind, section = CASES[case]
    model = shaken(tiny_base(kind), **section)
    model.network.train(False)
    save(model, tmp_path / "model")
    saved = load_model(tmp_path / "model", CPU)
    torch.testing.assert_close(answers(saved.model), answers(model), rtol=1e-6, atol=1e-6)
    assert saved.prompt == PROMPT
    assert (saved.max_length, saved.too_long, saved.examples) == (99, "cut_start", 42)
    assert saved.rule == (None if model.head is not None else RULE)
    assert saved.model.labels == ("a", "b") and saved.trunk_layers == model.plan.trunk_layers


@pytest.mark.parametrize("case", ["lora", "lora top 1", "patterns", "one module", "dora", "rslora", "gpt2"])
def test_the_folder_opens_in_plain_peft(tiny_base: TinyBase, tmp_path: Path, case: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kind, section = CASES[case]
    base = tiny_base(kind)
    model = shaken(base, **section)
    model.network.train(False)
    save(model, tmp_path / "model")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.folder), str(tmp_path / "model"))
    with torch.no_grad():
        torch.testing.assert_close(plain_logits(plain, SEQUENCES), answers(model), rtol=1e-6, atol=1e-6)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == len(base.tokenizer)


def test_full_weights_open_in_plain_transformers(tiny_base: TinyBase, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = shaken(tiny_base("llama"), method="full")
    save(model, tmp_path / "model")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(plain_logits(plain, SEQUENCES), answers(model), rtol=1e-6, atol=1e-6)


def test_another_base_is_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("llama")
    save(shaken(base), tmp_path / "model")
    other = tiny_base("llama", num_hidden_layers=3, rms_norm_eps=1e-5, initializer_range=0.1)
    about = tmp_path / "model" / "metier-model.json"
    content = json.loads(about.read_text())
    content["base"]["name"] = str(other.folder)
    about.write_text(json.dumps(content))
    message = (
        rf"was trained on weights {base.weights_sha256[:12]}, .* has {other.weights_sha256[:12]}, wanted the same base "
        r"model\. Restore that base model; another one would answer nonsense\.$"
    )
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "model", CPU)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged"),
        (flip, "is damaged"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["truncated", "one bit", "missing"],
)
@pytest.mark.parametrize(
    ("case", "name"),
    [("lora", "adapter_model.safetensors"), ("encoder head", "head.safetensors"), ("full", "model.safetensors")],
)
def test_damage_is_noticed(
    tiny_base: TinyBase, tmp_path: Path, case: str, name: str, damage: Callable[[Path], Any], message: str
) -> None:
    kind, section = CASES[case]
    save(shaken(tiny_base(kind), **section), tmp_path / "model")
    damage(tmp_path / "model" / name)
    wanted = rf"{name}: {message}, wanted the file as it was saved\. Copy it again, or run the recipe again\.$"
    with pytest.raises(ModelError, match=wanted):
        load_model(tmp_path / "model", CPU)


def test_the_folder_appears_whole_and_can_be_moved(tiny_base: TinyBase, tmp_path: Path) -> None:
    model = shaken(tiny_base("llama"))
    save(model, tmp_path / "model")
    save(model, tmp_path / "model")  # again, over the first
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    torch.testing.assert_close(answers(load_model(tmp_path / "elsewhere", CPU).model), answers(model))


CHAT = ChatPrompt(instruction="Answer.", system="Be kind.", shots=(("one", "1"), ("two", "2")))
SETTINGS = {"max_new_tokens": 64, "temperature": 0.0, "stop": ["###"]}


@pytest.mark.parametrize(
    ("prompt", "kind", "task", "settings"),
    [
        (PROMPT, "labels", "classification", None),
        (CHAT, "chat", "generation", SETTINGS),
        (ChatPrompt(), "chat", "chat", SETTINGS),
        (None, "none", "text", None),
    ],
    ids=["labels", "generation", "chat", "text"],
)
def test_every_kind_of_prompt_comes_back(
    tiny_base: TinyBase, tmp_path: Path, prompt: Any, kind: str, task: str, settings: Any
) -> None:
    save_model(
        shaken(tiny_base("llama")), tmp_path / "model", prompt=prompt, max_length=99, too_long="cut_end",
        rule=None, examples=3, generation=settings, task=task,
    )  # fmt: skip
    saved = load_model(tmp_path / "model", CPU)
    assert (saved.prompt, saved.task, saved.generation) == (prompt, task, settings)
    assert json.loads((tmp_path / "model" / "prompt.json").read_text())["kind"] == kind


def test_a_model_saved_before_there_were_several_kinds(tiny_base: TinyBase, tmp_path: Path) -> None:
    save(shaken(tiny_base("llama")), tmp_path / "model")
    for name, fields in (("prompt.json", ["kind"]), ("metier-model.json", ["task", "generation"])):
        path = tmp_path / "model" / name
        content = json.loads(path.read_text())
        path.write_text(json.dumps({field: value for field, value in content.items() if field not in fields}))
    saved = load_model(tmp_path / "model", CPU)
    assert (saved.prompt, saved.task, saved.generation) == (PROMPT, "classification", None)


def test_a_prompt_of_an_unknown_kind_is_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    save(shaken(tiny_base("llama")), tmp_path / "model")
    path = tmp_path / "model" / "prompt.json"
    path.write_text(path.read_text().replace('"labels",', '"songs",', 1))
    with pytest.raises(
        ModelError, match=r"prompt\.json: holds a prompt of kind 'songs', wanted labels, chat or none\.$"
    ):
        load_model(tmp_path / "model", CPU)
