"""JSON answers: strict reading, paths, similarity of fields, precision and recall of fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.evaluation.results import Evaluation
from metier.evaluation.written.json_fields import alike, field_of, fields_of, read_object
from metier.evaluation.written.text_counts import Texts, count_texts, token_f1

Written = Callable[..., Evaluation]
LONG = "we are sorry that your parcel is late and send you a new one"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": 1}', True),
        (' \n{"a": 1}\n', True),
        ("{}", True),
        ('```json\n{"a": 1}\n```', False),
        ('Here it is: {"a": 1}', False),
        ('{"a": 1} and more', False),
        ("{'a': 1}", False),
        ('{"a": NaN}', False),
        ('{"a": -Infinity}', False),
        ("[1, 2]", False),
        ("null", False),
        ("", False),
        (None, False),
        ('{"a": ' * 100_000, False),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", False),
        ('{"a": ' + "9" * 5000 + "}", False),
    ],
    ids=range(16),
)
def test_one_strict_object_is_valid_and_nothing_else(text: str | None, valid: bool) -> None:
    assert (read_object(text) is not None) == valid


def test_fields_are_leaves_by_their_path() -> None:
    value = {"a": {"b": "x", "c": None}, "list": [{"p": 1}, {"p": 2.0}], "on": True, "none": [], "f": 1.5, "o": {}}
    assert fields_of(value) == {
        "a.b": "x", "a.c": "null", "list[0].p": "1", "list[1].p": "2", "on": "true", "none": "[]", "f": "1.5",
        "o": "{}",
    }  # fmt: skip
    assert field_of("list[10].p[2]") == "list[].p[]"


def test_a_lone_surrogate_in_a_name_can_be_written_to_a_file() -> None:
    (name,) = fields_of(json.loads('{"\\ud800": 1}'))
    name.encode("utf-8")


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("billing", "billing", 1.0),
        ("billing", " billing\n", 1.0),
        ("billing", "Billing", 0.0),
        ("one two three", "one two", 0.0),
        (LONG, LONG.upper(), 1.0),
        (LONG, "", 0.0),
    ],
)
def test_short_values_are_equal_or_not_and_long_ones_alike(gold: str, answer: str, value: float) -> None:
    assert alike(gold, answer, token_f1) == value


def test_a_long_value_has_token_f1() -> None:
    said = "we are sorry that it is late"
    assert 0 < alike(LONG, said, token_f1) == token_f1(LONG, said) < 1


def _objects(*values: Any) -> list[str]:
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


def test_field_f1_is_that_of_all_fields_together(make_written: Written) -> None:
    golds = _objects({"a": "x", "b": "y"}, {"a": "x", "b": "y"}, {"a": "x"}, {"a": "x"})
    said = _objects({"a": "x", "b": "z"}, {"a": "x"}, {"a": "x", "c": "w"}, "no JSON")
    found = make_written("x", golds, said)
    # found 1 + 1 + 1 + 0, answered 2 + 1 + 2 + 0, gold 2 + 2 + 1 + 1
    assert found.metrics["field_f1"].value == pytest.approx(2 * 3 / (5 + 6))
    assert found.metrics["json_valid"].value == 0.75
    assert found.metrics["json_valid"].method == "wilson"
    assert {name: estimate.value for name, estimate in found.per_field.items()} == {"a": 0.75, "b": 0.0}
    assert {name: estimate.n for name, estimate in found.per_field.items()} == {"a": 4, "b": 2}


def test_items_of_a_list_are_one_field(make_written: Written) -> None:
    golds = _objects(*[{"tags": ["x", "y"]}] * 3)
    found = make_written("x", golds, _objects({"tags": ["x", "z"]}, {"tags": ["x"]}, {"tags": "x"}))
    assert found.per_field["tags[]"].value == pytest.approx(2 / 6)


@pytest.mark.parametrize(("objects", "judged"), [(9, True), (8, False), (0, False)])
def test_answers_are_judged_as_json_where_nine_of_ten_gold_answers_are(objects: int, judged: bool) -> None:
    golds = ['{"a": 1}'] * objects + ["text"] * (10 - objects)
    rows = count_texts(Texts(golds=golds, answers=['{"a": 1}'] * 10, stops=["end of turn"] * 10))
    assert all(("field_f1" in row) == judged for row in rows)
    if judged:
        # A gold answer that is no JSON can be answered in valid JSON, but has no fields to be right in.
        assert rows[9]["json_valid"] == (1.0, 1.0) and rows[9]["field_f1"] == (0.0, 0.0, 0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, min_size=1, max_size=4))
def test_an_object_answers_itself(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    row = count_texts(Texts(golds=[text], answers=[text], stops=[None]), {"json_valid", "field_f1"})[0]
    found, answered, gold = row["field_f1"]
    assert row["json_valid"] == (1.0, 1.0)
    assert found == pytest.approx(answered) and answered == gold
