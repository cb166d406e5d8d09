"""A recipe on tiny random models and a small table with broken, empty and repeated rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.recipe.load import recipe_from_values
from metier.recipe.sections import Recipe

LABELS = {"refund": "give me my money back", "card": "my card was declined", "login": "I can't log in"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """60 usable rows, then an empty one, a repeated one and a broken one."""
    rows = [f"{words} please number {number},{label}" for number in range(20) for label, words in LABELS.items()]
    rows += [",refund", rows[0], "too,many,fields"]
    path = tmp_path / "mails.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def make_recipe(table: Path, tiny_model: Callable[..., Path]) -> Callable[..., Recipe]:
    """`make_recipe(**sections)`: LoRA on a tiny llama, or what the sections say."""

    def make(**sections: Any) -> Recipe:
        values = {
            "name": "mails",
            "model": str(tiny_model("llama")),
            "data": {"train": str(table), "text": "text", "label": "label"},
            "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
            "training": {"num_train_epochs": 2, "per_device_train_batch_size": 8},
            "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200},
            "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
        }
        return recipe_from_values({**values, **sections}, base=table.parent, where="recipe.yaml")

    return make


@pytest.fixture
def make_texts(tmp_path: Path, tiny_model: Callable[..., Path]) -> Callable[..., Recipe]:
    """`make_texts(task, rows, **sections)`: a recipe of a task that writes or reads, on rows as JSON lines."""

    def make(task: str, rows: Sequence[Mapping[str, Any]], **sections: Any) -> Recipe:
        path = tmp_path / "talks.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        systems = ["zero_shot"] if task == "text" else ["copy_input", "nearest_answer", "zero_shot", "few_shot"]
        values: dict[str, Any] = {
            "name": "talks",
            "task": task,
            "model": str(tiny_model("llama")),
            "data": {"train": str(path)},
            "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
            "training": {"num_train_epochs": 2, "max_length": 128},
            "evaluation": {"systems": systems, "resamples": 200},
            "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
        }
        return recipe_from_values({**values, **sections}, base=tmp_path, where="recipe.yaml")

    return make


@pytest.fixture
def questions() -> list[dict[str, str]]:
    """60 questions and their answers."""
    asked = ("where is my order", "my card was declined", "I can't log in")
    return [
        {"question": f"{asked[n % 3]} number {n}", "answer": f"order {n} is {'really ' * (n % 4)}at the shop"}
        for n in range(60)
    ]
