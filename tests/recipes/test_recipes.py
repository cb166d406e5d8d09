"""Every recipe that travels with the project loads, and prepares its data where that is present."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.locate import locate_files
from metier.data.prepare import load_prepared
from metier.recipe.candidates import resolve_candidates
from metier.recipe.load import load_recipe
from metier.run import run_recipe

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
BUILTIN = sorted((Path(__file__).resolve().parents[2] / "metier" / "recipe" / "builtin").glob("*.yaml"))
EXPECTED = {
    # name: (data set, labels, rows of the test split with these labels, candidates)
    "banking77-quick": ("customer_support/banking77", 12, 480, {"llm"}),
    "banking77-few": ("customer_support/banking77", 77, 3080, {"llm", "encoder", "head"}),
    "abstracts": ("medical/medical_abstracts", 5, 500, {"llm", "encoder", "head"}),
    "clauses": ("legal/cuad_clauses", 26, 314, {"llm", "encoder"}),
    "stance": ("finance/fomc_stance", 3, 454, {"llm", "encoder"}),
}
WRITTEN = {
    # name: (data set, files that are read)
    "bash": ("technical/nl2bash", {"all.nl"}),
    "clinical-notes": ("medical/mts_dialog", {"train.csv", "validation.csv", "test1.csv"}),
    "contracts": ("legal/plain_english_contracts", {"tldrlegal_v1.json", "tosdr_annotated_v1.json"}),
    "medquad": ("medical/medquad", {"train.jsonl", "test.jsonl"}),
    "support-tone": ("customer_support/bitext_responses", {"train.jsonl", "test.jsonl"}),
}
"""Recipes whose answers are written freely."""
LISTS = {
    # name: (data set, task, labels, candidates)
    "personal-data": ("pii/presidio_synth", "extraction", 17, {"tuned"}),
    "constraints": ("general/ifeval", "multilabel", 25, {"head", "encoder"}),
}
"""Recipes whose right answers are lists."""


def test_every_recipe_is_expected_and_every_expected_recipe_is_there() -> None:
    assert {path.stem for path in RECIPES} == set(EXPECTED) | set(WRITTEN) | set(LISTS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_under_its_own_name(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    tasks = {**dict.fromkeys(EXPECTED, "classification"), **dict.fromkeys(WRITTEN, "generation")}
    tasks |= {name: task for name, (_, task, _, _) in LISTS.items()}
    candidates = {name: row[-1] for name, row in {**EXPECTED, **LISTS}.items()}
    assert recipe.task == tasks[path.stem]
    assert set(resolve_candidates(recipe)) == candidates.get(path.stem, {"tuned"})
    data = recipe.data
    for file in (data.train, data.validation, data.test, data.answers):
        assert file is None or file.startswith("${METIER_DATA}/")


@pytest.mark.parametrize("path", BUILTIN, ids=lambda path: path.stem)
def test_builtin_recipe_finds_its_files(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert all(file.is_file() for file in locate_files(recipe.data).all_files())


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_recipe_finds_its_files(name: str, real_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, files = WRITTEN[name]
    monkeypatch.setenv("METIER_DATA", str(real_data(folder).parents[folder.count("/")]))
    assert {path.name for path in locate_files(load_recipe(FOLDER / f"{name}.yaml").data).all_files()} >= files


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem in EXPECTED], ids=lambda path: path.stem)
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
    # Chosen first; then what is nearly a row of validation or test leaves.
    left = next(step.done.get("dropped", 0) for step in data.card.findings if step.step == "leakage")
    assert len(data.train) + left == (asked.max_examples or labels * (asked.examples_per_label or 0))
    assert left < 0.02 * len(data.train)
    assert len(data.test) == min(asked.max_test_examples or test, test)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_recipe_prepares_its_conversations(
    name: str, real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = WRITTEN[name][0]
    monkeypatch.setenv("METIER_DATA", str(real_data(folder).parents[folder.count("/")]))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    data = load_prepared(run_recipe(recipe, output=tmp_path / "run", until="data").folder.data)
    assert 200 <= len(data.train) <= (recipe.data.max_examples or 400)
    assert len(data.test) == (recipe.data.max_test_examples or len(data.test)) >= 70
    assert 20 <= len(data.validation) <= 150


@pytest.mark.parametrize("name", sorted(LISTS))
def test_recipe_prepares_its_lists(
    name: str, real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, task, labels, _ = LISTS[name]
    monkeypatch.setenv("METIER_DATA", str(real_data(folder).parents[folder.count("/")]))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    data = load_prepared(run_recipe(recipe, output=tmp_path / "run", until="data").folder.data)
    assert data.card.task == task and len(data.labels) == labels
    assert 300 <= len(data.train) <= (recipe.data.max_examples or 400)
    assert not {"unreadable spans", "span lost", "empty label"} & set(data.card.rejected)


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
