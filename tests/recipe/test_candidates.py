"""Candidates are checked and resolved, each into a recipe of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.errors import RecipeError
from metier.recipe.candidates import resolve_candidates
from metier.recipe.sections import DataSection, Recipe

Load = Callable[..., Recipe]

THREE = """
data: {train: a.csv}
seed: 3
adaptation: {r: 8, layers: top 4}
training: {num_train_epochs: 2, learning_rate: 1e-3}
candidates:
  llm:     {model: smollm2-135m, training: {learning_rate: 1e-4}, seed: 5}
  encoder: {model: minilm, adaptation: {method: full}}
  probe:   {model: {name: minilm}, adaptation: {method: head}}
"""


def test_without_a_list_there_is_one(load: Load) -> None:
    recipe = load("data: {train: a.csv}")
    assert resolve_candidates(recipe) == {"tuned": recipe}


def test_overrides_replace_fields_and_the_rest_is_shared(load: Load) -> None:
    ways = resolve_candidates(load(THREE))
    assert list(ways) == ["llm", "encoder", "probe"]
    llm = ways["llm"]
    assert (llm.model.name, llm.training.learning_rate, llm.training.num_train_epochs) == ("smollm2-135m", 1e-4, 2)
    assert (llm.adaptation.r, llm.adaptation.layers, llm.seed) == (8, "top 4", 5)
    assert (ways["probe"].model.name, ways["probe"].seed) == ("minilm", 3)
    assert all(way.candidates == {} and way.data == llm.data for way in ways.values())


def test_a_candidates_system_prompt_is_read_from_its_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "kind.txt").write_text("Be kind.\n", encoding="utf-8")
    text = "task: chat\ndata: {train: a}\nprompt: {system: Be brief.}\ncandidates:\n  kind: {prompt: {system_file: %s}}"
    ways = resolve_candidates(load(f"{text % 'kind.txt'}\n  brief: {{seed: 3}}"))
    assert (ways["kind"].prompt.system, ways["brief"].prompt.system) == ("Be kind.", "Be brief.")
    with pytest.raises(RecipeError, match=r"candidates\.kind\.prompt\.system_file: .*does not exist"):
        load(text % "gone.txt")


def test_options_that_the_method_does_not_read_are_left_behind(load: Load) -> None:
    encoder = resolve_candidates(load(THREE))["encoder"]
    assert (encoder.adaptation.method, encoder.adaptation.r, encoder.adaptation.layers) == ("full", 16, "all")
    assert "r" not in encoder.adaptation.model_fields_set


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (
            "{a: {data: {train: b}}}",
            r"candidates\.a\.data .*: cannot differ between candidates, wanted one of model, pro",
        ),
        ("{a: {evaluation: {}}}", r"Everything else is shared, so that candidates can be compared"),
        ("{a: {trainin: {}}}", r"candidates\.a\.trainin .*: is no field of the recipe\. Did you mean `training`"),
        ("{a: {lora_r: 3}}", r"candidates\.a\.lora_r .*It is called `adaptation\.r` here"),
        ("{a: {training: {lr: 1}}}", r"candidates\.a\.training\.lr .*It is called `training\.learning_rate` here"),
        (
            "{a: {training: {learning_rate: x}}}",
            r"candidates\.a\.training\.learning_rate \(line 2\): is 'x', wanted a num",
        ),
        ("{a: {adaptation: lora}}", r"candidates\.a\.adaptation .*: is 'lora', wanted a mapping of fields"),
        ("{a b: {}}", r"candidates\.a b .*: has the name 'a b', wanted up to 64 letters"),
        ("{a: {}, b: {model: smollm2-135m}}", r"candidates\.b .*: is the same as `a`\. Remove one of them"),
        (
            "{a: {adaptation: {method: head, r: 4}}}",
            r"candidates\.a\.adaptation\.r .*: has no effect with `method: head`",
        ),
        (
            "{a: {adaptation: {layers: top 0}}}",
            r"candidates\.a\.adaptation\.layers .*: is 'top 0', wanted `all`, `auto`, `top N`",
        ),
        ("{a: {adaptation: {method: freeze}}}", r"candidates\.a\.adaptation\.method .*: is freeze with `layers: all`"),
    ],
)
def test_a_candidate_is_checked_like_the_recipe(load: Load, candidates: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(f"data: {{train: a}}\ncandidates: {candidates}")
    assert len(caught.value.faults) == 1


def test_a_fault_that_all_inherit_is_reported_once(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"\n  - adaptation\.layers \(line 2\): is 'lowest'") as caught:
        load("data: {train: a}\nadaptation: {layers: lowest}\ncandidates: {a: {seed: 1}, b: {seed: 2}}")
    assert len(caught.value.faults) == 1


def test_an_option_that_no_candidate_reads_is_a_fault(load: Load) -> None:
    text = "data: {train: a}\nadaptation: {r: 4}\ncandidates: {a: {adaptation: {method: head}}"
    with pytest.raises(RecipeError, match=r"\n  - adaptation\.r \(line 2\): has no effect with `method: head`"):
        load(text + "}")
    assert load(text + ", b: {}}").adaptation.r == 4


def test_an_option_may_serve_a_candidate_with_another_method(load: Load) -> None:
    recipe = load(
        "data: {train: a}\nadaptation: {method: full, r: 4}\ncandidates: {a: {}, b: {adaptation: {method: lora}}}"
    )
    ways = resolve_candidates(recipe)
    assert (ways["a"].adaptation.r, ways["b"].adaptation.r) == (16, 4)


def test_a_recipe_made_in_python_is_checked_when_it_is_resolved() -> None:
    data = DataSection(train="a")
    assert resolve_candidates(Recipe(data=data, candidates={"a": {"model": "minilm"}}))["a"].model.name == "minilm"
    with pytest.raises(RecipeError, match=r"candidates: has 1 fault\.\n  - candidates\.a\.seed: is 'x'"):
        resolve_candidates(Recipe(data=data, candidates={"a": {"seed": "x"}}))
