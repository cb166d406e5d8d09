"""A whole recipe on tiny random models and made-up support mail, and homes with their own cache and ledger."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from metier.events import Event, Notice, StageFinished
from metier.recipe.load import recipe_from_values
from metier.run import RunResult, run_recipe
from metier.store.run_folder import RunFolder

WORDS = {
    "refund": ("refund", "money", "back", "paid"),
    "card": ("card", "declined", "shop", "bank"),
    "login": ("login", "password", "account", "404"),
}
FILLERS = ("the", "customer", "asks", "for", "where", "is", "my", "please", "order", "hello", "world")


@dataclass
class Ran:
    """A finished call of `run_recipe`: what it gave and everything that it said."""

    result: RunResult
    events: list[Event]

    @property
    def folder(self) -> RunFolder:
        return self.result.folder

    @property
    def reused(self) -> dict[str, str]:
        """Stages whose earlier result was taken, and where from."""
        return {e.stage: e.detail for e in self.events if isinstance(e, StageFinished) and e.reused}

    @property
    def done(self) -> list[str]:
        """Stages that were computed."""
        return [e.stage for e in self.events if isinstance(e, StageFinished) and not e.reused]

    @property
    def notices(self) -> str:
        return "\n".join(e.message for e in self.events if isinstance(e, Notice))


@dataclass
class Home:
    """A user with data, a cache and a ledger of test-set openings."""

    folder: Path
    values: Mapping[str, Any]
    """The recipe before changes."""
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "METIER_CACHE": str(self.folder / "cache"), "METIER_STATE": str(self.folder / "state"),
        }  # fmt: skip

    def run(self, name: str = "run", *, observer: Callable[[Event], None] | None = None, **changes: Any) -> Ran:
        """Run the recipe with these sections merged in; `until`, `resume` and `cluster` go to `run_recipe`."""
        options = {key: changes.pop(key) for key in ("until", "resume", "cluster") if key in changes}
        events: list[Event] = []
        observers = [events.append, *([observer] if observer else [])]
        recipe = recipe_from_values(_merged(self.values, changes), base=self.folder, where="recipe.yaml")
        with mock.patch.dict(os.environ, self.environment):
            result = run_recipe(recipe, output=self.folder / "runs" / name, observers=observers, **options)
        return Ran(result, events)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, dict) and isinstance(merged.get(key), dict) and key != "candidates"
        merged[key] = {**merged[key], **change} if both else change
    return merged


def mails(count: int, seed: int = 3) -> str:
    """A table of made-up mails: columns `id`, `message`, `intent`."""
    rng = random.Random(seed)
    rows = ["id,message,intent"]
    for number in range(count):
        label = list(WORDS)[number % 3]
        words = [*rng.choices(WORDS[label], k=2), *rng.choices(FILLERS, k=4)]
        rng.shuffle(words)
        rows.append(f"{number},{' '.join(words)} {seed}{number},{label}")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def make_mails() -> Callable[..., str]:
    """`make_mails(count, seed=3)`: the text of a table."""
    return mails


@pytest.fixture(scope="session")
def new_home(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Home]:
    """`new_home()`: the same data and recipe in a fresh folder, with an empty cache and an empty ledger."""
    llama, bert = str(tiny_model("llama")), str(tiny_model("bert"))
    values = {
        "name": "mails",
        "data": {"train": "mails.csv", "text": "message", "label": "intent"},
        "candidates": {
            "words": {"model": llama, "adaptation": {"method": "lora", "layers": "top 1", "r": 4}},
            "encoder": {"model": bert, "adaptation": {"method": "full"}},
        },
        "training": {"num_train_epochs": 2, "per_device_train_batch_size": 8, "save_steps": 4},
        "evaluation": {
            "probe_model": bert, "baseline_model": llama, "few_shot": {"k": [3]}, "selection_examples": 12,
            "resamples": 200,
        },
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip

    def make() -> Home:
        folder = tmp_path_factory.mktemp("home")
        (folder / "mails.csv").write_text(mails(90), encoding="utf-8")
        return Home(folder, values)

    return make


@pytest.fixture(scope="session")
def home(new_home: Callable[..., Home]) -> Home:
    """Where `finished` lies."""
    return new_home()


@pytest.fixture(scope="session")
def finished(home: Home) -> Ran:
    """The whole recipe, run once. Tests only read it, or copy it."""
    return home.run("whole")


@pytest.fixture(scope="session")
def cheap(tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """Changes that make a run last a second: a head on a frozen encoder against two classical baselines."""
    head = {"model": str(tiny_model("bert")), "adaptation": {"method": "head"}}
    return {"candidates": {"head": head}, "evaluation": {"systems": ["majority", "tfidf"]}}
