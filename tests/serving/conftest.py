"""Finished runs on tiny random models: one that answers in words, one with a head."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from metier.recipe.load import recipe_from_values
from metier.run import run_recipe
from metier.store.run_folder import RunFolder

WORDS = {"refund": "give me my money back", "card": "my card was declined", "login": "I can't log in"}


@pytest.fixture(scope="session")
def make_run(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """`make_run(kind)`: a finished run of a tiny llama or bert; made once, only to be read."""
    made: dict[str, RunFolder] = {}

    def make(kind: str) -> RunFolder:
        if kind not in made:
            made[kind] = _run(kind, tiny_model(kind), tmp_path_factory.mktemp(f"run-{kind}"))
        return made[kind]

    return make


def _run(kind: str, model: Path, home: Path) -> RunFolder:
    rows = [f"{number},{words} number {number},{label}" for number in range(16) for label, words in WORDS.items()]
    (home / "mails.csv").write_text("\n".join(["key,message,intent", *rows]) + "\n", encoding="utf-8")
    method = {"method": "lora", "r": 4} if kind == "llama" else {"method": "full"}
    values = {
        "name": "mails",
        "model": str(model),
        "data": {"train": "mails.csv", "text": "message", "label": "intent"},
        "adaptation": {**method, "layers": "top 1"} if kind == "llama" else method,
        "training": {"num_train_epochs": 1, "per_device_train_batch_size": 8},
        "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200, "selection_examples": 6},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }
    environment = {"METIER_CACHE": str(home / "cache"), "METIER_STATE": str(home / "state")}
    with mock.patch.dict(os.environ, environment):
        recipe = recipe_from_values(values, base=home, where="recipe.yaml")
        return run_recipe(recipe, output=home / "run").folder
