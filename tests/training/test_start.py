"""A solved head is an answer before any step: training is kept only where it beats it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.events import Notice
from metier.model.adapt import AdaptedModel, adapt_model
from metier.recipe.sections import AdaptationSection, TrainingSection
from metier.training.history import History
from metier.training.objective import HeadObjective
from metier.training.train import train_model

TEXTS = [np.array(ids) for ids in ([2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 3], [2, 5, 3], [2, 11, 3], [2, 6, 7, 3])]
CLASSES = [0, 1, 0, 1, 0, 1]


def train(base: Any, folder: Path, scores: list[float], said: list[Any]) -> tuple[AdaptedModel, History]:
    """Three epochs of one step each; the scripted scores are the validations, the first before any step."""
    model = adapt_model(AdaptationSection(method="full"), base, seed=1, labels=("a", "b"))
    assert model.head is not None
    objective = HeadObjective(model.network, "encoder", model.head, TEXTS, CLASSES, [1.0] * len(TEXTS))
    script: Iterator[float] = iter(scores)
    section = TrainingSection(num_train_epochs=3, per_device_train_batch_size=6, learning_rate=1e-3)
    history = train_model(
        section, model, objective, seed=3, folder=folder, validate=lambda: {"macro_f1": next(script)},
        observers=[said.append],
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize(
    ("scores", "best"), [([0.9, 0.5, 0.4, 0.3], 0), ([0.5, 0.5, 0.4, 0.3], 0), ([0.2, 0.3, 0.6, 0.5], 2)]
)
def test_the_start_is_kept_unless_a_step_beats_it(
    tiny_base: Callable[..., Any], tmp_path: Path, scores: list[float], best: int
) -> None:
    said: list[Any] = []
    start = adapt_model(AdaptationSection(method="full"), tiny_base("bert"), seed=1, labels=("a", "b")).state()
    model, history = train(tiny_base("bert"), tmp_path / "training", scores, said)
    assert history.best_step == best
    assert [row.step for row in history.validations][:2] == [0, 1]
    told = [event.message for event in said if isinstance(event, Notice)]
    assert any("No step was better on validation than the solved head" in message for message in told) == (best == 0)
    same = all(torch.equal(value, start[name]) for name, value in model.state().items())
    assert same == (best == 0)


def test_the_start_is_judged_once_however_often_training_is_resumed(
    tiny_base: Callable[..., Any], tmp_path: Path
) -> None:
    folder, said = tmp_path / "training", []
    with pytest.raises(RuntimeError, match="killed"):
        _killed(tiny_base("bert"), folder, said)
    _, history = train(tiny_base("bert"), folder, [0.3, 0.6, 0.5], said)
    assert [row.step for row in history.validations] == [0, 1, 2, 3]
    assert history.best_step == 2


def _killed(base: Any, folder: Path, said: list[Any]) -> None:
    """The start is judged and saved, then the first validation after a step dies."""
    try:
        train(base, folder, [0.2], said)
    except StopIteration as end:
        raise RuntimeError("killed") from end
