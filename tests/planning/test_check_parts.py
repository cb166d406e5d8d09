"""`metier check` of recipes with folds, seeds and heads for several labels: each has its own rows in the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.planning.check import check_recipe
from metier.planning.outlook import Plan
from metier.recipe.sections import Recipe

Make = Callable[..., Recipe]
FIRST = {"systems": ["majority", "tfidf"], "resamples": 200}


def _gauge(recipe: Recipe, train: Sequence[Any], labels: Sequence[str]) -> dict[str, float]:
    return {"tfidf": 2.0, "tagger": 3.0, "dictionary": 1.0, "judging": 0.5, "looks": 0.25}


def _plan(recipe: Recipe) -> Plan:
    plan = check_recipe(recipe, gauge=_gauge, libraries=4.0).plan
    assert plan is not None
    assert plan.seconds == pytest.approx(sum(plan.parts.values()))
    return plan


def test_libraries_judging_looks_and_robustness_have_rows(make_recipe: Make) -> None:
    plan = _plan(make_recipe(evaluation=FIRST))
    assert plan.parts["start"] == 4.0
    assert plan.parts["judging"] > 0 and plan.parts["looks"] > 0 and plan.parts["robustness"] > 0
    assert [stage.seconds for stage in plan.stages if stage.what == "tfidf"] == [2.0]
    without = check_recipe(make_recipe(evaluation=FIRST)).plan
    assert without is not None and not {"start", "judging", "looks"} & set(without.parts), "unknown is never 0"


def test_folds_take_the_place_of_the_test(make_recipe: Make) -> None:
    plain, plan = _plan(make_recipe(evaluation=FIRST)), _plan(make_recipe(evaluation={**FIRST, "folds": 4}))
    assert "test" not in plan.parts and "robustness" not in plan.parts
    # Three in four rows each time, less what is held out, and all rows at the end.
    assert 3 * plain.parts["training"] < plan.parts["folds"] < 20 * plain.parts["training"] + 30
    assert any(stage.what.startswith("4 times tuned: training") for stage in plan.stages)


def test_seeds_train_again(make_recipe: Make) -> None:
    plain, plan = _plan(make_recipe(evaluation=FIRST)), _plan(make_recipe(evaluation={**FIRST, "seeds": 3}))
    assert plan.parts["seeds"] > 2 * plan.parts["training"]
    assert set(plan.parts) - set(plain.parts) == {"seeds"}


def test_a_head_on_features_is_solved(make_recipe: Make, tiny_model: Callable[..., Path]) -> None:
    bert = str(tiny_model("bert"))
    recipe = make_recipe(
        model=bert, adaptation={"method": "head"},
        evaluation={"systems": ["majority", "probe"], "probe_model": bert, "resamples": 200},
    )  # fmt: skip
    plan = _plan(recipe)
    solved = [stage.what for stage in plan.stages if stage.part == "solving"]
    assert solved == ["probe: heads at 2 depths", "solving the head"] and plan.parts["solving"] > 0


@pytest.mark.parametrize("method", ["head", "full"])
def test_heads_for_several_labels_are_planned(method: str, make_texts: Make, tiny_model: Callable[..., Path]) -> None:
    names = ("card", "login", "refund")
    rows = [
        {"text": f"where is order {n} of {n * 7}", "labels": [names[n % 3], *(["slow"] if n % 2 else [])]}
        for n in range(60)
    ]
    bert = str(tiny_model("bert"))
    recipe = make_texts(
        "multilabel", rows, model=bert, adaptation={"method": method},
        evaluation={
            "systems": ["majority", "tfidf", "probe", "zero_shot"], "probe_model": bert,
            "baseline_model": str(tiny_model("llama")), "resamples": 200,
        },
    )  # fmt: skip
    report = check_recipe(recipe, gauge=_gauge, libraries=4.0)
    plan, candidate = report.plan, report.candidates[0]
    assert plan is not None and not report.warnings
    assert candidate.views == () and "for each label whether the text has it" in candidate.trained_part
    said = [stage.what for stage in plan.stages]
    assert "tfidf" in said and any(what.startswith("zero_shot: ") and "answers" in what for what in said)
    assert ("training" in plan.parts) == (method == "full") and plan.parts["solving"] > 0
    assert "text" not in json.dumps(candidate.trained_part.replace("the text", ""))


def test_baselines_of_extraction_are_planned(make_texts: Make) -> None:
    rows = [
        {"text": f"pay {n} euros to Ann", "spans": [{"start": 4, "end": 4 + len(str(n)), "label": "amount"}]}
        for n in range(60)
    ]
    recipe = make_texts(
        "extraction", rows, evaluation={"systems": ["dictionary", "tagger", "zero_shot"], "resamples": 200}
    )
    plan = _plan(recipe)
    assert {stage.what: stage.seconds for stage in plan.stages if stage.what in ("dictionary", "tagger")} == {
        "dictionary": 1.0, "tagger": 3.0,
    }  # fmt: skip
