"""The stored trunk gives the states of the trunk in place, is found again, and notices damage."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.forward import TreeRunner
from metier.engine.network import boundary_states, stored_trunk
from metier.engine.texts import pooled, text_batches
from metier.engine.tree import TokenSequence, TokenTree
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]
IDENTITY = TrunkIdentity(weights_sha256="w", depth=2, dtype="float32")
DAMAGED = r"[0-9a-f]{24}\.safetensors: damaged entry of the trunk cache, removed; it will be computed again\."


def tokens_of(sequences: Sequence[TokenSequence]) -> int:
    return len(TokenTree.build(sequences))


def whole(*ids: Sequence[int]) -> list[TokenSequence]:
    return [TokenSequence(np.array(one, dtype=np.int64), np.zeros(len(one), dtype=np.bool_)) for one in ids]


@pytest.fixture
def network(tiny_base: TinyBase) -> Any:
    return tiny_base("llama").network


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mistral"])
def test_states_are_those_of_the_plain_forward(
    tiny_base: TinyBase, tmp_path: Path, domain_sequences: Make, family: str
) -> None:
    network, sequences = tiny_base(family).network, domain_sequences(8)
    cache = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="w", depth=1, dtype="float32"))
    report = cache.build(network, sequences)
    assert (report.hits, report.misses) == (0, tokens_of(sequences))
    for sequence in sequences:
        ids = torch.from_numpy(sequence.inputs)[None]
        with torch.no_grad():
            reference = network(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[1][0]
        mine = cache.sequence_states(sequence.inputs)
        assert float((mine - reference).abs().max()) < 1e-5 * float(reference.abs().max())
    tree = TokenTree.build(sequences)
    states = cache.states(tree, sequences)
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert torch.equal(states[torch.from_numpy(path)], cache.sequence_states(sequence.inputs))


@pytest.mark.parametrize(
    ("family", "method", "depth"), [("llama", "lora", 2), ("llama", "freeze", 2), ("gpt2", "lora", 1)]
)
def test_ten_steps_from_the_cache(
    tiny_base: TinyBase, tmp_path: Path, domain_sequences: Make, family: str, method: str, depth: int
) -> None:
    curves = []
    for stored in (False, True):
        base = tiny_base(family)
        model = adapt_model(AdaptationSection(method=method, layers="top 1", r=4), base, seed=5)
        assert model.plan.trunk_layers == depth
        sequences = domain_sequences(10)
        trunk = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="w", depth=depth, dtype="float32"))
        if stored:
            trunk.build(model.network, sequences)
        runner = TreeRunner(model.network, trunk if stored else None)
        optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=1e-3)
        curve = []
        for step in range(10):
            some = [sequences[number] for number in np.random.default_rng(step).permutation(10)[:4]]
            tree = TokenTree.build(some)
            logits = runner.logits(tree, some)
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(tree.target_ids))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            curve.append(float(loss.detach()))
        assert (runner.trunk is not None) == stored
        curves.append(curve)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    assert curves[0][0] != curves[0][-1]


@pytest.mark.parametrize("tokens", [20, 1536], ids=["many chunks", "one chunk"])
def test_what_was_built_is_found_again(
    network: Any, tmp_path: Path, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    monkeypatch.setattr("metier.engine.trunk.CHUNK_TOKENS", tokens)
    sequences = domain_sequences(20)
    cache = TrunkCache(tmp_path, IDENTITY)
    assert cache.build(network, sequences).misses == tokens_of(sequences)
    files = sorted(cache.folder.iterdir())
    assert (len(files) > 1) == (tokens == 20)
    order = np.random.default_rng(0).permutation(20)
    for again in (sequences, [sequences[number] for number in order], sequences[3:5], sequences * 2):
        assert cache.build(network, again).misses == 0
        assert TrunkCache(tmp_path, IDENTITY).build(network, again).misses == 0
    assert sorted(cache.folder.iterdir()) == files


def test_added_rows_only_store_their_new_tokens(network: Any, tmp_path: Path, domain_sequences: Make) -> None:
    first, more = domain_sequences(6), domain_sequences(12)  # the same beginning, other middles
    TrunkCache(tmp_path, IDENTITY).build(network, first)
    report = TrunkCache(tmp_path, IDENTITY).build(network, [*first, *more])
    assert report.misses == tokens_of([*first, *more]) - tokens_of(first) > 0


@pytest.mark.parametrize(
    "other",
    [
        TrunkIdentity(weights_sha256="x", depth=2, dtype="float32"),
        TrunkIdentity(weights_sha256="w", depth=1, dtype="float32"),
        TrunkIdentity(weights_sha256="w", depth=2, dtype="bfloat16"),
        TrunkIdentity(weights_sha256="w", depth=2, dtype="float32", causal=False),
    ],
    ids=["weights", "depth", "dtype", "causal"],
)
def test_another_model_never_hits(network: Any, tmp_path: Path, domain_sequences: Make, other: TrunkIdentity) -> None:
    sequences = domain_sequences(4)
    TrunkCache(tmp_path, IDENTITY).build(network, sequences)
    cache = TrunkCache(tmp_path, other)
    with pytest.raises(KeyError, match=r"boundary states of \d+ of \d+ tokens were never built"):
        cache.sequence_states(sequences[0].inputs)


@pytest.mark.parametrize("changed", [0, 4, 8], ids=["first", "middle", "last"])
def test_another_token_never_hits_from_there_on(network: Any, tmp_path: Path, changed: int) -> None:
    ids = list(range(10, 19))
    cache = TrunkCache(tmp_path, IDENTITY)
    cache.build(network, whole(ids))
    other = [99 if place == changed else token for place, token in enumerate(ids)]
    assert cache.build(network, whole(other)).hits == changed
    assert not torch.equal(cache.sequence_states(np.array(other)), cache.sequence_states(np.array(ids)))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def flip_a_length(path: Path) -> None:
    number = re.search(rb'length\\": (\d+)', path.read_bytes())
    assert number is not None
    flip(path, number.end() - 1)


@pytest.mark.parametrize(
    "damage",
    [truncate, lambda path: path.write_bytes(b""), lambda path: flip(path, -1), lambda path: flip(path, -900),
     flip_a_length, lambda path: flip(path, 0)],
    ids=["truncated", "empty", "last byte", "a state", "table", "header"],
)  # fmt: skip
def test_damage_is_noticed_removed_and_computed_again(
    network: Any, tmp_path: Path, domain_sequences: Make, notices: Any, damage: Callable[[Path], None]
) -> None:
    sequences = domain_sequences(6)
    cache = TrunkCache(tmp_path, IDENTITY)
    cache.build(network, sequences)
    (path,) = cache.folder.iterdir()
    wanted = cache.sequence_states(sequences[0].inputs).clone()
    damage(path)
    again = TrunkCache(tmp_path, IDENTITY, [notices])
    assert again.build(network, sequences).misses == tokens_of(sequences)
    assert len(notices.messages) == 1 and re.fullmatch(DAMAGED, notices.messages[0])
    assert path.exists(), "computed again: the same content has the same name"
    assert torch.equal(again.sequence_states(sequences[0].inputs), wanted)


def test_the_folder_is_private(tmp_path: Path) -> None:
    folder = TrunkCache(tmp_path, IDENTITY).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_another_object_wrote_meanwhile_is_found(network: Any, tmp_path: Path, domain_sequences: Make) -> None:
    one, two = TrunkCache(tmp_path, IDENTITY), TrunkCache(tmp_path, IDENTITY)
    sequences = domain_sequences(12)
    assert one.build(network, sequences[:4]).misses == tokens_of(sequences[:4])
    assert two.build(network, sequences).misses == tokens_of(sequences) - tokens_of(sequences[:4]) > 0
    assert one.build(network, sequences).misses == 0
    for sequence in sequences:
        assert torch.equal(one.sequence_states(sequence.inputs), two.sequence_states(sequence.inputs))


def test_the_same_work_twice_leaves_the_same_files(network: Any, tmp_path: Path, domain_sequences: Make) -> None:
    one, two = TrunkCache(tmp_path, IDENTITY), TrunkCache(tmp_path, IDENTITY)
    one.build(network, domain_sequences(6))
    two.build(network, domain_sequences(6))
    assert len(list(one.folder.iterdir())) == 1


def test_an_encoders_texts_are_stored_whole(tiny_base: TinyBase, tmp_path: Path) -> None:
    network = tiny_base("bert").network
    identity = TrunkIdentity(weights_sha256="w", depth=1, dtype="float32", causal=False)
    cache = TrunkCache(tmp_path, identity)
    texts = [[2, 7, 8, 3], [2, 7, 8, 9, 10, 3], [2, 3], [2, 7, 8, 3]]
    report = cache.build(network, whole(*texts))
    assert report.misses == 4 + 6 + 2, "nothing is shared between texts: every state sees the whole text"
    assert TrunkCache(tmp_path, identity).build(network, whole(*texts[::-1])).misses == 0
    for batch in text_batches([np.array(text) for text in texts], 64):
        rows = [cache.sequence_states(np.array(texts[number])) for number in batch.numbers]
        with torch.no_grad():
            torch.testing.assert_close(
                pooled(network, batch, "encoder", (1, rows)), pooled(network, batch, "encoder"), rtol=1e-5, atol=1e-5
            )
    with pytest.raises(KeyError, match="never built"):
        cache.sequence_states(np.array([2, 7, 8]))


@pytest.mark.parametrize("family", ["mamba"])
def test_a_family_that_does_not_fit_is_stored_text_by_text(
    tiny_base: TinyBase, tmp_path: Path, domain_sequences: Make, notices: Any, family: str
) -> None:
    network, sequences = tiny_base(family).network, domain_sequences(6)
    cache = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="w", depth=1, dtype="float32"), [notices])
    assert cache.build(network, sequences).misses == tokens_of(sequences)
    for sequence in sequences:
        plain = boundary_states(network, 1, input_ids=torch.from_numpy(sequence.inputs)[None], use_cache=False)[0]
        torch.testing.assert_close(cache.sequence_states(sequence.inputs), plain, rtol=1e-5, atol=1e-5)
    assert len(notices.messages) == 1
    assert "is computed text by text, without shared prefixes" in notices.messages[0]


def test_blocks_that_return_a_tuple() -> None:
    """Some families still return more than the states; the stand-ins return as much."""
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=64, hidden_size=32, n_layer=3, n_head=4, initializer_range=0.15)
    network = BloomForCausalLM(config).eval()
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        states = boundary_states(network, 2, input_ids=ids, use_cache=False)
        wanted = network(input_ids=ids, use_cache=False).logits
        with stored_trunk(network, 2, states):
            assert torch.equal(network(input_ids=ids, use_cache=False).logits, wanted)
        assert torch.equal(network(input_ids=ids, use_cache=False).logits, wanted)
