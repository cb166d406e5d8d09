"""The weights below a stored trunk leave memory, nothing computes without them, and they come back bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.tree import TokenSequence, TokenTree
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.engine.trunk_memory import bring_back, is_released, release_trunk, trunk_out_of_memory
from metier.errors import ModelError
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]


def bytes_in_memory(network: Any) -> int:
    """What the parameters really hold, shared storage once."""
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in network.parameters()}
    return sum(storages.values())


def block_bytes(network: Any, depth: int) -> int:
    blocks = [network.get_submodule(f"{prefix}{number}") for number in range(depth) for prefix in [_prefix(network)]]
    return sum(p.numel() * p.element_size() for block in blocks for p in block.parameters())


def _prefix(network: Any) -> str:
    from metier.model.blocks import blocks_of

    return f"{blocks_of(network).prefix}."


def plain(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(input_ids=torch.arange(5, 25)[None], use_cache=False).logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gemma3_text", "mistral"])
def test_the_bytes_drop_and_come_back(tiny_base: TinyBase, family: str, dtype: str) -> None:
    base = tiny_base(family, dtype)
    network = base.network
    before, wanted = bytes_in_memory(network), plain(network)
    state = {name: p.clone() for name, p in network.named_parameters()}
    freed = release_trunk(base, 1)
    # Where the head is tied to it, the embedding is still needed.
    spare = None if network.config.tie_word_embeddings else network.get_input_embeddings().weight
    assert freed == block_bytes(network, 1) + (spare.numel() * spare.element_size() if spare is not None else 0)
    assert bytes_in_memory(network) <= before - freed + 4 * 30
    assert is_released(network) and base.bytes == sum(p.numel() * p.element_size() for p in state.values())
    bring_back(network)
    assert not is_released(network)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, state[name]), name
    assert torch.equal(plain(network), wanted)


def test_an_encoders_lower_half_leaves_and_comes_back(tiny_base: TinyBase) -> None:
    base = tiny_base("bert")
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    with torch.no_grad():
        wanted = base.network(input_ids=ids).last_hidden_state
        assert release_trunk(base, 1) > block_bytes(base.network, 1)
        assert torch.equal(base.network(input_ids=ids).last_hidden_state, wanted)


def test_a_forward_pass_that_needs_them_brings_them_back(tiny_base: TinyBase, domain_sequences: Make) -> None:
    base, sequences = tiny_base("llama"), domain_sequences(4)
    wanted, tree = plain(base.network), TokenTree.build(sequences)
    reference = TreeRunner(base.network).logits(tree, sequences)
    for forward in (plain, lambda network: TreeRunner(network).logits(tree, sequences)):
        assert release_trunk(base, 2)
        got = forward(base.network)
        assert torch.equal(got, wanted if forward is plain else reference)
        assert not is_released(base.network)


def test_training_and_scoring_read_the_cache_and_generation_brings_them_back(
    tiny_base: TinyBase, tmp_path: Path, domain_sequences: Make, notices: Any
) -> None:
    base, sequences = tiny_base("qwen2"), domain_sequences(6)
    model = adapt_model(AdaptationSection(method="lora", layers="top 1", r=4), base, seed=5)
    trunk = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="w", depth=1, dtype="float32"))
    runner = TreeRunner(model.network, trunk)
    runner.probe(sequences)
    trunk.build(model.network, sequences)
    tree, decoding = TokenTree.build(sequences), Decoding(max_new_tokens=3, stop_ids=frozenset())
    prompts = [sequence.inputs for sequence in sequences[:2]]
    wanted, written = runner.logits(tree, sequences), generate(runner, prompts, decoding)
    with trunk_out_of_memory(base, trunk, [notices]) as freed:
        logits = runner.logits(tree, sequences)
        assert torch.equal(logits, wanted) and is_released(base.network)
        logits.sum().backward()  # type: ignore[no-untyped-call]
        assert is_released(base.network)
        again = generate(runner, prompts, decoding)
        assert [one.ids.tolist() for one in again] == [one.ids.tolist() for one in written]
        assert not is_released(base.network)
    assert notices.messages == [
        f"The weights below block 1 ({freed / 1e6:,.1f} MB) are out of memory while the stored trunk is read in "
        "their place."
    ]


def test_states_that_were_lost_meanwhile_are_computed_again(
    tiny_base: TinyBase, tmp_path: Path, domain_sequences: Make, notices: Any
) -> None:
    """Somebody purges the cache while it is read and its maps are closed."""
    base, sequences = tiny_base("llama"), domain_sequences(4)
    trunk = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="w", depth=2, dtype="float32"), [notices])
    trunk.build(base.network, sequences)
    wanted = trunk.sequence_states(sequences[0].inputs)
    with trunk_out_of_memory(base, trunk):
        shutil.rmtree(trunk.folder)
        trunk._chunks._maps.clear()
        torch.testing.assert_close(trunk.sequence_states(sequences[0].inputs), wanted, rtol=1e-5, atol=1e-6)
    said = "Entries of the trunk cache were removed while they were used; they are computed again."
    assert notices.messages == [said]


def test_what_was_changed_in_memory_stays(tiny_base: TinyBase) -> None:
    base = tiny_base("llama")
    weight = base.network.model.layers[0].mlp.up_proj.weight
    with torch.no_grad():
        weight[0, 0] += 1.0
    changed = weight.clone()
    release_trunk(base, 2)
    assert torch.equal(weight, changed)
    bring_back(base.network)
    assert torch.equal(base.network.model.layers[0].mlp.up_proj.weight, changed)


def test_files_that_changed_meanwhile_are_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    import dataclasses

    base = tiny_base("llama")
    own = tmp_path / "model"
    shutil.copytree(base.folder, own)
    base = dataclasses.replace(base, folder=own)
    assert release_trunk(base, 1)
    path = own / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"changed while its weights were out of memory, wanted the file as it was"):
        plain(base.network)
