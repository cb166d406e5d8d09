"""Scoring all labels as one tree equals scoring one row for each label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.forward import TreeRunner
from metier.engine.score import label_sequences, score_labels, target_log_probabilities
from metier.engine.tree import Ints, TokenSequence
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.events import Progress

TinyBase = Callable[..., Any]
LABELS = [[40, 2], [40, 41, 2], [40, 41, 42, 2], [40, 41, 43, 44, 2], [40, 41], [50, 2], [51]]
"""Several tokens, shared beginnings; `[40, 41]` is a beginning of three others."""


def row_by_row(network: Any, prompts: Sequence[Ints], labels: Sequence[Ints]) -> np.ndarray[Any, np.dtype[np.float64]]:
    scores = np.zeros((len(prompts), len(labels)))
    for row, prompt in enumerate(prompts):
        for column, label in enumerate(labels):
            ids = torch.from_numpy(np.concatenate([prompt, label]))[None]
            with torch.no_grad():
                logprobs = torch.log_softmax(network(input_ids=ids, use_cache=False).logits[0].double(), dim=1)
            places = range(len(prompt) - 1, ids.shape[1] - 1)
            scores[row, column] = sum(float(logprobs[place, ids[0, place + 1]]) for place in places)
    return scores


@pytest.fixture
def prompts() -> list[Ints]:
    rng = np.random.default_rng(1)
    start = rng.integers(3, 250, 8)
    rows = [np.concatenate([start, rng.integers(3, 250, length)]) for length in (1, 4, 4, 7)]
    return [*rows, rows[1], start]  # one twice, and one that is the beginning of all others


@pytest.fixture
def labels() -> list[Ints]:
    return [np.array(label, dtype=np.int64) for label in LABELS]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma3_text", "mamba"])
@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_equals_one_row_a_label(
    tiny_base: TinyBase, prompts: list[Ints], labels: list[Ints], family: str, budget: int
) -> None:
    network = tiny_base(family).network
    scores, computed = score_labels(TreeRunner(network), prompts, labels, budget=budget)
    np.testing.assert_allclose(scores, row_by_row(network, prompts, labels), atol=1e-4)
    assert computed > 0


@pytest.mark.parametrize("chosen", [slice(0, 7), slice(0, 1)], ids=["seven labels", "one label"])
def test_a_single_prompt(tiny_base: TinyBase, prompts: list[Ints], labels: list[Ints], chosen: slice) -> None:
    network, some = tiny_base("llama").network, labels[chosen]
    scores, _ = score_labels(TreeRunner(network), prompts[:1], some, budget=512)
    np.testing.assert_allclose(scores, row_by_row(network, prompts[:1], some), atol=1e-4)


def test_the_shared_beginning_is_computed_once(tiny_base: TinyBase, prompts: list[Ints], labels: list[Ints]) -> None:
    network = tiny_base("llama").network
    _, together = score_labels(TreeRunner(network), prompts[:4], labels, budget=30)
    alone = sum(score_labels(TreeRunner(network), [prompt], labels, budget=30)[1] for prompt in prompts[:4])
    assert alone - together == 3 * 8


@pytest.mark.parametrize("depth", [1, 2])
def test_over_a_stored_trunk(
    tiny_base: TinyBase, tmp_path: Path, prompts: list[Ints], labels: list[Ints], depth: int
) -> None:
    base = tiny_base("llama")
    identity = TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype="float32")
    trunk = TrunkCache(tmp_path, identity)
    trunk.build(base.network, label_sequences(prompts, labels))
    scores, _ = score_labels(TreeRunner(base.network, trunk), prompts, labels, budget=64)
    np.testing.assert_allclose(scores, row_by_row(base.network, prompts, labels), atol=1e-4)


def target_sums(network: Any, sequences: Sequence[TokenSequence]) -> list[tuple[float, int]]:
    found = []
    for sequence in sequences:
        with torch.no_grad():
            logits = network(input_ids=torch.from_numpy(sequence.ids)[None], use_cache=False).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=1)
        places = np.flatnonzero(sequence.targets)
        found.append((sum(float(logprobs[place - 1, sequence.ids[place]]) for place in places), len(places)))
    return found


@pytest.fixture
def conversations() -> list[TokenSequence]:
    """Several turns: targets in the middle and at the end; whole passages; nothing to learn; one twice."""
    rng = np.random.default_rng(4)
    start = rng.integers(3, 250, 6)
    made = []
    for length in (9, 5, 12):
        ids = np.concatenate([start, rng.integers(3, 250, length)])
        made.append(TokenSequence(ids, (np.arange(len(ids)) % 4 > 1) & (np.arange(len(ids)) > 7)))
    passage = TokenSequence(made[0].ids, np.arange(len(made[0].ids)) > 0)
    nothing = TokenSequence(start, np.zeros(6, dtype=np.bool_))
    return [*made, nothing, made[1], passage]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma3_text", "mamba"])
@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_targets_anywhere(tiny_base: TinyBase, conversations: list[TokenSequence], family: str, budget: int) -> None:
    network = tiny_base(family).network
    seen: list[Progress] = []
    for some in (conversations, conversations[:3], conversations[:1]):
        wanted = target_sums(network, some)
        found = target_log_probabilities(
            TreeRunner(network),
            some,
            budget=budget,
            observers=[seen.append],  # type: ignore[list-item]
            title="loss",
        )
        assert [tokens for _, tokens in found] == [tokens for _, tokens in wanted]
        np.testing.assert_allclose([total for total, _ in found], [total for total, _ in wanted], atol=1e-4)
    assert seen[-1] == Progress(label="loss", done=1, total=1)


def test_no_targets_at_all(tiny_base: TinyBase, conversations: list[TokenSequence]) -> None:
    runner = TreeRunner(tiny_base("llama").network)
    assert target_log_probabilities(runner, [], budget=10) == []
    assert target_log_probabilities(runner, [conversations[3]], budget=10) == [(0.0, 0)]
