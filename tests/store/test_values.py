"""Values survive the way to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.errors import RunFolderError
from metier.evaluation.results import Estimate, Evaluation, Item
from metier.store.values import from_plain, to_plain
from metier.training.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    name: str
    size: int = 0
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Tree:
    leaves: tuple[Leaf, ...]
    by_name: Mapping[str, Leaf]
    pair: tuple[int, str]
    where: Path
    kind: Literal["a", "b"]
    maybe: Optional[Leaf] = None  # noqa: UP045 - both spellings must work
    number: int | float = 0
    choice: str | tuple[str, ...] = ""
    free: Any = None
    flags: Sequence[bool] = ()
    nested: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    numbers: list[float] = field(default_factory=list)
    anything: tuple[Any, ...] = ()


TREE = Tree(
    leaves=(Leaf(name="x"),), by_name={"y": Leaf(name="y", share=0.5)}, pair=(1, "a"), where=Path("a/b"), kind="a"
)


def _again(value: Any) -> Any:
    return json.loads(json.dumps(to_plain(value), allow_nan=False))


def test_plain_values() -> None:
    assert to_plain({"a": (1, 2.5, None, True, "x"), "b": Path("c"), "d": {"z", "y"}}) == {
        "a": [1, 2.5, None, True, "x"],
        "b": "c",
        "d": ["y", "z"],
    }
    assert type(to_plain(np.int64(3))) is int
    assert type(to_plain(np.float32(0.5))) is float


def test_a_tree_comes_back() -> None:
    assert from_plain(Tree, _again(TREE)) == TREE


def test_unions_keep_the_exact_type() -> None:
    plain = {**_again(TREE), "number": 1, "choice": ["a", "b"], "flags": [True], "numbers": [1]}
    tree = from_plain(Tree, plain)
    assert type(tree.number) is int
    assert tree.choice == ("a", "b")
    assert tree.flags == (True,)
    assert tree.numbers == [1.0]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float64("-inf")])
def test_what_is_not_finite_is_refused_with_its_path(number: float) -> None:
    with pytest.raises(ValueError, match=r"a\.b\[1\]: .* has no place in a file; use None and a reason"):
        to_plain({"a": {"b": [0, number]}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": b"x"}, "a: a bytes has no plain form"),
        ({1: 2}, "value: the key 1 is no string"),
        (object(), "value: a object has no plain form"),
    ],
)
def test_what_has_no_plain_form_is_refused(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        to_plain(value)


def test_unknown_keys_are_ignored_and_defaults_filled() -> None:
    assert from_plain(Leaf, {"name": "x", "colour": "green"}) == Leaf(name="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaves": [{"size": 1}]}, r"card\.json: leaves\[0\]\.name: is missing"),
        ({"leaves": {}}, r"leaves: holds a value of type dict, wanted a list"),
        ({"leaves": [3]}, r"leaves\[0\]: holds a value of type int, wanted the fields of Leaf"),
        (
            {"by_name": {"y": {"name": "y", "size": 1.5}}},
            r"by_name\.y\.size: holds a value of type float, wanted a val",
        ),
        ({"by_name": []}, r"by_name: holds a value of type list, wanted a mapping"),
        ({"pair": [1]}, r"pair: has 1 entries, wanted 2"),
        ({"kind": "c"}, r"kind: is 'c', wanted 'a' or 'b'"),
        ({"where": None}, r"where: holds nothing, wanted a value of type Path"),
        ({"number": "1"}, r"number: holds a value of type str, wanted a value of type int"),
        ({"flags": [1]}, r"flags\[0\]: holds a value of type int, wanted a value of type bool"),
    ],
)
def test_a_misfit_names_its_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(RunFolderError, match=message):
        from_plain(Tree, {**_again(TREE), **change}, where="card.json")


def test_a_misfit_at_the_top() -> None:
    with pytest.raises(RunFolderError, match="Leaf: holds a value of type list, wanted the fields of Leaf"):
        from_plain(Leaf, [])


def test_a_field_type_without_a_way_back_is_our_fault() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="value: a field of type"):
        from_plain(Odd, {"value": 1})


ESTIMATE = st.builds(
    Estimate,
    value=st.none() | st.floats(0, 1),
    low=st.none() | st.floats(0, 1),
    high=st.none() | st.floats(0, 1),
    n=st.integers(0, 10**6),
    method=st.text(max_size=5),
    reason=st.none() | st.text(max_size=5),
)
ITEM = st.builds(
    Item,
    id=st.text(max_size=5),
    group=st.none() | st.text(max_size=3),
    gold=st.text(max_size=3),
    answer=st.none() | st.text(max_size=3),
    label_logprobs=st.none() | st.dictionaries(st.text(max_size=3), st.floats(-99, 0), max_size=3),
    prompt_hash=st.none() | st.text(max_size=3),
    source=st.text(max_size=3),
    row=st.integers(0, 99),
    flags=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)
EVALUATION = st.builds(
    Evaluation,
    system=st.text(max_size=3),
    kind=st.text(max_size=3),
    set=st.just("test"),
    task=st.just("classification"),
    labels=st.lists(st.text(max_size=3), max_size=3).map(tuple),
    n=st.integers(0, 9),
    metrics=st.dictionaries(st.text(max_size=3), ESTIMATE, max_size=2),
    per_class=st.just({}),
    confusion=st.dictionaries(st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2)),
    settings=st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.lists(st.text(max_size=2))),
    items=st.lists(ITEM, max_size=2).map(tuple),
)


@given(EVALUATION)
def test_every_evaluation_comes_back_equal(evaluation: Evaluation) -> None:
    assert from_plain(Evaluation, _again(evaluation)) == evaluation


def test_a_history_comes_back_with_numbers_as_floats() -> None:
    plain = {
        "steps": [], "validations": [{"step": 1, "epoch": 1, "metrics": {"macro_f1": 1}, "best": True}],
        "best_step": 1, "stopped": "finished", "seconds": 3, "examples": 1, "tokens_computed": 1, "tokens_logical": 1,
    }  # fmt: skip
    history = from_plain(History, plain)
    assert type(history.validations[0].epoch) is float
    assert history == from_plain(History, _again(history))
