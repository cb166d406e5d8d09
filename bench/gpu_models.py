"""Models of true shapes with random weights, made where they run, and token data: nothing is fetched.

Throughput and memory depend on shapes, not on what the weights know. Quality is measured elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast

from bench.limit import Shape

SIZES: dict[str, tuple[str, Shape]] = {
    "tiny": ("llama", Shape(layers=4, hidden=64, inner=128, heads=4, kv_heads=2, vocabulary=512)),
    "0.5B": ("qwen2", Shape(layers=24, hidden=896, inner=4864, heads=14, kv_heads=2, vocabulary=151_936)),
    "1.5B": ("qwen2", Shape(layers=28, hidden=1536, inner=8960, heads=12, kv_heads=2, vocabulary=151_936)),
    "8B": ("llama", Shape(layers=32, hidden=4096, inner=14_336, heads=32, kv_heads=8, vocabulary=128_256)),
}
"""Family and shape: Qwen2.5-0.5B, Qwen2.5-1.5B, Llama-3.1-8B, and one for a dry run."""
TIED = ("0.5B", "1.5B")
RANK, ALPHA = 16, 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Work:
    """Token data: each example a prompt and an answer, as ids."""

    examples: tuple[tuple[list[int], list[int]], ...]

    @property
    def tokens(self) -> int:
        """Tokens that are read, each text by itself: prompt and answer but its last token."""
        return sum(len(prompt) + len(answer) - 1 for prompt, answer in self.examples)

    @property
    def targets(self) -> int:
        """Tokens that are learned."""
        return sum(len(answer) for _, answer in self.examples)

    @property
    def mean_length(self) -> float:
        """Mean length of the text that a token stands in."""
        lengths = [len(prompt) + len(answer) for prompt, answer in self.examples]
        return sum(length * length for length in lengths) / sum(lengths)


def make_config(size: str) -> PretrainedConfig:
    """The configuration of a shape."""
    family, shape = SIZES[size]
    return AutoConfig.for_model(
        family, hidden_size=shape.hidden, intermediate_size=shape.inner, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        max_position_embeddings=32_768, tie_word_embeddings=size in TIED, bos_token_id=0, eos_token_id=1,
        rope_theta=500_000.0,
    )  # fmt: skip


def make_network(size: str, device: str, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A network with random weights, made on its device."""
    torch.manual_seed(0)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(make_config(size), dtype=dtype, attn_implementation="sdpa")
    network.train(False)
    network.requires_grad_(False)
    return network


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of two tokens, for programs that cannot do without: all data are ids already."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<end>")


def plain_work(size: str, *, count: int, length: int) -> Work:
    """Texts of one length that share nothing, every second half learned: no side has a trick."""
    rng = np.random.default_rng(1)
    vocabulary = SIZES[size][1].vocabulary
    rows = rng.integers(2, vocabulary, (count, length)).tolist()
    return Work(tuple((row[: length // 2], row[length // 2 :]) for row in rows))


def natural_work(size: str, *, count: int, longest: int) -> Work:
    """Texts of very different lengths that share nothing, as chats have."""
    rng = np.random.default_rng(2)
    lengths = np.clip(rng.lognormal(np.log(longest / 5), 0.8, count), 16, longest).astype(int)
    rows = [rng.integers(2, SIZES[size][1].vocabulary, length).tolist() for length in lengths]
    return Work(tuple((row[: len(row) * 2 // 3], row[len(row) * 2 // 3 :]) for row in rows))


def shared_work(size: str, *, count: int, shared: int, own: int, answer: int) -> Work:
    """One instruction before every text, short answers: classification and extraction."""
    rng = np.random.default_rng(3)
    vocabulary = SIZES[size][1].vocabulary
    start = rng.integers(2, vocabulary, shared).tolist()
    rest = rng.integers(2, vocabulary, (count, own + answer)).tolist()
    return Work(tuple((start + row[:own], row[own:]) for row in rest))


def matmul_rate(device: str, dtype: torch.dtype, side: int) -> float:
    """Operations in a second of the product of two random square matrices."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    wait(device)
    started, times = time.perf_counter(), 10
    for _ in range(times):
        left @ right
    wait(device)
    return 2.0 * side**3 * times / (time.perf_counter() - started)


def wait(device: str) -> None:
    """Let the device finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    """Count the memory peak from here on."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> dict[str, float]:
    """Largest memory since `forget_peak`, in bytes; on a CPU that of the process."""
    if device == "cuda":
        return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    from bench.protocol import peak_bytes

    return {"allocated": peak_bytes(), "reserved": peak_bytes()}


def weights_folder(network: Any, folder: Path) -> Path:
    """The weights as files, for what reads them again."""
    network.save_pretrained(folder, max_shard_size="5GB")
    return folder
