"""Losses and weights by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_sample_weight

from metier.engine.forward import TreeRunner, plain_logits
from metier.engine.tree import TokenSequence
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.errors import DataError
from metier.training.objective import HeadObjective, LanguageObjective, class_weights


@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_a_weighted_loss_of_tokens(tiny_base: Callable[..., Any], sequences: list[TokenSequence], budget: int) -> None:
    network = tiny_base("llama").network
    weights = [0.5 + number for number in range(10)]
    objective = LanguageObjective(TreeRunner(network), [(each,) for each in sequences], weights)
    numbers = [7, 2, 2, 9]
    by_hand, weight, targets = 0.0, 0.0, 0
    for number in numbers:
        sequence = sequences[number]
        wanted = torch.from_numpy(sequence.ids[sequence.targets])
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(plain_logits(network, [sequence]), wanted, reduction="none")
        by_hand += weights[number] * float(losses.sum())
        weight, targets = weight + weights[number] * len(wanted), targets + len(wanted)
    with torch.no_grad():
        parts = list(objective.parts(numbers, budget))
    assert sum(float(part.loss) for part in parts) == pytest.approx(by_hand, rel=1e-5)
    assert objective.weight(numbers) == pytest.approx(weight) and objective.targets(numbers) == targets
    assert sum(part.logical for part in parts) == sum(len(sequences[number].inputs) for number in numbers)
    assert (len(parts) == 1) == (budget == 10_000)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("budget", [1, 10, 10_000])
def test_a_weighted_loss_of_classes(tiny_base: Callable[..., Any], kind: str, budget: int) -> None:
    base = tiny_base(kind)
    head = torch.nn.Linear(32, 3)
    texts = [np.array(ids) for ids in ([2, 9, 3], [2, 9, 10, 11, 3], [2, 3], [2, 12, 3])]
    classes, weights, numbers = [0, 2, 1, 1], [1.0, 2.0, 0.5, 3.0], [3, 1, 0]
    by_hand = 0.0
    with torch.no_grad():
        for number in numbers:
            states = base.network.base_model(input_ids=torch.from_numpy(texts[number])[None]).last_hidden_state[0]
            scores = head(states.mean(0) if kind == "bert" else states[-1])
            by_hand += weights[number] * float(-torch.log_softmax(scores, 0)[classes[number]])
        objective = HeadObjective(base.network, base.kind, head, texts, classes, weights)
        parts = list(objective.parts(numbers, budget))
    assert sum(float(part.loss) for part in parts) == pytest.approx(by_hand, rel=1e-5)
    assert objective.weight(numbers) == 6.0 and objective.targets(numbers) == 3 and len(objective) == 4


@pytest.mark.parametrize("kind", ["bert", "llama", "mamba"])
def test_a_loss_of_classes_over_a_stored_trunk(tiny_base: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    base = tiny_base(kind)
    texts = [np.array(ids) for ids in ([2, 9, 3], [2, 9, 10, 11, 3], [2, 3], [2, 12, 3])]
    identity = TrunkIdentity(weights_sha256="w", depth=1, dtype="float32", causal=base.kind == "decoder")
    trunk = TrunkCache(tmp_path, identity)
    trunk.build(base.network, [TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_)) for ids in texts])
    head = torch.nn.Linear(32, 3)
    losses = []
    for stored in (None, trunk):
        objective = HeadObjective(base.network, base.kind, head, texts, [0, 2, 1, 1], [1.0] * 4, trunk=stored)
        with torch.no_grad():
            losses.append(sum(float(part.loss) for part in objective.parts([0, 1, 2, 3], 12)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


LABELS = ["a", "b", "a", "a", "c", "b"]


def test_no_weights() -> None:
    assert class_weights("none", LABELS) == [1.0] * 6


def test_balanced_is_scikit_learns() -> None:
    assert class_weights("balanced", LABELS) == pytest.approx(compute_sample_weight("balanced", LABELS))
    assert class_weights("balanced", LABELS) == pytest.approx([6 / 9, 6 / 6, 6 / 9, 6 / 9, 6 / 3, 6 / 6])


def test_given_weights_and_a_missing_one() -> None:
    assert class_weights({"a": 1.0, "b": 2.0, "c": 5.0}, LABELS) == [1.0, 2.0, 1.0, 1.0, 5.0, 2.0]
    with pytest.raises(DataError, match=r"^training\.class_weights: has no weight for 'b', 'c', wanted one a label\.$"):
        class_weights({"a": 1.0}, LABELS)
    with pytest.raises(DataError, match=r"class_weights: is not above 0 for 'b', wanted weights above 0\."):
        class_weights({"a": 1.0, "b": 0.0, "c": 1.0}, LABELS)
