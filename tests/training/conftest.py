"""A tiny training: a random model, a few sequences, and everything that `train_model` wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence
from metier.model.adapt import AdaptedModel, adapt_model
from metier.recipe.sections import AdaptationSection, TrainingSection
from metier.training.history import History
from metier.training.objective import LanguageObjective
from metier.training.train import train_model


@pytest.fixture(scope="session")
def sequences() -> list[TokenSequence]:
    """Ten sequences with a shared beginning and answers of one to three tokens."""
    rng = np.random.default_rng(0)
    start = rng.integers(3, 250, 7)
    rows = []
    for number in range(10):
        prompt = np.concatenate([start, rng.integers(3, 250, 2 + number % 4)])
        rows.append(TokenSequence.of(prompt.tolist(), rng.integers(3, 250, 1 + number % 3).tolist()))
    return rows


@dataclass
class Trained:
    """A finished training: what came out."""

    model: AdaptedModel
    history: History
    folder: Path

    @property
    def facts(self) -> History:
        """The history without its clock."""
        steps = tuple(replace(row, seconds=0.0) for row in self.history.steps)
        return replace(self.history, steps=steps, seconds=0.0)

    @property
    def losses(self) -> list[float]:
        """Loss of every step."""
        return [row.loss for row in self.history.steps]

    def same_weights(self, other: Trained) -> bool:
        """Whether both learned the same, bit for bit."""
        mine, its = self.model.state(), other.model.state()
        return set(mine) == set(its) and all(torch.equal(mine[name], its[name]) for name in mine)


@dataclass
class Setting:
    """Makes trainings that differ in what a test says."""

    load: Callable[..., Any]
    sequences: list[TokenSequence]
    place: Path

    def model(self, kind: str = "llama", **section: Any) -> AdaptedModel:
        """An adapted tiny model, always the same."""
        settings = {"method": "lora", "r": 4, **section}
        return adapt_model(AdaptationSection(**settings), self.load(kind), seed=3)

    def train(
        self,
        folder: str = "training",
        *,
        scores: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        observers: Sequence[Any] = (),
        adaptation: Mapping[str, Any] | None = None,
        objective: Callable[[AdaptedModel], Any] | None = None,
        **section: Any,
    ) -> Trained:
        """Train. `scores` are what validation after 1, 2, … steps says; without them there is none."""
        model = self.model(**(adaptation or {}))
        settings = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01, **section}
        examples = [(each,) for each in self.sequences]
        weighted = LanguageObjective(TreeRunner(model.network), examples, weights or [1.0] * len(examples))
        steps: list[int] = []

        def watch(event: Any) -> None:
            if type(event).__name__ == "StepEnded":
                steps.append(event.step)

        def validate() -> Mapping[str, float]:
            assert scores is not None
            return {"macro_f1": scores[steps[-1] - 1], "loss": 1.0}

        history = train_model(
            TrainingSection(**settings), model, objective(model) if objective else weighted, seed=11,
            folder=self.place / folder, validate=validate if scores is not None else None,
            observers=[watch, *observers],
        )  # fmt: skip
        return Trained(model, history, self.place / folder)


@pytest.fixture
def setting(tiny_base: Callable[..., Any], sequences: list[TokenSequence], tmp_path: Path) -> Setting:
    """`setting.train(...)`."""
    return Setting(tiny_base, sequences, tmp_path)
