"""Fixtures of the data room's tests: small files, and preparation of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.recipe.sections import Recipe

WORDS = ["refund", "parcel", "grinder", "invoice", "kettle", "coffee", "address", "password", "box", "filter"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file into a temporary folder: text as UTF-8, or bytes."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., PreparedData]:
    """Prepares data with section fields as keywords."""

    def run(
        *, seed: int = 17, folder: str = "prepared", observers: Any = (), task: str = "classification", **fields: Any
    ) -> PreparedData:
        values = {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}
        section = Recipe.model_validate({"task": task, "data": values}).data
        return prepare_data(section, seed=seed, folder=tmp_path / folder, observers=observers, task=task)

    return run


@pytest.fixture
def rows() -> Callable[..., str]:
    """A CSV of `count` distinct texts and alternating labels."""

    def make(count: int = 40, labels: Iterable[str] = ("order", "refund"), start: int = 0) -> str:
        names = list(labels)
        lines = [f"my {WORDS[i % 10]} number {i} is late,{names[i % len(names)]}" for i in range(start, start + count)]
        return "\n".join(["text,label", *lines]) + "\n"

    return make
