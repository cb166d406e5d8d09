"""What `metier check` says of small data: folds are proposed where they help, and their price is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.planning.retraining import retraining_sentences, rows_judged
from metier.recipe.load import recipe_from_values
from metier.recipe.sections import Recipe


@dataclass(frozen=True)
class Judged:
    """A judgement with nothing but its power."""

    smallest_gain: float | None
    verdict: str = "can pay"
    sentence: str = ""


def _data(place: Path, rows: int, **data: Any) -> PreparedData:
    lines = [f"question {n} of day {n * 3},{'ab'[n % 2]}" for n in range(rows)]
    (place / "t.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    (place / "own.csv").write_text("\n".join(["text,label", *(f"own {n},a" for n in range(20))]) + "\n")
    return prepare_data(_recipe(place, **data).data, seed=17, folder=place / f"data{rows}{len(data)}")


def _recipe(place: Path, evaluation: dict[str, Any] | None = None, **data: Any) -> Recipe:
    values = {
        "data": {"train": "t.csv", "text": "text", "label": "label", **data}, "adaptation": {"method": "full"},
        "model": "minilm", "evaluation": {"systems": ["majority"], **(evaluation or {})},
    }  # fmt: skip
    return recipe_from_values(values, base=place, where="recipe.yaml")


def test_small_data_is_told_what_folds_would_give(tmp_path: Path) -> None:
    data, recipe = _data(tmp_path, 200), _recipe(tmp_path)
    (said,) = retraining_sentences(recipe, data, None, 2)
    rows = sum(map(len, (data.train, data.validation, data.test)))
    assert f"the test set is {len(data.test)} of {rows} rows" in said
    assert f"`evaluation.folds: 5` would make each of {rows} rows a test row once" in said
    assert "13 trainings in place of 2" in said
    assert rows_judged(recipe, data) == len(data.test)


def test_more_data_is_told_so_where_its_test_set_shows_too_little(tmp_path: Path) -> None:
    data, recipe = _data(tmp_path, 1300), _recipe(tmp_path)
    (said,) = retraining_sentences(recipe, data, Judged(0.09), 1)
    assert "can show gains of 0.09 or more, and one of 0.02 would be useful" in said
    assert retraining_sentences(recipe, data, Judged(0.05), 1) == ()
    assert retraining_sentences(recipe, data, None, 1) == ()


def test_a_test_set_of_its_own_is_left_alone(tmp_path: Path) -> None:
    data = _data(tmp_path, 200, test="own.csv")
    assert retraining_sentences(_recipe(tmp_path, test="own.csv"), data, None, 1) == ()


@pytest.mark.parametrize(("asked", "said"), [({"folds": 4}, "6 trainings"), ({"seeds": 5}, "4 more times")])
def test_what_is_asked_for_has_its_price(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    data, recipe = _data(tmp_path, 200), _recipe(tmp_path, asked)
    assert any(said in sentence for sentence in retraining_sentences(recipe, data, None, 1))
    if "folds" in asked:
        assert rows_judged(recipe, data) == sum(map(len, (data.train, data.validation, data.test)))
