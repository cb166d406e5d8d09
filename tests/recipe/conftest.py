"""What the recipe tests share: write a recipe into a folder of its own and load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.recipe.load import load_recipe
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a recipe from YAML text; more arguments are overrides."""

    def call(text: str, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, overrides)

    return call
