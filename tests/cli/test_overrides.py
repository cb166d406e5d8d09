"""`--section.field value` as `--set section.field=value`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.cli.overrides import overrides_as_settings
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
