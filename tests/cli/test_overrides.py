"""`--section.field value` as `--set section.field=value`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.cli.overrides import load_with_settings, overrides_as_settings, quoted
from metier.errors import ArgumentError


@pytest.mark.parametrize(
    ("given_arguments", "wanted"),
    [
        ("run r.yaml", "run r.yaml"),
        ("run r.yaml --training.max_steps 5", "run r.yaml --set training.max_steps=5"),
        ("run --training.max_steps 5 r.yaml", "run --set training.max_steps=5 r.yaml"),
        ("run r.yaml --training.max_steps=5", "run r.yaml --set training.max_steps=5"),
        ("run r.yaml --training.max-steps 5", "run r.yaml --set training.max_steps=5"),
        ("run r.yaml --model.name a-b/c-d", "run r.yaml --set model.name=a-b/c-d"),
        ("run r.yaml --data.delimiter=--x", "run r.yaml --set data.delimiter=--x"),
        ("run r.yaml --training.weight_decay -1", "run r.yaml --set training.weight_decay=-1"),
        ("run r.yaml --set a.b=1 --resume", "run r.yaml --set a.b=1 --resume"),
        ("run ./r.v2.yaml --output runs/a.b", "run ./r.v2.yaml --output runs/a.b"),
        ("predict run --text=a.b", "predict run --text=a.b"),
        ("run -- --a.b c", "run -- --a.b c"),
    ],
)
def test_fields_become_settings(given_arguments: str, wanted: str) -> None:
    assert overrides_as_settings(given_arguments.split()) == wanted.split()


@pytest.mark.parametrize("arguments", ["run r.yaml --adaptation.use_dora", "run --adaptation.use_dora --resume r.yaml"])
def test_a_field_needs_a_value(arguments: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"--adaptation.use_dora: has no value. Write it as --adaptation.use_dora V"
    ):
        overrides_as_settings(arguments.split())


@given(st.lists(st.text(alphabet="abc-=_ ", max_size=8)))
def test_arguments_without_a_dot_are_left_alone(arguments: list[str]) -> None:
    assert overrides_as_settings(arguments) == arguments


CANDIDATES = """\
data: {train: t.csv}
candidates:
  a: {model: minilm, adaptation: {method: full}, training: {num_train_epochs: 3}}
  b: {model: {name: smollm2-135m}, training: {num_train_epochs: 8, learning_rate: 1e-3}}
"""


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("training.num_train_epochs=5", "training.num_train_epochs"),
        ("training.num-train-epochs=5", "training.num_train_epochs"),
        ("model=minilm", "model.name"),
    ],
)
def test_a_setting_that_every_candidate_overrides_is_refused(setting: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CANDIDATES, encoding="utf-8")
    with pytest.raises(ArgumentError, match=rf"changes nothing.*Write --set candidates\.a\.{field}=VALUE"):
        load_with_settings(tmp_path / "r.yaml", [setting])


def test_a_setting_that_some_candidate_reads_is_taken(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CANDIDATES, encoding="utf-8")
    settings = ["training.learning_rate=1e-4", "candidates.a.training.num_train_epochs=5", "seed=4"]
    recipe = load_with_settings(tmp_path / "r.yaml", settings)
    assert (recipe.training.learning_rate, recipe.seed) == (1e-4, 4)


def test_a_data_file_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "my data.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"is a data file.*Write one: metier init '.*my data\.csv'"):
        load_with_settings(tmp_path / "my data.csv", None)


@pytest.mark.parametrize(
    ("word", "typed"),
    [("runs/a-1", "runs/a-1"), ("größe.yaml", "größe.yaml"), ("a b", "'a b'"), ("*", "'*'"), ("", "''")],
)
def test_words_are_quoted_where_a_shell_needs_it(word: str, typed: str) -> None:
    assert quoted(word) == typed


@pytest.mark.parametrize(
    ("typed", "settled"),
    [
        (["predict", "r", "i", "o", "--abstain"], ["predict", "r", "i", "o", "--abstain=promised"]),
        (["predict", "--abstain", "r", "i", "o"], ["predict", "--abstain=promised", "r", "i", "o"]),
        (["predict", "r", "--abstain", "0.9", "i", "o"], ["predict", "r", "--abstain", "0.9", "i", "o"]),
        (["predict", "r", "--abstain=0.9", "--json"], ["predict", "r", "--abstain=0.9", "--json"]),
        (["predict", "r", "--abstain", "--json"], ["predict", "r", "--abstain=promised", "--json"]),
        (["predict", "--", "--abstain"], ["predict", "--", "--abstain"]),
    ],
)
def test_the_value_of_abstain_may_be_left_out(typed: list[str], settled: list[str]) -> None:
    assert overrides_as_settings(typed) == settled
