"""Would a model fit on so many accelerators, how long would it take, what would it cost: from its config.json alone.

Parameters are counted on a network without weights. Memory is that of one card, with the whole model on each card or
sharded over all of them (FSDP). Time follows from operations (two a weight and token forward, as many again backward,
twice as many where weights learn) and the part of the card's published rate that published runs reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.errors import ModelError
from metier.planning.cards import SHARES, Card
from metier.planning.outlook import Span

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METHODS: Mapping[str, str] = {
    "lora": "LoRA on all layers, bfloat16 base", "qlora": "the same on a 4-bit base (nf4)", "full": "every weight",
}  # fmt: skip
"""Method -> what it is."""
RANK = 16
LEARNING_BYTES = 16
"""A weight that learns, its gradient and two moments, in float32."""
NF4_BYTES = 0.5 + 4.5 / 8 / 64 * 8
"""A 4-bit weight and its share of a block's scale: 64 weights a scale, held in 8 bits with a scale of its own."""
LOSS_TOKENS, LOSS_BYTES = 1024, 14
"""Tokens whose logits are held at once; bytes of one: in bfloat16, in float32, and its gradient."""
RESERVED = 2e9
"""What the driver, its libraries and gaps between tensors take of a card: assumed."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a configuration says about memory and work."""

    name: str
    architecture: str
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    block_weights: int
    """Weights in the matrix products of all blocks."""
    head_weights: int
    """Weights of the output layer, shared with the embedding or not."""
    adapter: int
    """Parameters of an adapter on every linear layer of every block."""
    cells: int
    """Numbers that one block keeps of one token for its backward pass, as transformers' plain blocks do."""
    active: int
    """Weights of all blocks that one token meets: fewer than all in a mixture of experts."""

    @property
    def block_bytes(self) -> float:
        """One block in bfloat16."""
        return 2.0 * self.block_weights / self.layers


@dataclass(frozen=True, kw_only=True)
class CardMemory:
    """Bytes on one card, by what they hold."""

    weights: float
    learning: float
    """Adapters or weights that learn, gradients, optimiser."""
    activations: float
    loss: float
    gathered: float
    """Blocks that are put together from all cards while they are computed; 0 unless sharded."""
    reserved: float = RESERVED

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.learning + self.activations + self.loss + self.gathered + self.reserved


