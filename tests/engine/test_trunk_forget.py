"""What belongs to one text leaves the disk, byte for byte; everybody else's entries are still found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.engine.features import FeatureStore, forget_features
from metier.engine.tree import TokenSequence, shared_length
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.engine.trunk_forget import StoredPath, forget_paths

TinyBase = Callable[..., Any]
IDENTITY = TrunkIdentity(weights_sha256="w", depth=2, dtype="float32")
INSTRUCTION, TAIL = [11, 12, 13, 14], [21, 22]
LABELS = [[31, 32, 33], [31, 34, 35], [41, 42]]


def prompt(text: list[int]) -> list[int]:
    return [*INSTRUCTION, *text, *TAIL]


def scored(text: list[int]) -> list[TokenSequence]:
    """A text under the instruction, with every label."""
    return [TokenSequence.of(prompt(text), label) for label in LABELS]


def path_of(text: list[int]) -> StoredPath:
    return StoredPath(np.array(prompt(text)), len(INSTRUCTION) + len(text))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


MINE = [101, 102, 103, 104, 105]
OTHERS = {
    "nothing shared": [[201, 202, 203]],
    "the same beginning": [[101, 102, 203], [101, 204]],
    "my beginning": [[101, 102, 103]],
    "earlier and later in order": [[1, 2], [250, 251], [101, 102, 103, 104, 9]],
}


@pytest.mark.parametrize("chunk", [12, 1536], ids=["many chunks", "one chunk"])
@pytest.mark.parametrize("mine_first", [True, False])
@pytest.mark.parametrize("others", OTHERS.values(), ids=list(OTHERS))
def test_states_of_the_text_are_nowhere_and_others_hit(
    tiny_base: TinyBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[list[int]], mine_first: bool,
    chunk: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("metier.engine.trunk.CHUNK_TOKENS", chunk)
    network = tiny_base("llama").network
    kept = [sequence for text in others for sequence in scored(text)]
    cache = TrunkCache(tmp_path, IDENTITY)
    for some in (scored(MINE), kept) if mine_first else (kept, scored(MINE)):
        cache.build(network, some)
    beginnings = [shared_length(np.array(prompt(MINE)), np.array(prompt(text))) for text in others]
    shared = max(len(INSTRUCTION), *beginnings)
    states = [row for sequence in scored(MINE) for row in cache.sequence_states(sequence.inputs)[shared:]]
    before = everything(cache.folder)
    assert all(row.numpy().tobytes() in before for row in states)
    del cache
    assert forget_paths(tmp_path, [path_of(MINE)]) > 0
    left = everything(tmp_path)
    found = [number for number, row in enumerate(states) if row.numpy().tobytes() in left]
    assert found == []
    again = TrunkCache(tmp_path, IDENTITY)
    assert again.build(network, kept).misses == 0
    assert again.build(network, scored(MINE)).misses > 0
    assert forget_paths(tmp_path, [StoredPath(np.array([250, 1, 1]), 3)]) == 0


def test_a_text_that_begins_with_all_of_it_is_computed_again(tiny_base: TinyBase, tmp_path: Path) -> None:
    """Where a text goes on after mine, nobody can tell it from an older prompt of mine: it goes, which costs time."""
    network = tiny_base("llama").network
    longer = scored([*MINE, 106])
    TrunkCache(tmp_path, IDENTITY).build(network, [*scored(MINE), *longer])
    forget_paths(tmp_path, [path_of(MINE)])
    assert TrunkCache(tmp_path, IDENTITY).build(network, longer).misses == len(prompt([*MINE, 106])) + 4


def test_branches_of_another_recipe_below_the_text_go_too(tiny_base: TinyBase, tmp_path: Path) -> None:
    """Labels and prompts that are not known any more: what hangs below the text is the text's."""
    network = tiny_base("llama").network
    cache = TrunkCache(tmp_path, IDENTITY)
    old = [TokenSequence.of([*INSTRUCTION, *MINE, *tail], [77, 78, 79]) for tail in ([61], [61, 62], [63, 64, 65])]
    cache.build(network, old)
    cache.build(network, scored(MINE))
    states = [row for s in (*old, *scored(MINE)) for row in cache.sequence_states(s.inputs)]
    del cache
    forget_paths(tmp_path, [path_of(MINE)])
    left = everything(tmp_path)
    assert not [row for row in states if row.numpy().tobytes() in left]


def test_an_encoders_text_goes_alone(tiny_base: TinyBase, tmp_path: Path) -> None:
    network = tiny_base("bert").network
    identity = TrunkIdentity(weights_sha256="w", depth=1, dtype="float32", causal=False)
    texts = [np.array(text) for text in ([2, 7, 8, 3], [2, 7, 8, 9, 3])]
    sequences = [TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_)) for ids in texts]
    cache = TrunkCache(tmp_path, identity)
    cache.build(network, sequences)
    states = cache.sequence_states(texts[0])
    del cache
    assert forget_paths(tmp_path, [StoredPath(texts[0], 4)]) == 4
    left = everything(tmp_path)
    assert not [row for row in states if row.numpy().tobytes() in left]
    assert TrunkCache(tmp_path, identity).build(network, sequences).misses == 4


def test_feature_vectors_of_a_text_go(tiny_base: TinyBase, tmp_path: Path) -> None:
    texts = [np.array([2, 7, number, 3]) for number in (8, 9, 10)]

    def store() -> FeatureStore:
        return FeatureStore(tmp_path, tiny_base("bert").network, "encoder", "w")

    vectors = store().features(texts)
    store().features([np.array([2, 30, 3])])
    assert forget_features(tmp_path, [texts[1], np.array([1, 1])]) == 1
    left = everything(tmp_path)
    assert [row.tobytes() in left for row in vectors] == [True, False, True]
    again = store()
    assert set(again._known) == set(store()._known) and len(again._known) == 3
    assert forget_features(tmp_path, [texts[0], texts[2], np.array([2, 30, 3])]) == 3
    assert not list(tmp_path.rglob("*.safetensors"))
