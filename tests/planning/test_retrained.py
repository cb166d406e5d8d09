"""Folds, seeds and closer looks in a plan: planted counts over planted rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from metier.planning.cost import Learner, Rows, Seconds, fitted_stages, fixed_stage
from metier.planning.looked import counting_stages, robustness_stages
from metier.planning.nominal import nominal_rates
from metier.planning.outlook import StageEstimate
from metier.planning.retrained import Ways, fold_stages, rows_of_fold, seed_stages
from metier.planning.speed import Shape
from metier.recipe.sections import Recipe

ROWS = Rows(train=70, validation=10, test=20)
SHAPE = Shape(
    layers=2, hidden=4, vocabulary=8, block_weights=16, block_cells=8, weight_bytes=64, parameters=64, number_bytes=4
)


@dataclass(frozen=True, kw_only=True)
class Planted(Learner):
    """A second for each row that is trained on, a tenth for each that is answered, a hundredth stored."""

    of: Rows = field(default=ROWS)

    @property
    def rows(self) -> Rows:
        return self.of

    def with_rows(self, rows: Rows) -> Planted:
        return replace(self, of=rows)


def _stage(stage: str, part: str, seconds: float) -> StageEstimate:
    return replace(fixed_stage(stage, part, seconds, part=part), tokens=round(100 * seconds))


def _attempt(learner: Planted) -> Iterator[StageEstimate]:
    rows = learner.of
    yield _stage("attempt tuned", "trunk", 0.01 * (rows.train + rows.validation))
    yield _stage("attempt tuned", "solving", 0.001 * rows.train)
    yield _stage("attempt tuned", "training", 1.0 * rows.train)
    yield _stage("attempt tuned", "validation", 0.1 * rows.validation)


def _ways(names: tuple[str, ...] = ("tuned",)) -> Ways[Planted]:
    learners = [
        Planted(
            name=name, recipe=_recipe(), shape=SHAPE, rates=nominal_rates(SHAPE, 1e9, weights_learn=False), base="x",
            base_bytes=64,
        )
        for name in names
    ]  # fmt: skip
    return Ways(
        candidates=learners, attempt=_attempt, answers=lambda one: _stage("test", "test", 0.1 * one.of.test),
        baselines=lambda rows: [_stage("baselines", "baselines", 0.01 * rows.train)],
    )  # fmt: skip


def _recipe(task: str = "classification", data: Mapping[str, Any] | None = None, **evaluation: Any) -> Recipe:
    values = {"task": task, "data": {"train": "a.csv", **(data or {})}, "evaluation": evaluation}
    return Recipe.model_validate(values)


def test_a_fold_is_a_small_run_of_its_own() -> None:
    fold = rows_of_fold(ROWS, 5, 0.1)
    assert (fold.train, fold.validation, fold.test, fold.every) == (72, 8, 20, 100)


def test_folds_train_each_candidate_as_often_and_once_on_all_rows() -> None:
    recipe = _recipe(folds=5, data={"validation_size": 0.1})
    stages = list(fold_stages(recipe, _ways(), ROWS))
    assert {(stage.stage, stage.part) for stage in stages} == {("folds", "folds")}
    training, stored = 5 * 72 * 1.0 + 100 * 1.0, 0.01 * (30 + 30)
    others = 5 * 0.01 * 72 + 5 * 0.001 * 72 + 5 * 0.1 * 8 + 0.1 * 100
    assert sum(stage.seconds for stage in stages) == pytest.approx(training + stored + others)
    assert any(stage.what == "5 times tuned: training" for stage in stages)
    two = list(fold_stages(recipe, _ways(("one", "two")), ROWS))
    more = sum(stage.seconds for stage in two) - sum(stage.seconds for stage in stages)
    assert more == pytest.approx(5 * 72 + 5 * 0.001 * 72 + 5 * 0.1 * 8 + stored), "all rows are trained on once"


@pytest.mark.parametrize(("seeds", "times"), [(1, 0), (2, 1), (5, 4)])
def test_more_seeds_train_and_answer_again_over_what_is_stored(seeds: int, times: int) -> None:
    stages = list(seed_stages(_recipe(seeds=seeds), _ways(), loading=0.5))
    assert sum(stage.seconds for stage in stages) == pytest.approx(times * (70.0 + 1.0 + 2.0 + 2 * 0.5))
    assert {stage.part for stage in stages} == ({"seeds"} if times else set())


def _ask(records: int, what: str) -> StageEstimate:
    return replace(fixed_stage("robustness", what, 0.1 * records), tokens=records)


@pytest.mark.parametrize(
    ("evaluation", "how", "asked"),
    [
        ({}, "in words", 3 * 20),
        ({"robustness_items": 5}, "in words", 3 * 5),
        ({"robustness": ["typos", "option_order"]}, "in words", 2 * 20),
        ({"robustness": ["typos", "option_order"]}, "with a head", 20),
        ({"robustness": []}, "in words", 0),
        ({"folds": 5}, "in words", 0),
        ({"split": "validation"}, "in words", 3 * 10),
    ],
)
def test_records_are_asked_again_for_each_change(evaluation: dict[str, Any], how: Any, asked: int) -> None:
    stages = list(robustness_stages(_recipe(**evaluation), ROWS, how, _ask))
    assert sum(stage.tokens for stage in stages) == asked
    assert all(stage.part == "robustness" for stage in stages)


def test_answers_are_counted_of_every_system_and_set() -> None:
    seconds = Seconds(data=0.0, loading=0.0, tfidf=0.0, gauged={"judging": 0.01, "looks": 0.1})
    recipe = _recipe(systems=["majority", "tfidf"], robustness=[], train_examples=50)
    judging, looks = counting_stages(recipe, ROWS, 1, seconds)
    # Two baselines on 10 validation and 20 test records; the candidate on 10; the promoted one on 20 and 50 of train.
    assert judging.seconds == pytest.approx(0.01 * (2 * 30 + 10 + 20 + 50)) and judging.part == "judging"
    assert looks.seconds == pytest.approx(0.1 * 20) and looks.part == "looks"
    assert not list(counting_stages(recipe, ROWS, 1, Seconds(data=0.0, loading=0.0, tfidf=0.0))), "unknown is no zero"
    assert not list(counting_stages(_recipe(folds=5), ROWS, 1, seconds))


def test_baselines_without_a_model_take_what_was_measured() -> None:
    recipe = _recipe(task="extraction", systems=["dictionary", "tagger"])
    gauged = {"dictionary": 1.5, "tagger": 4.0, "judging": 0.1}
    stages = fitted_stages(recipe, Seconds(data=0.0, loading=0.0, tfidf=9.0, gauged=gauged))
    assert {stage.what: stage.seconds for stage in stages} == {"dictionary": 1.5, "tagger": 4.0}
    assert {stage.part for stage in stages} == {"baselines"}
