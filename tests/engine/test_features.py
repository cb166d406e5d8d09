"""Pooled features: means and last tokens by hand, computed once, damage noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.features import FeatureStore
from metier.engine.tree import Ints

TinyBase = Callable[..., Any]
TEXTS: list[Ints] = [np.array(ids) for ids in ([2, 9, 3], [2, 9, 10, 11, 12, 3], [2, 3], [2, 9, 10, 3], [2, 9, 3])]


def by_hand(base: Any, ids: Ints) -> np.ndarray[Any, np.dtype[np.float32]]:
    with torch.no_grad():
        states = base.network.base_model(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0]
    row: np.ndarray[Any, np.dtype[np.float32]] = (states.mean(0) if base.kind == "encoder" else states[-1]).numpy()
    return row


def store(base: Any, folder: Path, observers: Any = (), budget: int = 4096) -> FeatureStore:
    return FeatureStore(folder, base.network, base.kind, base.weights_sha256, observers, budget)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("budget", [1, 8, 4096])
def test_features_are_the_mean_or_the_last_state(tiny_base: TinyBase, tmp_path: Path, kind: str, budget: int) -> None:
    base = tiny_base(kind)
    rows = store(base, tmp_path, budget=budget).features(TEXTS)
    assert rows.dtype == np.float32 and rows.shape == (5, 32)
    for row, ids in zip(rows, TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(base, ids), rtol=1e-4, atol=1e-5)
    assert np.array_equal(rows[0], rows[4])


def test_what_is_stored_is_not_computed_again(
    tiny_base: TinyBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_base("bert")
    first = store(base, tmp_path)
    rows = first.features(TEXTS[:3])
    (path,) = first.folder.iterdir()
    computed: list[int] = []
    import metier.engine.features as module

    pooled = module.pooled
    monkeypatch.setattr(module, "pooled", lambda *a, **k: computed.append(len(a[1].numbers)) or pooled(*a, **k))
    again = store(base, tmp_path)
    assert np.array_equal(again.features(TEXTS[2::-1]), rows[::-1]) and computed == []
    again.features(TEXTS)
    assert sum(computed) == 1, "only the new text; one is there twice"
    assert path.exists() and len(list(first.folder.iterdir())) == 2


@pytest.mark.parametrize("difference", ["weights", "kind", "dtype"])
def test_another_model_never_hits(tiny_base: TinyBase, tmp_path: Path, difference: str) -> None:
    base = tiny_base("llama")
    first = store(base, tmp_path)
    network = tiny_base("llama", dtype="bfloat16").network if difference == "dtype" else base.network
    weights = "other" if difference == "weights" else base.weights_sha256
    kind = "encoder" if difference == "kind" else base.kind
    assert FeatureStore(tmp_path, network, kind, weights).folder != first.folder


@pytest.mark.parametrize("place", [None, -1, 12], ids=["truncated", "last byte", "header"])
def test_damage_is_noticed_and_computed_again(
    tiny_base: TinyBase, tmp_path: Path, notices: Any, place: int | None
) -> None:
    base = tiny_base("bert")
    first = store(base, tmp_path)
    rows = first.features(TEXTS)
    (path,) = first.folder.iterdir()
    data = bytearray(path.read_bytes())
    if place is not None:
        data[place] ^= 1
    path.write_bytes(data[:-5] if place is None else data)
    again = store(base, tmp_path, [notices])
    wanted = r"[0-9a-f]{24}\.safetensors: damaged entry of the feature cache, removed; it will be computed again\."
    assert len(notices.messages) == 1 and re.fullmatch(wanted, notices.messages[0])
    assert not path.exists()
    assert np.array_equal(again.features(TEXTS), rows)
