"""Every way to name a model, what is found out about it, and every refusal by its text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.device import Hardware
from metier.errors import LackingEnvironment, ModelError
from metier.events import Event, Notice
from metier.model.base import BaseModel, load_base_model
from metier.recipe.sections import ModelSection

TinyModel = Callable[..., Path]
CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")


def load(name: object, hardware: Hardware = CPU, observers: Any = ()) -> BaseModel:
    return load_base_model(ModelSection(name=str(name)), hardware, observers)


@pytest.fixture
def copy(tmp_path: Path, tiny_model: TinyModel) -> Callable[..., Path]:
    """A copy of a tiny model that a test may damage."""

    def make(kind: str = "llama", without: tuple[str, ...] = (), **changes: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(tiny_model(kind, **changes), folder, ignore=shutil.ignore_patterns(*without))
        return folder

    return make


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "role", "layers", "context"),
    [
        ("llama", "decoder", 3, 256),
        ("qwen2", "decoder", 2, 256),
        ("gpt2", "decoder", 2, 256),
        ("bert", "encoder", 2, 128),
    ],
)
def test_facts_of_a_folder(tiny_model: TinyModel, kind: str, role: str, layers: int, context: int) -> None:
    base = load(tiny_model(kind))
    assert (base.kind, base.architecture, base.source) == (role, kind, "folder")
    assert (base.layers, base.hidden_size, base.context, base.dtype) == (layers, 32, context, "float32")
    assert base.vocabulary == base.network.get_input_embeddings().weight.shape[0]
    assert base.tokenizer.pad_token is not None
    assert (base.pooling is not None) == (role == "encoder")
    assert base.licence == "unknown" and base.notes == () and base.revision is None
    assert base.parameters == sum(p.numel() for p in base.network.parameters())


def test_the_network_is_ready_to_be_frozen_or_adapted(tiny_model: TinyModel) -> None:
    base = load(tiny_model("llama"))
    assert not base.network.training
    assert not any(parameter.requires_grad for parameter in base.network.parameters())
    assert base.network.config._attn_implementation == "sdpa"


def test_weights_are_those_in_the_file(tiny_model: TinyModel) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tiny_model("qwen2")
    stored, loaded = load_file(folder / "model.safetensors"), load(folder).network.state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(stored[name], loaded[name]) for name in stored)


def test_bfloat16_and_back(tiny_model: TinyModel) -> None:
    import torch

    half = load(tiny_model("llama"), Hardware(device="cpu", dtype="bfloat16", threads=1, reason="a test"))
    assert half.dtype == "bfloat16" and half.network.dtype == torch.bfloat16
    whole = half.fresh(torch.float32)
    assert whole.dtype == "float32" and half.fresh().dtype == "bfloat16"
    expected = load(tiny_model("llama")).network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in whole.network.state_dict().items())


def test_fresh_is_untouched_by_what_happened_to_the_first(tiny_model: TinyModel) -> None:
    import torch

    base = load(tiny_model("llama"))
    before = base.network.get_input_embeddings().weight.clone()
    with torch.no_grad():
        base.network.get_input_embeddings().weight.zero_()
    fresh = base.fresh()
    assert fresh.network is not base.network and fresh.weights_sha256 == base.weights_sha256
    assert torch.equal(fresh.network.get_input_embeddings().weight, before)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_count_tokens_leaves_special_tokens_out_and_cuts_nothing(tiny_model: TinyModel, kind: str) -> None:
    base = load(tiny_model(kind))
    texts = ["hello world", "", "refund " * 400]
    counts = base.count_tokens(texts)
    assert counts == [len(base.tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    assert counts[1] == 0 and counts[2] >= 400 and base.count_tokens([]) == []


def test_the_fingerprint_is_of_the_tensors_not_of_the_files(copy: Callable[..., Path], tiny_model: TinyModel) -> None:
    from transformers import AutoModelForCausalLM

    one = tiny_model("qwen2")
    many = copy("qwen2", without=("model.safetensors",))
    AutoModelForCausalLM.from_pretrained(one).save_pretrained(many, max_shard_size="20KB")
    assert len(list(many.glob("*.safetensors"))) > 2
    assert load(one).weights_sha256 == load(many).weights_sha256
    assert load(tiny_model("llama")).weights_sha256 != load(one).weights_sha256


def test_the_fingerprint_notices_one_changed_weight(copy: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy("llama")
    before = load(folder).weights_sha256
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"][3] += 1e-3
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).weights_sha256 != before


def test_the_fingerprint_is_kept(tiny_model: TinyModel, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.model import weights

    first = weights.fingerprint_weights(tiny_model("llama"))
    monkeypatch.setattr(weights, "hash_tensors", lambda files: pytest.fail("computed twice"))
    assert weights.fingerprint_weights(tiny_model("llama")) == first


def test_roberta_positions_start_behind_the_padding(tmp_path: Path, tiny_model: TinyModel) -> None:
    from transformers import RobertaConfig, RobertaModel

    folder = tmp_path / "roberta"
    shutil.copytree(tiny_model("bert"), folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    config = RobertaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=66, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    base = load(folder)
    assert (base.kind, base.context) == ("encoder", 64)


def test_pooling_and_licence_are_read_from_the_folder(copy: Callable[..., Path]) -> None:
    folder = copy("bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Normalize"}]', encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}', encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n", encoding="utf-8")
    base = load(folder)
    assert base.pooling is not None and base.licence == "mit"
    assert (base.pooling.mode, base.pooling.normalise, base.pooling.max_length) == ("cls", True, 64)


def test_a_pooler_without_weights_is_not_filled_with_chance(copy: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy("bert")
    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).network.pooler is None


def test_no_chat_template_is_fine(tiny_model: TinyModel) -> None:
    assert load(tiny_model("gpt2")).tokenizer.chat_template is None


def test_transformers_settings_are_as_before(tiny_model: TinyModel, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(tiny_model("llama"))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm", r"model\.name: 'smollm', wanted a packaged model \(smollm2-135m, .*you mean \"smollm2-135m\"\?"),
        ("MiniLM", r"Did you mean \"minilm\"\?"),
        ("zzz", r"model\.name: 'zzz', wanted a packaged model .*hub id `org/name`\.$"),
        ("./nowhere", r"\./nowhere: is not there, wanted a model folder\. Check the path"),
        ("a/b/c", r"a/b/c: is not there"),
        ("nowhere.gguf", r"nowhere\.gguf: is not there, wanted a \.gguf file"),
    ],
)  # fmt: skip
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(name)


def test_a_plain_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ModelError, match=r"is a file, wanted a model folder, a \.gguf file"):
        load(tmp_path / "model.txt")


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("config.json",), r"has no config\.json, wanted a model folder with config\.json"),
        (("*.safetensors",), r"has no weights, wanted model\.safetensors or its shards"),
        (("tokenizer*",), r"has no tokenizer, wanted tokenizer\.json"),
    ],
)  # fmt: skip
def test_an_incomplete_folder(copy: Callable[..., Path], without: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(copy(without=without))


def test_pickled_weights_are_never_opened(copy: Callable[..., Path]) -> None:
    folder = copy(without=("*.safetensors",))
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch PWNED'\ntR.")
    with pytest.raises(ModelError, match=r"only as pickle \(pytorch_model\.bin\).*never opened.*Convert them once"):
        load(folder)
    assert not (folder / "PWNED").exists() and not Path("PWNED").exists()


def test_an_adapter_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="holds a PEFT adapter, not a model"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mine", "auto_map": {"AutoModel": "m.M"}}, "needs code of its own .*which metier never runs"),
        ({"model_type": "mine"}, "has the model type 'mine', which this version of transformers does not know"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"holds quantised weights \(gptq\), wanted plain ones"),
        ({"model_type": "vit"}, "is a model of the type 'vit', wanted a causal language model, or an encoder"),
        ({"hidden_size": 64}, "cannot be loaded"),
        ({"num_hidden_layers": 5}, "lacks 18 weights of a LlamaForCausalLM"),
    ],
    ids=["own code", "unknown type", "quantised", "vision", "sizes differ", "too few weights"],
)  # fmt: skip
def test_a_config_that_cannot_be_used(copy: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    folder = copy()
    change_config(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_known_types_never_run_the_folders_code(copy: Callable[..., Path]) -> None:
    folder = copy()
    (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    change_config(folder, auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    assert load(folder).architecture == "llama"


@pytest.mark.parametrize("keep", [4, 200, 20_000], ids=["length", "header", "tensors"])
def test_cut_off_weights(copy: Callable[..., Path], keep: int) -> None:
    path = copy() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors: is cut off or damaged, wanted whole safetensors"):
        load(path.parent)


def test_a_missing_shard(copy: Callable[..., Path]) -> None:
    folder = copy(without=("*.safetensors",))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=r"lacks 2 of 2 weight files \(first: \.\./other\.safetensors\)"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", r"config\.json: is damaged: no readable JSON"),
        ("config.json", "[]", r"config\.json: holds a list, wanted a JSON object"),
        ("tokenizer.json", "{", "has a tokenizer that cannot be read"),
        ("tokenizer.json", "{}", r"cannot be read \(tokenizer\.json has no vocabulary\)"),
    ],
)  # fmt: skip
def test_damaged_json(copy: Callable[..., Path], file: str, content: str, message: str) -> None:
    folder = copy()
    (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_a_tokenizer_of_another_model(copy: Callable[..., Path]) -> None:
    folder = copy(vocab_size=100)
    with pytest.raises(ModelError, match="has 320 tokens in its tokenizer, wanted at most the 100 of its embedding"):
        load(folder)


def test_missing_length_is_assumed_and_said(copy: Callable[..., Path]) -> None:
    from transformers import PretrainedConfig

    from metier.model.folder import find_context

    heard: list[Event] = []
    assert find_context(PretrainedConfig(), 10**30, "my-model", [heard.append]) == 2048
    assert isinstance(heard[0], Notice) and "my-model does not say how long its inputs may be" in heard[0].message
    assert find_context(PretrainedConfig(), 700, "my-model", ()) == 700


@pytest.mark.parametrize("variable", ["METIER_OFFLINE", "HF_HUB_OFFLINE"])
def test_a_hub_model_offline(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(variable, "1")
    message = "nobody/nothing: is no folder here and not in the hub client's cache, and the hub may not be asked"
    with pytest.raises(LackingEnvironment, match=message):
        load("nobody/nothing")


def test_a_hub_model_is_loaded_from_its_snapshot(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tiny_model("llama"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    heard: list[Event] = []
    base = load_base_model(ModelSection(name="org/model", revision="v1"), CPU, [heard.append])
    assert (base.source, base.revision) == ("hub", tiny_model("llama").name)
    assert asked["name"] == "org/model" and asked["revision"] == "v1" and not asked["local_files_only"]
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])
    assert any(isinstance(event, Notice) and "asked for from the Hugging Face hub" in event.message for event in heard)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("RepositoryNotFoundError", ModelError, "neither a folder here nor a model on the hub"),
        ("GatedRepoError", ModelError, "org/model: needs permission. Accept its terms"),
        ("RevisionNotFoundError", ModelError, r"model\.revision: None, which org/model does not have"),
        ("LocalEntryNotFoundError", LackingEnvironment, "no hub was reached. Download it where there is network"),
        ("HfHubHTTPError", LackingEnvironment, "no hub was reached"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses(error: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(name: str, **options: Any) -> str:
        refusal = getattr(errors, error)
        raise refusal.__new__(refusal)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(kind, match=message):
        load("org/model")
