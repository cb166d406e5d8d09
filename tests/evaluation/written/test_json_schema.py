"""The schema checker against the package `jsonschema`, and what it refuses to half check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.errors import ArgumentError
from metier.evaluation.written.json_schema import KEYWORDS, AnswerSchema

jsonschema = pytest.importorskip("jsonschema")

leaves = st.none() | st.booleans() | st.integers(-3, 6) | st.sampled_from([0.5, 2.0, "", "a", "ab", "abc", "x1"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
small = st.integers(0, 3)
simple = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])}
    ),
    st.fixed_dictionaries({"type": st.just(["string", "integer"])}),
    st.fixed_dictionaries({"enum": st.lists(leaves, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": values}),
    st.fixed_dictionaries({"minLength": small, "maxLength": small}),
    st.fixed_dictionaries({"pattern": st.sampled_from(["^a", "b$", "[0-9]"])}),
    st.fixed_dictionaries({"minimum": small, "exclusiveMaximum": st.integers(1, 5)}),
    st.fixed_dictionaries({"maximum": small, "exclusiveMinimum": st.integers(-2, 1)}),
    st.fixed_dictionaries({"multipleOf": st.sampled_from([1, 2, 0.5])}),
    st.fixed_dictionaries({"minItems": small, "maxItems": small, "uniqueItems": st.booleans()}),
    st.fixed_dictionaries({"minProperties": small, "maxProperties": small}),
    st.fixed_dictionaries({"required": st.lists(st.sampled_from(["a", "b"]), unique=True)}),
)
schemas = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"items": inner}),
        st.fixed_dictionaries({"prefixItems": st.lists(inner, min_size=1, max_size=2), "items": inner}),
        st.fixed_dictionaries(
            {
                "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1),
                "additionalProperties": inner,
            }
        ),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


@given(schema=schemas, value=values)
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_the_package(schema: Any, value: Any) -> None:
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert AnswerSchema(schema).valid(value) == expected


def test_every_keyword_is_in_the_comparison() -> None:
    compared = {
        "type", "enum", "const", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "properties",
        "required", "additionalProperties", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not",
    }  # fmt: skip
    assert set(KEYWORDS) == compared | {"$ref"}


def test_references_into_definitions() -> None:
    schema = {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}
        },
        "$ref": "#/$defs/node",
    }
    checker, package = AnswerSchema(schema), jsonschema.Draft202012Validator(schema)
    for value in ({"next": {"n": 1}}, {"next": {"n": "x"}}, {"next": 3}, {}):
        assert checker.valid(value) == package.is_valid(value)


@pytest.mark.parametrize(
    ("text", "fits"),
    [('{"a": 1}', True), (' {"a": 1}\n', True), ('```json\n{"a": 1}\n```', False), ("{'a': 1}", False), ("", False),
     (None, False), ('{"a": NaN}', False), ("[" * 100_000, False)],
)  # fmt: skip
def test_texts_that_are_answers(text: str | None, fits: bool) -> None:
    assert AnswerSchema({"type": "object"}).fits(text) is fits


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"patternProperties": {}}, r"schema\.patternProperties: is a keyword that metier does not check"),
        ({"properties": {"a": {"if": {}}}}, r"schema\.properties\.a\.if: is a keyword"),
        ({"type": "text"}, r"schema\.type: cannot be read, wanted among null, boolean"),
        ({"$ref": "#/$defs/none"}, r"schema\.\$ref: cannot be read, wanted #/\$defs/NAME with such a definition"),
        ({"$ref": "https://x/y"}, r"schema\.\$ref: cannot be read"),
        ({"pattern": "("}, r"schema\.pattern: is no regular expression"),
        ({"minLength": "3"}, r"schema\.minLength: cannot be read, wanted a number"),
        ({"anyOf": []}, r"schema\.anyOf: cannot be read, wanted a list of schemas"),
        ([], r"schema: is no JSON Schema, wanted an object, true or false"),
    ],
)
def test_what_cannot_be_checked_is_refused_when_it_is_read(schema: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        AnswerSchema(schema)


def test_a_reference_to_itself_ends() -> None:
    assert not AnswerSchema({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}).valid(1)
