"""A `.gguf` file, read once and written as plain safetensors with its tokenizer.

transformers dequantises the file's blocks; the numbers are kept in float32, the type in which they
come: bfloat16 would halve the file and change about 82 % of the weights.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.errors import MissingPackage, ModelError
from metier.events import Notice, Observer, tell
from metier.model.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# How a byte-level vocabulary was learned, by the file's `tokenizer.ggml.pre`. llama.cpp takes every
# digit of these apart before GPT-2's splitting rule; transformers 5.23 forgets to.
_DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
_READING_ERRORS = (ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError, struct.error)
_SPLIT_AS_GPT2 = frozenset({"gpt-2", "mpt", "olmo", "jais", "default"})


@dataclass(frozen=True, kw_only=True)
class GgufFacts:
    """What a GGUF file says about itself."""

    architecture: str
    licence: str | None
    context: int | None
    tokenizer: str | None
    """`gpt2` (byte-level), `llama` (sentencepiece), …"""
    split_rule: str | None
    quantised: bool
    """Whether weights are stored as blocks of fewer than 16 bits."""


def read_gguf_facts(path: Path) -> GgufFacts:
    """Read a GGUF file's metadata, and with it whether the file is whole.

    Raises:
        ModelError: The file is cut off, damaged, or no GGUF file.
        MissingPackage: The package `gguf` is not installed.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingPackage(str(path), "needs the package gguf", "", "Run `pip install gguf`.") from error
    try:
        reader = GGUFReader(path)
        facts = {name: field.contents() for name, field in reader.fields.items() if field.types and _is_small(field)}
    except (ValueError, KeyError, IndexError, OverflowError, struct.error, UnicodeDecodeError) as error:
        raise _damaged(path) from error
    architecture = facts.get("general.architecture")
    if not isinstance(architecture, str) or not reader.tensors:
        raise _damaged(path)
    plain = {"F32", "F16", "BF16", "F64"}
    return GgufFacts(
        architecture=architecture, licence=facts.get("general.license"),
        context=facts.get(f"{architecture}.context_length"),
        tokenizer=facts.get("tokenizer.ggml.model"), split_rule=facts.get("tokenizer.ggml.pre"),
        quantised=any(tensor.tensor_type.name not in plain for tensor in reader.tensors),
    )  # fmt: skip


def convert_gguf(path: Path, folder: Path, observers: Sequence[Observer] = ()) -> GgufFacts:
    """Write the model of a GGUF file as a plain model folder.

    Args:
        path: The `.gguf` file.
        folder: An existing folder; gets config, `model.safetensors` in float32, tokenizer with chat
            template, generation config.
        observers: Told what may differ from the original.

    Returns:
        What the file says about itself.

    Raises:
        ModelError: The file is damaged, or of an architecture or tokenizer that transformers cannot read.
    """
    facts = read_gguf_facts(path)
    with quiet_transformers():
        model = _read_model(path, facts)
        tokenizer = _read_tokenizer(path, facts)
        _repair_split_rule(tokenizer, path, facts, observers)
        if facts.context is not None:
            tokenizer.model_max_length = facts.context
        _write_plain(model, folder)
        tokenizer.save_pretrained(folder)
    return facts


def _is_small(field: Any) -> bool:
    # Arrays are the vocabulary and its merges: not needed here, and slow to decode.
    return str(field.types[0].name) != "ARRAY"


def _read_model(path: Path, facts: GgufFacts) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    # Said explicitly: where the package `kernels` is installed, transformers would keep the blocks.
    plain = GgufConfig(dequantize=True)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=plain,
                local_files_only=True, trust_remote_code=False,
            )  # fmt: skip
    except _READING_ERRORS as error:
        raise _unreadable(path, facts, error) from error
    return model


def _read_tokenizer(path: Path, facts: GgufFacts) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    except _READING_ERRORS as error:
        raise _unreadable(path, facts, error) from error
    return tokenizer


def _repair_split_rule(
    tokenizer: PreTrainedTokenizerBase, path: Path, facts: GgufFacts, observers: Sequence[Observer]
) -> None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if facts.tokenizer != "gpt2" or backend is None or "use_regex=True" not in repr(backend.pre_tokenizer):
        return
    if facts.split_rule in _DIGITS_APART:
        from tokenizers import pre_tokenizers

        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    elif facts.split_rule not in _SPLIT_AS_GPT2:
        text = (
            f"{path.name}: its splitting rule {facts.split_rule!r} is not known here, GPT-2's is used. "
            "Some texts may get other tokens than with the original tokenizer."
        )
        tell(observers, Notice(topic="model", message=text))


def _write_plain(model: PreTrainedModel, folder: Path) -> None:
    """Save without the traces of quantisation, which `save_pretrained` of the loaded object refuses."""
    import torch

    config = type(model.config).from_dict(
        {name: value for name, value in model.config.to_dict().items() if name != "quantization_config"}
    )
    config.name_or_path = ""
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)


def _damaged(path: Path) -> ModelError:
    return ModelError(str(path), "is no whole GGUF file (cut off or damaged)", "", "Copy or download it again.")


def _unreadable(path: Path, facts: GgufFacts, error: BaseException) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].strip("'\" ")[:200]
    found = f"is a GGUF file of the architecture {facts.architecture!r} that cannot be read ({reason})"
    return ModelError(str(path), found, "", "Use the model's safetensors folder instead.")
