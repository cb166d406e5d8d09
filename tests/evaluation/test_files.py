"""The evaluation folder: what is written comes back, and damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metier.errors import ArgumentError, RunFolderError
from metier.evaluation.compare import compare
from metier.evaluation.files import (
    read_comparison,
    read_evaluations,
    read_overfitting,
    write_comparison,
    write_evaluation,
    write_overfitting,
)
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Evaluation
from metier.recipe.sections import EvaluationSection, GatesSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]


@pytest.fixture
def pair(make_paired: Paired) -> tuple[Evaluation, Evaluation]:
    tuned, tfidf = make_paired(30, 8, 2, 10)
    items = (replace(tuned.items[0], label_logprobs={"yes": -0.25, "no": -1.5}, flags=("duplicate",)), *tuned.items[1:])
    return replace(tuned, items=items, settings={"rule": "sum", "tried": {"sum": 0.5}}, parameters=7), tfidf


def test_evaluations_come_back_equal(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    for evaluation in pair:
        write_evaluation(evaluation, tmp_path)
    assert read_evaluations(tmp_path) == list(pair)


def test_numbers_are_read_without_items(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    write_evaluation(pair[0], tmp_path)
    (tmp_path / "items-tuned.jsonl").unlink()
    assert read_evaluations(tmp_path, items=False) == [replace(pair[0], items=())]


def test_only_the_wanted_systems_are_read(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    for evaluation in pair:
        write_evaluation(evaluation, tmp_path)
    (tmp_path / "items-tfidf.jsonl").unlink()
    assert read_evaluations(tmp_path, systems=["tuned"]) == [pair[0]]


def test_results_have_the_promised_shape(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    write_evaluation(pair[0], tmp_path)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results)[:5] == ["format", "version", "task", "set", "n"]
    assert (results["format"], results["version"], results["set"], results["n"]) == ("metier.results", 1, "test", 50)
    system = results["systems"]["tuned"]
    assert {"metrics", "per_class", "confusion", "settings"} <= set(system)
    assert set(system["metrics"]["accuracy"]) == {"value", "low", "high", "n", "method", "reason"}
    row = json.loads((tmp_path / "items-tuned.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert {"id", "group", "gold", "answer", "label_logprobs", "prompt_hash"} <= set(row)


def test_a_system_written_again_takes_its_own_place(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    for evaluation in (*pair, replace(pair[0], parameters=8)):
        write_evaluation(evaluation, tmp_path)
    assert [(each.system, each.parameters) for each in read_evaluations(tmp_path)] == [("tuned", 8), ("tfidf", None)]


def test_another_set_in_the_same_folder_is_refused(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    write_evaluation(pair[0], tmp_path)
    with pytest.raises(RunFolderError, match="holds results of another set: `set` differs"):
        write_evaluation(replace(pair[1], set="validation"), tmp_path)


def test_a_name_that_cannot_be_a_file_name_is_refused(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"system: found the name '\.\./x', wanted letters, digits, dot, dash"):
        write_evaluation(replace(pair[0], system="../x"), tmp_path)


def test_a_damaged_system_is_named(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    write_evaluation(pair[0], tmp_path)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    del results["systems"]["tuned"]["metrics"]
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"results.json: is damaged: 'metrics'. Evaluate again"):
        read_evaluations(tmp_path)


def test_a_damaged_item_is_named(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    write_evaluation(pair[0], tmp_path)
    (tmp_path / "items-tuned.jsonl").write_text('{"id": "x"}\n{"id": "y"}\n', encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"items-tuned.jsonl: is damaged"):
        read_evaluations(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"results\.json: is missing"):
        read_evaluations(tmp_path)


def test_a_comparison_comes_back_equal(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    gates = GatesSection(verdict="improved", minimum={"accuracy": 0.5})
    found = compare(pair[0], [pair[1]], section=EvaluationSection(resamples=300), gates=gates, openings=3)
    write_comparison(found, tmp_path)
    assert read_comparison(tmp_path) == found


def test_overfitting_comes_back_equal(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> None:
    found = judge_overfitting({"train": pair[0], "validation": pair[1]}, "accuracy")
    write_overfitting(found, tmp_path / "overfitting.json")
    assert read_overfitting(tmp_path / "overfitting.json") == found
