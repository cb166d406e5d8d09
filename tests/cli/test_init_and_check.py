"""`metier init` and `metier check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.cli.demo import ACTS, BUILTIN

DEMO_RECIPE = BUILTIN / ACTS["sort"]

ROWS = [("Where is my parcel?", "order_status"), ("I want my money back", "refund"), ("It is broken", "damaged")]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table of texts and labels."""
    rows = [f"{text} ({number}),{label}" for number in range(20) for text, label in ROWS]
    path = tmp_path / "tickets.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_init_writes_a_recipe_that_loads_and_says_what_it_saw(
    table: Path, tmp_path: Path, metier: Callable[..., Any]
) -> None:
    outcome = metier("init", table, "--output", tmp_path / "recipe.yaml")
    assert outcome.code == 0
    assert "tickets.csv: 60 rows" in outcome.err
    assert "Task: classification of 3 labels." in outcome.err
    assert f"Next: metier check {tmp_path / 'recipe.yaml'}" in outcome.out
    resolved = metier("check", tmp_path / "recipe.yaml", "--resolved")
    assert resolved.code == 0
    assert yaml.safe_load(resolved.out)["data"]["label"] == "label"


def test_init_never_overwrites(table: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("mine", encoding="utf-8")
    outcome = metier("init", table, "-o", recipe)
    assert outcome.code == 2
    assert "exists already, and metier never overwrites a recipe. Choose another name with --output." in outcome.err
    assert recipe.read_text(encoding="utf-8") == "mine"


def test_init_of_nothing(tmp_path: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("init", tmp_path / "none.csv", "-o", tmp_path / "recipe.yaml")
    assert outcome.code == 2
    assert "does not exist" in outcome.err
    assert not (tmp_path / "recipe.yaml").exists()


@pytest.mark.parametrize(
    "setting", [["--set", "training.max_steps=5"], ["--training.max_steps", "5"], ["--training.max-steps=5"]]
)
def test_settings_reach_the_recipe(setting: list[str], metier: Callable[..., Any]) -> None:
    outcome = metier("check", DEMO_RECIPE, "--resolved", *setting)
    assert yaml.safe_load(outcome.out)["training"]["max_steps"] == 5


def test_a_wrong_recipe_reports_every_fault(tmp_path: Path, metier: Callable[..., Any]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("version: 1\ndata: {train: a.csv}\ntraining: {max_step: 5}\nmodle: x\n", encoding="utf-8")
    outcome = metier("check", recipe, "--resolved", "--json")
    assert outcome.code == 2
    assert "max_steps" in outcome.err
    assert len(json.loads(outcome.out)["faults"]) == 2


def test_the_schema_is_json_schema(metier: Callable[..., Any]) -> None:
    schema = json.loads(metier("check", "--schema").out)
    assert {"data", "training", "candidates"} <= schema["properties"].keys()


def test_the_demo_recipe_names_files_that_are_there() -> None:
    from metier.data.locate import locate_files
    from metier.recipe.candidates import resolve_candidates
    from metier.recipe.load import load_recipe

    recipe = load_recipe(DEMO_RECIPE)
    located = locate_files(recipe.data)
    assert [path.name for path in located.all_files()] == ["train.csv", "test.csv"]
    assert list(resolve_candidates(recipe)) == ["llm", "encoder"]
