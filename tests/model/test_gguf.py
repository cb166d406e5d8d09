"""GGUF files: the numbers that transformers reads, a repaired splitting rule, damage said plainly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.device import Hardware
from metier.errors import ModelError
from metier.events import Event, Notice
from metier.model.base import load_base_model
from metier.model.gguf import convert_gguf, read_gguf_facts
from metier.recipe.sections import ModelSection

HIDDEN, INNER, HEADS, GROUPS, LAYERS = 32, 64, 4, 2, 2
CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")


@pytest.fixture
def gguf_file(tmp_path: Path, tiny_model: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a tiny Llama as a `.gguf` file."""

    def write(*, pre: str = "smollm", quantised: bool = False, architecture: str = "llama") -> Path:
        import gguf
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
        path = tmp_path / f"tiny-{pre}-{quantised}.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_license("apache-2.0")
        writer.add_block_count(LAYERS)
        writer.add_context_length(128)
        writer.add_embedding_length(HIDDEN)
        writer.add_feed_forward_length(INNER)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(GROUPS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(HIDDEN // HEADS)
        writer.add_vocab_size(len(tokenizer))
        _add_tokenizer(writer, tokenizer, pre)
        for name, value in _tensors(len(tokenizer)).items():
            if quantised and value.ndim == 2:
                kind = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def _add_tokenizer(writer: Any, tokenizer: Any, pre: str) -> None:
    import json

    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _tensors(vocabulary: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)

    def matrix(*shape: int) -> np.ndarray:
        return random.normal(0, 0.1, shape).astype(np.float32)

    narrow = HIDDEN * GROUPS // HEADS
    found = {"token_embd.weight": matrix(vocabulary, HIDDEN), "output_norm.weight": 1 + matrix(HIDDEN)}
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HIDDEN, HIDDEN), "attn_k": (narrow, HIDDEN), "attn_v": (narrow, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN),
            "ffn_down": (HIDDEN, INNER), "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,),
        }  # fmt: skip
        found |= {f"blk.{layer}.{name}.weight": matrix(*shape) for name, shape in shapes.items()}
    return found


@pytest.mark.parametrize("quantised", [False, True], ids=["float32", "8 bit"])
def test_the_numbers_are_those_that_transformers_reads(
    gguf_file: Callable[..., Path], own_cache: Path, quantised: bool
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    path = gguf_file(quantised=quantised)
    base = load_base_model(ModelSection(name=str(path)), CPU)
    plain = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    expected, found = plain.state_dict(), base.network.state_dict()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in found)
    assert (base.source, base.licence, base.layers, base.context) == ("gguf", "apache-2.0", LAYERS, 128)
    assert base.notes == (("dequantised GGUF weights, not the original's",) if quantised else ())
    assert not hasattr(base.network.config, "quantization_config")
    assert base.tokenizer.chat_template is not None and base.tokenizer.eos_token == "<|im_end|>"


def test_converted_once(gguf_file: Callable[..., Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.model import packaged

    path = gguf_file()
    first = packaged.ensure_converted_gguf(path)
    monkeypatch.setattr(packaged, "convert_gguf", lambda *rest: pytest.fail("converted twice"))
    assert packaged.ensure_converted_gguf(path.rename(path.with_name("moved.gguf"))) == first


@pytest.mark.parametrize(("pre", "pieces"), [("smollm", ["a", "ĠĠĠ", "2", "0"]), ("gpt-2", ["a", "ĠĠ", "Ġ20"])])
def test_digits_are_taken_apart_where_the_vocabulary_was_learned_so(
    gguf_file: Callable[..., Path], tmp_path: Path, pre: str, pieces: list[str]
) -> None:
    from transformers import AutoTokenizer

    convert_gguf(gguf_file(pre=pre), tmp_path)
    split = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer.pre_tokenizer
    assert [piece for piece, _ in split.pre_tokenize_str("a   20")] == pieces


def test_an_unknown_splitting_rule_is_announced(gguf_file: Callable[..., Path], tmp_path: Path) -> None:
    heard: list[Event] = []
    convert_gguf(gguf_file(pre="brand-new"), tmp_path, [heard.append])
    assert isinstance(heard[0], Notice) and "its splitting rule 'brand-new' is not known here" in heard[0].message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.9], ids=["empty", "header", "vocabulary", "tensors"])
def test_a_file_that_is_cut_off(gguf_file: Callable[..., Path], own_cache: Path, share: float) -> None:
    path = gguf_file()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"is no whole GGUF file \(cut off or damaged\)"):
        load_base_model(ModelSection(name=str(path)), CPU)


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"<!DOCTYPE html>" * 100)
    with pytest.raises(ModelError, match="is no whole GGUF file"):
        read_gguf_facts(tmp_path / "a.gguf")


def test_an_architecture_that_cannot_be_read(gguf_file: Callable[..., Path], own_cache: Path) -> None:
    message = "of the architecture 'martian' that cannot be read .*Use the model's safetensors folder"
    with pytest.raises(ModelError, match=message):
        load_base_model(ModelSection(name=str(gguf_file(architecture="martian"))), CPU)
