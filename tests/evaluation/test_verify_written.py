"""Counts of written answers are made again from their texts, and a changed one is found in its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.evaluation.compare import compare
from metier.evaluation.files import read_evaluations, write_comparison, write_evaluation, write_overfitting
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Evaluation
from metier.evaluation.verify import verify_evaluations
from metier.recipe.sections import EvaluationSection, GatesSection

Written = Callable[..., Evaluation]
GOLDS = [json.dumps({"intent": "refund" if place % 2 else "track", "reply": f"dear {place}"}) for place in range(20)]
SAID = [gold if place % 3 else '{"intent": "refund", "reply": "sorry"}' for place, gold in enumerate(GOLDS)]


@pytest.fixture
def pair(make_written: Written) -> tuple[Evaluation, Evaluation]:
    """The candidate and a baseline that leaves some unanswered."""
    losses = [(-3.5, 7), *[(-2.0, 4)] * 18, None]
    tuned = make_written("tuned", GOLDS, SAID, losses=losses)
    return tuned, make_written("zero_shot", GOLDS, [None if place % 5 else "no" for place in range(20)])


@pytest.fixture
def root(pair: tuple[Evaluation, Evaluation], tmp_path: Path) -> Path:
    """A whole evaluation folder of written answers."""
    tuned, zero_shot = pair
    sets = {name: replace(tuned, set=name) for name in ("train", "validation", "test")}
    for name, evaluation in sets.items():
        write_evaluation(evaluation, tmp_path / name)
    write_evaluation(zero_shot, tmp_path / "test")
    section = EvaluationSection(primary_metric="field_f1", resamples=300)
    gates = GatesSection.model_validate({"minimum": {"json_valid": 0.5}})
    write_comparison(compare(tuned, [zero_shot], section=section, gates=gates, seed=5), tmp_path / "test")
    write_overfitting(judge_overfitting(sets, "field_f1"), tmp_path / "overfitting.json")
    return tmp_path


def _change_row(path: Path, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(rows[number - 1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_written_evaluations_come_back_as_they_were(pair: tuple[Evaluation, Evaluation], root: Path) -> None:
    assert read_evaluations(root / "test") == list(pair)
    assert pair[0].per_field["intent"].n == 20


def test_an_untouched_folder_has_no_difference(root: Path) -> None:
    assert verify_evaluations(root) == ()


def test_a_changed_answer_is_found_in_its_row_and_metric(root: Path) -> None:
    _change_row(root / "test" / "items-tuned.jsonl", 1, lambda row: row.update(answer=row["gold"]))
    places = [found.where for found in verify_evaluations(root)]
    assert "test/items-tuned.jsonl row 1: chrf" in places
    assert "test/items-tuned.jsonl row 1: field:intent" in places
    assert not [place for place in places if "row" in place and "row 1:" not in place]


def test_a_prettier_count_is_found_in_its_row_and_in_the_numbers(root: Path) -> None:
    def prettier(row: dict[str, Any]) -> None:
        row["counts"]["exact_match"] = [1.0, 1.0]

    _change_row(root / "test" / "items-tuned.jsonl", 4, prettier)
    found = {mismatch.where: mismatch for mismatch in verify_evaluations(root)}
    changed = found["test/items-tuned.jsonl row 4: exact_match"]
    assert (changed.reported, changed.recomputed) == ("(1.0, 1.0)", "(0.0, 1.0)")
    assert "test/results.json: tuned.metrics.exact_match.value" in found


def test_a_count_that_was_taken_out_is_found(root: Path) -> None:
    _change_row(root / "test" / "items-zero_shot.jsonl", 2, lambda row: row["counts"].pop("bleu"))
    found = {mismatch.where: mismatch for mismatch in verify_evaluations(root)}
    assert found["test/items-zero_shot.jsonl row 2: bleu"].reported == "None"


def test_what_needs_the_input_or_the_model_is_taken_as_it_is(root: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        row["counts"]["loss"] = [99.0, 7.0]

    _change_row(root / "test" / "items-tuned.jsonl", 1, change)
    places = [found.where for found in verify_evaluations(root)]
    assert not [place for place in places if "row" in place]
    assert "test/results.json: tuned.metrics.loss.value" in places