@dataclass(frozen=True, kw_only=True)
class ClusterWay:
    """One method on these cards."""

    method: str
    sharded: bool
    recomputed: bool
    """Whether blocks are computed again in the backward pass, because their activations would not fit."""
    memory: CardMemory
    fits: bool
    seconds: Span | None
    """None where no tokens were asked for."""
    cost: Span | None
    kilowatt_hours: Span | None
    trainable: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The machine that is planned for."""

    gpus: int
    card_name: str
    card: Card
    microbatch: int = 4096
    """Tokens of one pass on one card."""
    tokens: float | None = None
    """Tokens of the whole training; None for memory alone."""
    price: float | None = None
    """Of one card for one hour."""
    shares: tuple[float, float, float] = SHARES
    """Lowest, usual and highest part of the published rate."""


def read_sizes(path: Path) -> Sizes:
    """Count the parameters of a model of which only the configuration is there.

    Args:
        path: `config.json`, or the folder that it lies in.

    Raises:
        ModelError: It is not there, not readable, or of a kind that transformers does not know.
    """
    import torch
    from transformers import AutoModelForCausalLM

    file = path / "config.json" if path.is_dir() else path
    config = _read_config(file)
    try:
        with torch.device("meta"):  # no memory is taken for weights
            make: Any = AutoModelForCausalLM.from_config
            network: PreTrainedModel = make(config, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"does not describe a language model ({str(error).splitlines()[0][:120]})"
        raise ModelError(str(file), found, "the config.json of a decoder") from error
    return _sizes(network, str(config.model_type), file.parent.name or file.name)


def ways(sizes: Sizes, cluster: Cluster) -> Iterator[ClusterWay]:
    """Every method, whole on each card and sharded, with what it needs.

    Args:
        sizes: The model.
        cluster: The machine.
    """
    for method in METHODS:
        for sharded in (False, True) if cluster.gpus > 1 else (False,):
            yield _way(sizes, cluster, method, sharded=sharded)


def _way(sizes: Sizes, cluster: Cluster, method: str, *, sharded: bool) -> ClusterWay:
    room = cluster.card.memory * 1e9
    plain = _memory(sizes, cluster, method, sharded=sharded, recomputed=False)
    lean = _memory(sizes, cluster, method, sharded=sharded, recomputed=True)
    recomputed = plain.total > room
    memory = lean if recomputed else plain
    seconds = None if cluster.tokens is None else _seconds(sizes, cluster, method, recomputed=recomputed)
    hours = None if seconds is None else seconds.times(cluster.gpus / 3600)
    return ClusterWay(
        method=method, sharded=sharded, recomputed=recomputed, memory=memory, fits=memory.total <= room,
        seconds=seconds, cost=None if hours is None or cluster.price is None else hours.times(cluster.price),
        kilowatt_hours=None if hours is None else hours.times(cluster.card.watts / 1000),
        trainable=sizes.parameters if method == "full" else sizes.adapter,
    )  # fmt: skip


def _memory(sizes: Sizes, cluster: Cluster, method: str, *, sharded: bool, recomputed: bool) -> CardMemory:
    cards = cluster.gpus if sharded else 1
    beside = sizes.parameters - sizes.block_weights
    weights = {
        "lora": 2.0 * sizes.parameters, "qlora": NF4_BYTES * sizes.block_weights + 2.0 * beside, "full": 0.0,
    }[method]  # fmt: skip
    learning = LEARNING_BYTES * (sizes.parameters if method == "full" else sizes.adapter)
    kept = sizes.cells * 2.0
    activations = cluster.microbatch * (2.0 * sizes.hidden * sizes.layers + kept if recomputed else kept * sizes.layers)
    gathered = 2 * sizes.block_bytes + 2.0 * sizes.head_weights if sharded else 0.0
    if method == "full" and not sharded:
        gathered = sizes.block_bytes + 2.0 * sizes.head_weights  # what autocast keeps of float32 weights
    return CardMemory(
        weights=weights / cards, learning=learning / cards, activations=activations, gathered=gathered,
        loss=float(min(LOSS_TOKENS, cluster.microbatch) * sizes.vocabulary * LOSS_BYTES),
    )  # fmt: skip


def _seconds(sizes: Sizes, cluster: Cluster, method: str, *, recomputed: bool) -> Span:
    """Operations over the rate; attention is left out, which is a few percent at usual lengths."""
    passes = (3.0 if method == "full" else 2.0) + (1.0 if recomputed else 0.0)
    assert cluster.tokens is not None
    flops = cluster.tokens * (passes * 2.0 * sizes.active + 3.0 * 2.0 * sizes.head_weights)
    rate = cluster.gpus * cluster.card.teraflops * 1e12
    low, usual, high = cluster.shares
    return Span(value=flops / (rate * usual), low=flops / (rate * high), high=flops / (rate * low))


def _read_config(file: Path) -> Any:
    from transformers import CONFIG_MAPPING

    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(str(file), "is not there", "a model's config.json", "Check the path.") from error
    except (ValueError, OSError) as error:
        raise ModelError(str(file), "is not readable JSON", "a model's config.json") from error
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(str(file), f"has the model type {kind!r}, which this version of transformers does not know")
    if raw.get("quantization_config"):
        fix = "Use the config.json of the model that it was quantised from."
        raise ModelError(str(file), "describes quantised weights", "plain ones", fix)
    return CONFIG_MAPPING[kind].from_dict(raw)


def _sizes(network: PreTrainedModel, architecture: str, name: str) -> Sizes:
    from metier.model.blocks import blocks_of

    blocks = blocks_of(network).modules
    config = network.config.get_text_config()
    linear = [tuple(p.shape[-2:]) for p in blocks.parameters() if p.ndim == 2]
    stacked = [tuple(p.shape) for p in blocks.parameters() if p.ndim == 3]  # experts side by side
    experts = sum(count * rows * columns for count, rows, columns in stacked)
    chosen = int(getattr(config, "num_experts_per_tok", 0) or 0)
    met = sum(min(count, chosen or count) * rows * columns for count, rows, columns in stacked)
    plain = sum(rows * columns for rows, columns in linear)
    layers, hidden, vocabulary = len(blocks), int(config.hidden_size), int(config.vocab_size)
    width = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return Sizes(
        name=name, architecture=architecture, parameters=sum(p.numel() for p in network.parameters()), layers=layers,
        hidden=hidden, vocabulary=vocabulary, block_weights=plain + experts, head_weights=vocabulary * hidden,
        adapter=RANK * sum(rows + columns for rows, columns in linear), active=plain + met,
        cells=8 * hidden + 4 * width,
    )  # fmt: skip
