"""How `layers: auto` weighs what it measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.depths import pooled_at_depths
from metier.engine.tree import TokenSequence
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection
from metier.stages.layers import block_gradients, deepest_that_keeps, fewest_blocks, right_answers

TinyBase = Callable[..., Any]


@pytest.mark.parametrize(
    ("shares", "depth", "best"),
    [
        ((0.5, 0.9, 0.9, 0.7), 2, 2),
        ((0.5, 0.9, 0.84, 0.7), 2, 1),
        ((0.5, 0.9, 0.82, 0.7), 1, 1),
        ((0.9, 0.5, 0.4, 0.4), 0, 0),
        ((0.3, 0.5, 0.6, 0.9), 2, 3),
        ((0.2, 0.2, 0.2, 0.2), 2, 3),
    ],
    ids=["the deeper of two equals", "nearly", "not quite", "only below", "the last is no trunk", "all guess"],
)
def test_the_deepest_trunk_that_keeps_nearly_all(shares: tuple[float, ...], depth: int, best: int) -> None:
    assert deepest_that_keeps(dict(enumerate(shares)), range(3), 0.2) == (depth, best)


def test_a_classifier_answers_records_that_it_did_not_see() -> None:
    rng = np.random.default_rng(0)
    labels = ["a", "b", "c"] * 20
    centres = {"a": [4.0, 0.0], "b": [0.0, 4.0], "c": [-4.0, -4.0]}
    told = np.array([centres[label] for label in labels]) + rng.normal(size=(60, 2))
    noise = rng.normal(size=(60, 2))
    assert right_answers(told.astype(np.float32), labels).mean() > 0.95
    assert right_answers(noise.astype(np.float32), labels).mean() < 0.6
    alone = right_answers(told[:3].astype(np.float32), ["a", "b", "c"])
    assert alone.tolist() == [0.0, 0.0, 0.0], "a label seen once cannot be answered unseen"


def test_the_fewest_blocks_that_hold_most_of_the_gain() -> None:
    depths = [0, 1, 2, 3]
    assert fewest_blocks([1.0, 1.0, 1.0, 9.0], depths) == 3
    assert fewest_blocks([1.0, 1.0, 1.0, 1.0], depths) == 1
    assert fewest_blocks([9.0, 1.0, 1.0, 1.0], depths) == 0
    assert fewest_blocks([0.0, 0.0, 0.0, 0.0], depths) == 0


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_states_between_the_blocks_are_the_models_own(tiny_base: TinyBase, kind: str) -> None:
    base = tiny_base(kind)
    texts = [np.arange(5, 5 + length) for length in (4, 9, 1)]
    depths = list(range(base.layers + 1))
    mine = pooled_at_depths(base.network, texts, depths, budget=12)
    for number, ids in enumerate(texts):
        with torch.no_grad():
            output = base.network(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True)
        for depth in depths:
            whole = output.hidden_states[depth][0]
            wanted = whole if kind == "bert" or len(ids) == 1 else whole[1:]
            torch.testing.assert_close(torch.from_numpy(mine[depth, number]), wanted.mean(0), rtol=1e-4, atol=1e-5)


def test_a_blocks_gradient_is_that_of_its_adapters(tiny_base: TinyBase) -> None:
    """Two samples that are the same have gradients whose product is their square; blocks have sizes of their own."""
    base = tiny_base("llama")
    model = adapt_model(AdaptationSection(method="lora", layers="all", r=4), base, seed=1)
    examples = [(TokenSequence.of(list(range(5, 15)), [20, 21, number]),) for number in range(30, 34)]
    one, two = (block_gradients(model, examples, budget=budget) for budget in (2048, 16))
    assert len(one) == base.layers and all(float(np.abs(block).sum()) > 0 for block in one)
    for first, second in zip(one, two, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.trainable().values())
