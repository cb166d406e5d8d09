"""Weights that are cast while they are read are those that transformers' own loading gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from metier.device import Hardware
from metier.errors import OutOfMemory
from metier.model import loading
from metier.model.base import load_base_model
from metier.model.weights import read_cast, weight_bytes
from metier.recipe.sections import ModelSection

FAMILIES = ("llama", "qwen2", "gpt2", "qwen3")


def hardware(dtype: str) -> Hardware:
    return Hardware(device="cpu", dtype=dtype, threads=1, reason="a test")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_and_settings(family: str, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model(family), tmp_path / "model"))
    GenerationConfig(eos_token_id=[3, 5]).save_pretrained(folder)
    mine = load_base_model(ModelSection(name=str(folder)), hardware("bfloat16")).network
    wanted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert read_cast(folder, torch.bfloat16) is not None
    assert mine.state_dict().keys() == wanted.state_dict().keys()
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(mine.state_dict()[name], tensor), name
    assert mine.name_or_path == str(folder)
    assert mine.generation_config.eos_token_id == [3, 5]
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(mine(input_ids=ids).logits, wanted.eval()(input_ids=ids).logits)
    tied = wanted.get_input_embeddings().weight is wanted.get_output_embeddings().weight
    assert (mine.get_input_embeddings().weight is mine.get_output_embeddings().weight) == tied


def test_nothing_is_cast_where_types_agree(tiny_model: Callable[..., Path]) -> None:
    assert read_cast(tiny_model("llama"), torch.float32) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_size_of_weights_is_known_before_they_are_loaded(dtype: str, tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model("llama")
    network = load_base_model(ModelSection(name=str(folder)), hardware(dtype)).network
    lying = {p.untyped_storage().data_ptr(): p.numel() * p.element_size() for p in network.parameters()}
    assert weight_bytes(folder, 4 if dtype == "float32" else 2) == sum(lying.values())


def test_weights_that_do_not_fit_are_refused(tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model("llama")
    needed = weight_bytes(folder, 4)
    monkeypatch.setattr(loading, "free_memory_bytes", lambda device: needed)
    load_base_model(ModelSection(name=str(folder)), hardware("float32"))
    monkeypatch.setattr(loading, "free_memory_bytes", lambda device: needed - 1)
    with pytest.raises(OutOfMemory) as caught:
        load_base_model(ModelSection(name=str(folder)), hardware("float32"))
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        f"the weights of {folder}: take 0.0 GB in float32, wanted at most the 0.0 GB that are free on this machine "
        "(cpu). Close other programs, choose a smaller model, or set model.quantization: nf4."
    )
    load_base_model(ModelSection(name=str(folder)), hardware("bfloat16"))


def test_an_encoder_that_does_not_fit_is_not_told_to_be_quantised(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "free_memory_bytes", lambda device: 0)
    with pytest.raises(OutOfMemory, match=r"\(cpu\)\. Close other programs or choose a smaller model\.$"):
        load_base_model(ModelSection(name=str(tiny_model("bert"))), hardware("float32"))
