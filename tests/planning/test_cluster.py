"""A model known only by its config.json, on machines that are not here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.errors import ModelError
from metier.planning.cards import CARDS, SHARES
from metier.planning.cluster import Cluster, ClusterWay, Sizes, read_sizes, ways

LLAMA_70B = {
    "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}  # fmt: skip
"""The shape of Llama 3 70B."""
EIGHT = Cluster(gpus=8, card_name="h100", card=CARDS["h100"], microbatch=4096, tokens=1e9, price=2.5)


def _write(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Sizes:
    return read_sizes(_write(tmp_path_factory.mktemp("llama"), LLAMA_70B))


def _way(sizes: Sizes, cluster: Cluster, method: str, *, sharded: bool) -> ClusterWay:
    return next(way for way in ways(sizes, cluster) if (way.method, way.sharded) == (method, sharded))


def test_parameters_are_counted_without_weights(sizes: Sizes) -> None:
    assert sizes.parameters == 70_553_706_496
    assert round(2 * sizes.parameters / 1e9) == 141
    assert sizes.layers == 80 and sizes.head_weights == 128256 * 8192
    hidden, inner, keys = 8192, 28672, 1024
    assert sizes.block_weights == sizes.active == 80 * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner)
    each = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + inner)
    assert sizes.adapter == 16 * 80 * each


def test_what_fits_on_eight_cards(sizes: Sizes) -> None:
    whole, shared = (_way(sizes, EIGHT, "lora", sharded=sharded) for sharded in (False, True))
    assert not whole.fits and whole.memory.weights == pytest.approx(141.1e9, rel=0.01)
    assert shared.fits and shared.memory.weights == pytest.approx(141.1e9 / 8, rel=0.01)
    assert shared.memory.gathered > 0
    assert _way(sizes, EIGHT, "qlora", sharded=False).memory.weights < 45e9
    full = _way(sizes, EIGHT, "full", sharded=True)
    assert not full.fits and full.memory.learning == pytest.approx(16 * sizes.parameters / 8)
    assert full.trainable == sizes.parameters and shared.trainable == sizes.adapter


def test_time_is_operations_over_a_share_of_the_published_rate(sizes: Sizes) -> None:
    way = _way(sizes, replace(EIGHT, microbatch=128), "lora", sharded=True)
    assert not way.recomputed and way.seconds is not None and way.cost is not None
    flops = 1e9 * (4 * sizes.active + 6 * sizes.head_weights)
    assert way.seconds.value == pytest.approx(flops / (8 * 989e12 * SHARES[1]))
    assert way.seconds.low < way.seconds.value < way.seconds.high
    assert way.cost.value == pytest.approx(way.seconds.value / 3600 * 8 * 2.5)
    assert way.kilowatt_hours is not None
    assert way.kilowatt_hours.value == pytest.approx(way.seconds.value / 3600 * 8 * 0.7)
    recomputed = _way(sizes, EIGHT, "lora", sharded=True)
    assert recomputed.recomputed and recomputed.seconds is not None and recomputed.seconds.value > way.seconds.value


def test_without_tokens_there_is_memory_alone(sizes: Sizes) -> None:
    way = _way(sizes, replace(EIGHT, tokens=None), "lora", sharded=True)
    assert (way.seconds, way.cost, way.kilowatt_hours) == (None, None, None) and way.memory.total > 0


def test_one_card_shares_nothing(sizes: Sizes) -> None:
    assert {way.sharded for way in ways(sizes, replace(EIGHT, gpus=1))} == {False}


def test_experts_that_a_token_does_not_meet_cost_memory_and_no_time(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 100, "num_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "intermediate_size": 128, "decoder_sparse_step": 1, "mlp_only_layers": [],
    }  # fmt: skip
    sizes = read_sizes(_write(tmp_path, config))
    experts = 2 * 8 * 3 * 64 * 32
    assert sizes.block_weights - sizes.active == pytest.approx(experts * 6 / 8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there"),
        ("{", "is not readable JSON"),
        ('{"model_type": "nothing"}', "which this version of transformers does not know"),
        ('{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}', "describes quantised weights"),
        ('{"model_type": "clip"}', "does not describe a language model"),
    ],
    ids=["missing", "damaged", "unknown", "quantised", "no language model"],
)
def test_what_cannot_be_counted_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        read_sizes(tmp_path)
