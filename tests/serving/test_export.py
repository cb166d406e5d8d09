"""An export is loaded where there is no metier, and answers as the trained model does, or nothing is left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.device import Hardware
from metier.errors import ArgumentError, MetierError, ModelError
from metier.events import Event, Notice, Table
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.base import load_base_model
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.model.saved import load_model, save_model
from metier.recipe.sections import AdaptationSection, ModelSection
from metier.serving import export_files
from metier.serving.export import export_run
from metier.store.run_folder import RunFolder

CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
LABELS = PromptFormat(
    instruction="What is it about?", labels=("card", "refund"), label_texts=("card", "a refund"), list_labels=True
)
CHAT = ChatPrompt(instruction="Answer politely.")
WRITING = {
    "max_new_tokens": 12, "temperature": 0.0, "top_p": 1.0, "top_k": None, "repetition_penalty": 1.0, "stop": [],
    "batch_size": 8,
}  # fmt: skip
RULE = {"name": "sum_minus_mean", "divisors": [1.0, 1.0], "offsets": [-9.0, -12.0]}


def _learned(base: Any, **section: Any) -> AdaptedModel:
    """A model whose adapter, or whose own weights, are random and far from zero."""
    model = adapt_model(AdaptationSection(**section), base, seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.fixture
def saved(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`saved(kind, prompt, **section)`: the folder of a model with a random adapter."""

    def make(kind: str = "llama", prompt: Any = CHAT, dtype: str = "float32", **section: Any) -> Path:
        source = tiny_model(kind, dtype=dtype) if dtype != "float32" else tiny_model(kind)
        base = load_base_model(ModelSection(name=str(source)), CPU)
        model = _learned(base, **{"method": "lora", "r": 4, **section})
        labels = isinstance(prompt, PromptFormat)
        save_model(
            model, tmp_path / "model", prompt=prompt, max_length=200, too_long="cut_end",
            rule=RULE if labels else None, examples=7, generation=None if labels else WRITING,
            task="classification" if labels else "generation",
        )  # fmt: skip
        return tmp_path / "model"

    return make


FRESH = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, base, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if base != "-":
    from peft import PeftModel
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
else:
    model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
said = []
for text in texts:
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    written = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    said.append(tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip())
assert "metier" not in sys.modules
print(json.dumps(said))
"""


def _fresh_answers(folder: Path, base: Path | None, texts: list[str], place: Path) -> list[str]:
    """Answers from a process that a user of the export could have written."""
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder), str(base or "-"), json.dumps(texts)], cwd=place, check=False,
        capture_output=True, text=True, encoding="utf-8", env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def _own_answers(folder: Path, texts: list[str]) -> list[str]:
    from metier.data.records import Input
    from metier.evaluation.systems import AnswerOptions
    from metier.evaluation.tuned import HowAsked, tuned_system

    model = load_model(folder, CPU)
    system = tuned_system(model.model, HowAsked.of(model), trained_on="")
    inputs = [Input(id=str(number), text=text) for number, text in enumerate(texts)]
    return [answer.text or "" for answer in system.answer(inputs, AnswerOptions())]


TEXTS = ["where is my order?", "I can't log in", "hello world, a refund please"]


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_fresh_process_with_peft_and_transformers_gives_the_same_answers(
    form: str, saved: Callable[..., Path], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = saved()
    done = export_run(folder, tmp_path / "out", form=form)
    base = tiny_model("llama") if form == "adapter" else None
    asked = [f"Answer politely.\n\n{text}" for text in TEXTS]
    theirs = _fresh_answers(done.path, base, asked, tmp_path / "elsewhere")
    assert theirs == _own_answers(folder, TEXTS)
    assert len(set(theirs)) > 1  # else the comparison would say nothing
    assert done.parity.passed and done.parity.agreement == 1.0 and done.parity.same_written == 1.0
    assert done.parity.logit_difference < 1e-3


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("llama", {"use_dora": True}), ("llama", {"use_rslora": True, "layers": "top 1"}), ("gpt2", {}), ("qwen2", {}),
        ("gemma3_text", {}), ("mistral", {}), ("llama", {"method": "full"}),
        ("qwen3", {"method": "freeze", "layers": "top 1"}),
    ],
    ids=["dora", "rslora", "gpt2", "qwen2", "gemma3", "mistral", "full", "freeze"],
)  # fmt: skip
def test_merged_weights_of_every_method_and_family(
    kind: str, section: dict[str, Any], saved: Callable[..., Path], tmp_path: Path
) -> None:
    done = export_run(saved(kind, **section), tmp_path / "out")
    assert done.parity.passed and done.parity.precision == "float32"
    found = {check.what: check for check in done.parity.checks}
    assert found["loaded by a process without metier"].found == "yes"
    assert found["prompts made by its own tokenizer and template"].found == "16 of 16 equal"
