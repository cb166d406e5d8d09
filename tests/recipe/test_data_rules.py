"""Rules about the data section, and its fields against the tables that they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from metier.errors import RecipeError
from metier.recipe.data_sections import DataSection, RepairName
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("answers_id: n", "data.answers_id .*: is given without `data.answers`. Name the table"),
        ("validation: v, test: t, time: day", "data.time .*: has no effect: validation and test are files of th"),
        ("evaluation_files: [b, b]", "data.evaluation_files .*: has '.*b' 2 times, wanted each once"),
        ("test: x, evaluation_files: [x]", "data.evaluation_files .*: has the file of `data.test`, wanted files of"),
        ("repairs: [mojibake, mojibake]", "data.repairs .*: has 'mojibake' 2 times"),
        ("repairs: [magic]", "data.repairs .*: is a list, wanted a list of terminal codes, mojibake"),
        ("lengths: {shortest: 9, longest: 8}", "data.lengths.shortest .*: is 9, wanted at most 8, which is `longest`"),
        ("lengths: {policy: cut}", "data.lengths.policy .*: is cut without a limit. Set `data.lengths.longest`"),
        ("lengths: {policy: drop}", "data.lengths.policy .*: is drop without a limit. Set `data.lengths.shortest` or"),
        ("lengths: {unit: words}", "data.lengths.unit .*: has no effect without a limit"),
        ("lengths: {unit: tokens, longest: 9}", "data.lengths.unit .*: is 'tokens', wanted one of characters, words"),
        ("rare_name: rest", "data.rare_name .*: has no effect without `data.rare_labels: merge`"),
        ("rare_labels: merge, rare_name: ' '", "data.rare_name .*: is empty, wanted a label's name"),
        ("rare_labels: merge, ignore_labels: [other]", "data.rare_name .*: is 'other', which `data.ignore_labels` rej"),
        ("quality_rules: []", "data.quality_rules .*: is empty, wanted names of rules. Write `quality: off`"),
        ("quality: off, quality_rules: [a]", "data.quality_rules .*: has no effect with `data.quality: off`"),
        ("bias: {policy: off, augment: true}", "data.bias.augment .*: has no effect with `policy: off`"),
        ("bias: {most_copies: 2}", "data.bias.most_copies .*: has no effect without `augment: true`"),
        ("near_duplicates: maybe", "data.near_duplicates .*: is 'maybe', wanted one of flag, drop, off"),
        ("near_threshold: 0", "data.near_threshold .*: is 0, wanted a number"),
        ("folds: 1", "data.folds .*: is 1, wanted a whole number, 2 or more"),
        ("language: {expected: de}", "data.language.expected .*: is 'de', wanted a list of texts"),
    ],
)
def test_a_rule_is_broken(load: Load, fields: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(f"data: {{train: a, {fields}}}")
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ("generation", "wrong_labels: drop"), ("chat", "rare_labels: reject"), ("text", "giveaway: refuse"),
        ("text", "wrong_answers: drop"), ("classification", "wrong_answers: off"), ("chat", "rare_below: 3"),
    ],
)  # fmt: skip
def test_what_the_task_does_not_read_is_refused(load: Load, task: str, field: str) -> None:
    name = field.split(":")[0]
    with pytest.raises(RecipeError, match=rf"data.{name} .*: has no effect with `task: {task}`\. Remove it"):
        load(f"task: {task}\ndata: {{train: a, {field}}}")


@pytest.mark.parametrize("policy", ["cut", "split"])
def test_conversations_are_not_cut(load: Load, policy: str) -> None:
    message = f"data.lengths.policy .*: is {policy}, which does not fit `task: chat`, wanted flag, drop or refuse"
    with pytest.raises(RecipeError, match=message):
        load(f"task: chat\ndata: {{train: a, lengths: {{longest: 9, policy: {policy}}}}}")
    load(f"task: text\ndata: {{train: a, lengths: {{longest: 9, policy: {policy}}}}}")


@pytest.mark.parametrize(
    "fields",
    [
        "answers: b, answers_id: n",
        "test: t, time: day, folds: 5, group: g",
        "repairs: [], secrets: mask, quality: off, near_duplicates: drop, leaks: move",
        "lengths: {unit: words, shortest: 2, longest: 90, policy: split}",
        "rare_labels: merge, rare_below: 9, rare_name: rest",
        "language: {expected: [en, de], policy: drop}",
        "bias: {words: {role: {nurse: [nurse, nurses]}}, columns: [region], augment: true, most_copies: 2}",
        "licenses: {'*': CC-BY-4.0}, unknown_license: refuse, ablation: true, decisions: decisions.jsonl",
        "format: xml, evaluation_files: [x, y]",
    ],
)
def test_what_is_allowed(load: Load, fields: str) -> None:
    load(f"data: {{train: a, {fields}}}")


def test_files_are_relative_to_the_recipe(load: Load, tmp_path: Path) -> None:
    data = load("data: {train: a, decisions: d.jsonl, evaluation_files: [b, '${X}/c']}").data
    assert data.decisions == str(tmp_path / "d.jsonl")
    assert data.evaluation_files == [str(tmp_path / "b"), "${X}/c"]


def test_the_repairs_are_those_that_there_are() -> None:
    from metier.data.input_rules import REPAIRS, SECRETS

    assert [name for name in REPAIRS if name != SECRETS] == list(get_args(RepairName))


def test_every_field_is_explained() -> None:
    assert all(field.description for field in DataSection.model_fields.values())
