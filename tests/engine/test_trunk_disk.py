"""The trunk on disk: opened without reading states, bounded in memory, shared by processes, held to its limit."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine import trunk_chunks
from metier.engine.tree import TokenSequence, TokenTree
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.engine.trunk_chunks import ChunkFolder
from metier.errors import ArgumentError
from metier.store.leases import IN_USE, claimed, is_leased, lease

TinyBase = Callable[..., Any]
Make = Callable[..., list[TokenSequence]]
IDENTITY = TrunkIdentity(weights_sha256="w", depth=2, dtype="float32")


def tokens_of(sequences: Sequence[TokenSequence]) -> int:
    return len(TokenTree.build(sequences))


@pytest.fixture
def network(tiny_base: TinyBase) -> Any:
    return tiny_base("llama").network


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.engine.trunk.CHUNK_TOKENS", 20)


def files(cache: TrunkCache) -> list[Path]:
    return sorted(cache.folder.glob("*.safetensors"))


def test_opening_reads_no_states(
    network: Any, tmp_path: Path, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch, small_chunks: None
) -> None:
    sequences = domain_sequences(12)
    TrunkCache(tmp_path, IDENTITY).build(network, sequences)
    mapped: list[Path] = []
    real = np.memmap

    def watched(path: Path, **options: Any) -> Any:
        mapped.append(Path(path))
        return real(path, **options)

    monkeypatch.setattr(np, "memmap", watched)
    again = TrunkCache(tmp_path, IDENTITY)
    assert len(files(again)) > 2 and mapped == []
    again.sequence_states(sequences[0].inputs)
    first = len(mapped)
    assert 0 < first < len(files(again))
    again.sequence_states(sequences[0].inputs)
    assert len(mapped) == first, "mapped and checked once"


def test_a_trunk_larger_than_its_memory_gives_the_same_states(
    network: Any, tmp_path: Path, domain_sequences: Make, small_chunks: None
) -> None:
    sequences = domain_sequences(12)
    cache = TrunkCache(tmp_path, IDENTITY)
    cache.build(network, sequences)
    largest = max(chunk.bytes for chunk in cache._chunks.chunks())
    small = TrunkCache(tmp_path, IDENTITY)
    small._chunks.memory = largest
    for number in (*range(12), *range(12)):
        ids = sequences[number].inputs
        assert torch.equal(small.sequence_states(ids), cache.sequence_states(ids))
        assert small._chunks._mapped <= largest
    assert len(small._chunks._maps) < len(files(cache))


def test_the_memory_is_a_share_of_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_chunks, "available_memory_bytes", lambda: 800_000_000)
    assert ChunkFolder(tmp_path / "a").memory == 200_000_000
    monkeypatch.setattr(trunk_chunks, "available_memory_bytes", lambda: 80_000_000_000)
    assert ChunkFolder(tmp_path / "a").memory == trunk_chunks.MOST_MEMORY
    monkeypatch.setattr(trunk_chunks, "available_memory_bytes", lambda: 1_000)
    assert ChunkFolder(tmp_path / "b").memory == trunk_chunks.LEAST_MEMORY


def test_a_chunk_altered_after_opening_is_noticed_at_its_first_use(
    network: Any, tmp_path: Path, domain_sequences: Make, notices: Any
) -> None:
    sequences = domain_sequences(6)
    cache = TrunkCache(tmp_path, IDENTITY)
    cache.build(network, sequences)
    wanted = cache.sequence_states(sequences[0].inputs)
    again = TrunkCache(tmp_path, IDENTITY, [notices])
    (path,) = files(cache)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert again.build(network, sequences).misses == tokens_of(sequences)
    assert torch.equal(again.sequence_states(sequences[0].inputs), wanted)
    assert len(notices.messages) == 1 and "damaged entry of the trunk cache, removed" in notices.messages[0]


def _build_and_compare(network: Any, cache: Path, numbers: Any, barrier: Any, seen: Any) -> None:
    """One of two processes: build, then hold every state to the plain forward."""
    torch.set_num_threads(1)  # a process that was forked has none of its parent's other threads
    texts = [np.array(ids) for ids in numbers]
    sequences = [TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_)) for ids in texts]
    mine = TrunkCache(cache, IDENTITY)
    barrier.wait()
    misses, worst = mine.build(network, sequences).misses, 0.0
    for ids in texts:
        with torch.no_grad():
            whole = network(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True, use_cache=False)
        wanted = whole.hidden_states[2][0]
        worst = max(worst, float((mine.sequence_states(ids) - wanted).abs().max() / wanted.abs().max()))
    seen.put((misses, worst))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by forking")
def test_two_processes_at_once_share_the_work(network: Any, tmp_path: Path, notices: Any, small_chunks: None) -> None:
    rng = np.random.default_rng(5)
    texts = [[5, 6, 7, 8, 9, *rng.integers(3, 250, 9).tolist()] for _ in range(60)]
    context = multiprocessing.get_context("fork")
    barrier, seen = context.Barrier(2), context.Queue()
    arguments = (network, tmp_path, texts, barrier, seen)
    builders = [context.Process(target=_build_and_compare, args=arguments) for _ in range(2)]
    for builder in builders:
        builder.start()
    found = [seen.get(timeout=120) for _ in builders]
    for builder in builders:
        builder.join(timeout=60)
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert all(worst < 1e-5 for _, worst in found), found
    cache = TrunkCache(tmp_path, IDENTITY, [notices])
    chunks = cache._chunks.chunks()
    assert all(cache._chunks.intact(chunk.path.name) for chunk in chunks)
    assert notices.messages == [] and not list(cache.folder.glob(".*")), "no torn and no left-over file"
    distinct = len(TokenTree.build([TokenSequence(np.array(ids), np.zeros(14, dtype=np.bool_)) for ids in texts]))
    assert distinct <= sum(misses for misses, _ in found) <= 2 * distinct
    assert not any((tmp_path / IN_USE).glob("*.claim"))


def test_claims_and_leases_end_with_their_holder(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "one"
    with claimed(folder, "chunk") as mine, claimed(folder, "chunk") as also:
        assert mine and not also
    with claimed(folder, "chunk") as mine:
        assert mine
    held = lease(folder)
    assert is_leased(folder) and not is_leased(folder, held)
    held.release()
    assert not is_leased(folder)
    assert not list((tmp_path / "root" / IN_USE).iterdir())


def test_what_was_not_used_for_longest_goes(
    network: Any, tmp_path: Path, domain_sequences: Make, notices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, now = domain_sequences(6, seed=1), domain_sequences(6, seed=2), domain_sequences(6, seed=3)
    first = TrunkCache(tmp_path, IDENTITY)
    first.build(network, old)
    (oldest,) = files(first)
    first.build(network, new)
    (newer,) = set(files(first)) - {oldest}
    os.utime(oldest, (1, 1))
    os.utime(newer, (2, 2))
    first._lease.release()
    size = oldest.stat().st_size
    monkeypatch.setenv("METIER_CACHE_LIMIT", str(int(2.5 * size)))
    cache = TrunkCache(tmp_path, IDENTITY, [notices])
    cache.build(network, now)
    assert not oldest.exists() and newer.exists() and len(files(cache)) == 2
    assert re.fullmatch(
        r"The stored trunk grew beyond its limit of \S+ GB \(METIER_CACHE_LIMIT\): 1 files that were not used for "
        r"longest \(\d+\.\d MB\) were removed\.",
        notices.messages[0],
    )
    assert cache.build(network, new).misses == 0, "what is left is still found"
    monkeypatch.setenv("METIER_CACHE_LIMIT", "1")
    assert cache.build(network, old).misses > 0
    assert re.fullmatch(
        r"The stored trunk takes \d+\.\d MB, above its limit of \S+ GB \(METIER_CACHE_LIMIT\): this run or another "
        r"uses it\.",
        notices.messages[1],
    )
    assert all(cache.build(network, some).misses == 0 for some in (old, new, now)), "what this run uses stays"


def test_what_another_process_uses_stays(
    network: Any, tmp_path: Path, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METIER_CACHE_LIMIT", "1 KB")
    other = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="other", depth=2, dtype="float32"))
    other.build(network, domain_sequences(4))
    mine = TrunkCache(tmp_path, IDENTITY)
    mine.build(network, domain_sequences(4))
    assert files(other), "it is leased"
    other._lease.release()
    mine.build(network, domain_sequences(6, seed=4))
    assert not other.folder.exists()


@pytest.mark.parametrize("text", ["20 apples", "-1", "GB"])
def test_a_limit_that_is_no_size_is_told(
    network: Any, tmp_path: Path, domain_sequences: Make, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("METIER_CACHE_LIMIT", text)
    message = rf"METIER_CACHE_LIMIT: is '{text}', wanted a number of bytes, or a size such as 20GB"
    with pytest.raises(ArgumentError, match=message):
        TrunkCache(tmp_path, IDENTITY).build(network, domain_sequences(2))
