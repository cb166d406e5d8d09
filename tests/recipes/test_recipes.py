"""Every recipe that travels with the project loads, and prepares its data where that is present."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.prepare import load_prepared
from metier.recipe.candidates import resolve_candidates
from metier.recipe.load import load_recipe
from metier.run import run_recipe

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
EXPECTED = {
    # name: (data set, labels, rows of its test file with these labels, candidates)
    "banking77-quick": ("customer_support/banking77", 12, 480, {"llm"}),
    "banking77-few": ("customer_support/banking77", 77, 3080, {"llm", "encoder", "head"}),
    "abstracts": ("medical/medical_abstracts", 5, 500, {"llm", "encoder", "head"}),
}


def test_every_recipe_is_expected_and_every_expected_recipe_is_there() -> None:
    assert {path.stem for path in RECIPES} == set(EXPECTED)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_under_its_own_name(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert set(resolve_candidates(recipe)) == EXPECTED[path.stem][-1]
    assert recipe.data.train.startswith("${METIER_DATA}/")
    assert recipe.data.test is not None and recipe.data.test.startswith("${METIER_DATA}/")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_prepares_its_data(
    path: Path, real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, labels, test, _ = EXPECTED[path.stem]
    monkeypatch.setenv("METIER_DATA", str(real_data(name).parents[name.count("/")]))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path)
    data = load_prepared(run_recipe(recipe, output=tmp_path / "run", until="data").folder.data)
    asked = recipe.data
    assert len(data.labels) == labels
    assert len(data.train) == (asked.max_examples or labels * (asked.examples_per_label or 0))
    assert len(data.test) == min(asked.max_test_examples or test, test)


def test_few_becomes_twenty_by_one_setting(
    real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "customer_support/banking77"
    monkeypatch.setenv("METIER_DATA", str(real_data(name).parents[name.count("/")]))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(FOLDER / "banking77-few.yaml", ["data.examples_per_label=20"])
    data = load_prepared(run_recipe(recipe, output=tmp_path / "run", until="data").folder.data)
    assert len(data.train) == 20 * 77


def test_recipes_can_be_copied_elsewhere(tmp_path: Path) -> None:
    """Nothing in them is relative to where they lie."""
    for path in RECIPES:
        copy = Path(shutil.copy(path, tmp_path))
        assert load_recipe(copy) == load_recipe(path)
