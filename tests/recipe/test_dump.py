"""A dumped recipe is the same recipe; its hash is what makes the run; its schema is what editors use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.errors import RecipeError
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import dump_recipe, recipe_hash, recipe_schema
from metier.recipe.load import load_recipe, recipe_from_values
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]
WORD = st.text(max_size=6) | st.sampled_from(
    ["yes", "no", "1e-4", "0o7", "007", "null", "~", "1_000", "2020-01-01", "12:30:00", "=", "<<", "- a", "a: b", "# x",
     "é\n", "\x85", "\u2028", "\ufeff", "'", '"', "\\", "true", "0x1F", ".inf", " x ", "", "!!str", "&a", "*a", "${X}"]
)  # fmt: skip
TEXT = WORD.filter(lambda word: all(not 0xD800 <= ord(letter) < 0xE000 for letter in word))
NUMBER = st.floats(1e-12, 1e6)
ADAPTATION = st.one_of(
    st.fixed_dictionaries(
        {"method": st.just("lora")},
        optional={"r": st.integers(1, 99), "lora_alpha": NUMBER, "layers": st.just("top 3"), "use_dora": st.booleans()},
    ),
    st.fixed_dictionaries({"method": st.just("full")}, optional={"head": st.booleans()}),
    st.just({"method": "head"}),
    st.fixed_dictionaries({"method": st.just("freeze"), "layers": st.just("top 2") | st.just(["*.1.*"])}),
)
WAY = st.fixed_dictionaries(
    {},
    optional={
        "model": TEXT.filter(bool) | st.fixed_dictionaries({"name": TEXT, "revision": st.none() | TEXT}),
        "adaptation": ADAPTATION,
        "training": st.fixed_dictionaries({}, optional={"learning_rate": NUMBER, "max_steps": st.integers(50, 99)}),
        "seed": st.integers(0, 2**31 - 1),
        "prompt": st.fixed_dictionaries({}, optional={"instruction": st.none() | TEXT}),
    },
)
RECIPE = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries(
        {"train": TEXT},
        optional={"label_names": st.dictionaries(TEXT, TEXT, max_size=3), "ignore_labels": st.lists(TEXT, max_size=3),
                  "test_size": st.floats(0.01, 0.99), "encoding": st.none() | TEXT},
    )},
    optional={
        "candidates": st.dictionaries(st.sampled_from(["a", "b-1", "on", "1e5", "0"]), WAY, max_size=3),
        "adaptation": ADAPTATION,
        "card": st.fixed_dictionaries({}, optional={"author": st.none() | TEXT, "language": st.lists(TEXT)}),
        "training": st.fixed_dictionaries({}, optional={"class_weights": st.dictionaries(TEXT, NUMBER, max_size=2)}),
        "gates": st.just({"minimum": {"macro_f1": 0.5}}),
    },
)  # fmt: skip


@settings(max_examples=150)
@given(RECIPE)
def test_a_dumped_recipe_loads_back_equal(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    try:
        recipe = recipe_from_values(values, base=Path("/somewhere"), where="values")
    except RecipeError:
        return
    path = tmp_path_factory.mktemp("dump") / "recipe.yaml"
    path.write_bytes(dump_recipe(recipe).encode("utf-8"))
    again = load_recipe(path)
    assert again == recipe
    assert recipe_hash(again) == recipe_hash(recipe)
    assert dump_recipe(again) == dump_recipe(recipe)
    assert resolve_candidates(again) == resolve_candidates(recipe)


def test_most_generated_recipes_are_valid(tmp_path: Path) -> None:
    # Guards the property above against passing because everything was refused.
    values = {"data": {"train": "a", "label_names": {"yes": "no"}}, "candidates": {"on": {"model": "1e-4"}}}
    recipe = recipe_from_values(values, base=tmp_path, where="values")
    assert recipe.candidates == {"on": {"model": {"name": "1e-4"}}}


def test_every_candidate_dumps_and_loads(load: Load, tmp_path: Path) -> None:
    recipe = load("data: {train: a}\nadaptation: {r: 4}\ncandidates: {a: {adaptation: {method: head}}, b: {seed: 1}}")
    for way in resolve_candidates(recipe).values():
        path = tmp_path / "way.yaml"
        path.write_text(dump_recipe(way))
        assert load_recipe(path) == way


def test_a_dump_is_resolved_and_without_comments(load: Load) -> None:
    text = dump_recipe(load("# mine\ndata: {train: '${DATA}/a.csv', label_names: {0: no}}\nadaptation: {method: head}"))
    assert "#" not in text
    assert "train: ${DATA}/a.csv" in text
    assert "num_train_epochs: 3.0" in text
    assert "lora_alpha" not in text
    assert "candidates" not in text


def test_other_yaml_readers_see_the_same_values(load: Load) -> None:
    recipe = load("data: {train: a, label_names: {no: 1e-4, 1: yes}}\ntraining: {learning_rate: 1e-5}")
    values = yaml.safe_load(dump_recipe(recipe))
    assert values["data"]["label_names"] == {"no": "1e-4", "1": "yes"}
    assert values["training"]["learning_rate"] == 1e-5


def test_the_hash_is_what_makes_the_run(load: Load) -> None:
    base = "data: {train: a}\n"
    same = ["", "output: {dir: elsewhere}", "report: {examples: false}", "seed: 17", "model: smollm2-135m", "# x"]
    other = ["seed: 18", "training: {learning_rate: 1e-4}", "candidates: {a: {}}", "model: minilm"]
    assert len({recipe_hash(load(base + text)) for text in same}) == 1
    assert len({recipe_hash(load(base + text)) for text in ["", *other]}) == 1 + len(other)
    assert len(recipe_hash(load(base))) == 64


def test_the_schema_is_json_and_knows_short_forms() -> None:
    schema = recipe_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["properties"]["model"]["anyOf"][0]["type"] == "string"
    assert schema["properties"]["task"]["enum"] == ["classification"]
    assert set(schema["properties"]["candidates"]["additionalProperties"]["properties"]) == {
        "model", "prompt", "adaptation", "training", "seed",
    }  # fmt: skip
    assert "Peak learning rate" in schema["$defs"]["TrainingSection"]["properties"]["learning_rate"]["description"]
    assert schema["required"] == ["data"]
    assert schema["additionalProperties"] is False
