"""Whether an answer fits a JSON Schema: the part of draft 2020-12 that describes answers, and no more.

Known: type, enum, const; minLength, maxLength, pattern; minimum, maximum, exclusiveMinimum, exclusiveMaximum,
multipleOf; items, prefixItems, minItems, maxItems, uniqueItems; properties, required, additionalProperties,
minProperties, maxProperties; allOf, anyOf, oneOf, not; `$ref` to `#/$defs/NAME` or `#/definitions/NAME`.
Annotations (title, description, default, examples, format, …) say nothing about validity, as the standard has it. A
schema with another keyword is refused when it is read, rather than half checked. Imports nothing but the standard
library; the tests hold it against the package `jsonschema`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.errors import ArgumentError
from metier.evaluation.written.patterns import TimedPattern

ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "format",
     "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType"}
)  # fmt: skip
"""Keywords that describe and do not check."""
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_DEEPEST = 64
_REF = re.compile(r"^#/(\$defs|definitions)/([^/]+)$")


@dataclass(frozen=True, eq=False)
class AnswerSchema:
    """A schema that was read, ready to check answers."""

    schema: Any
    where: str = "schema"
    _patterns: dict[str, TimedPattern] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be checked, before any answer is."""
        self._read(self.schema, self.where, 0)

    def fits(self, text: str | None) -> bool:
        """Whether a text is JSON, and valid; white space at both ends is allowed, a code fence is not."""
        try:
            value = json.loads(text or "", parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return False
        return self.valid(value)

    def valid(self, value: Any) -> bool:
        """Whether a value fits the schema."""
        return self.holds(self.schema, value, 0)

    def holds(self, schema: Any, value: Any, depth: int) -> bool:
        """Whether a value fits a part of the schema, `depth` parts down."""
        if isinstance(schema, bool):
            return schema
        if depth > _DEEPEST:  # a reference that leads to itself
            return False
        return all(
            KEYWORDS[name](self, schema, value, depth + 1) for name in schema if name not in ANNOTATIONS
        )  # fmt: skip

    def _read(self, schema: Any, where: str, depth: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            raise ArgumentError(where, "is no JSON Schema", "an object, true or false")
        for name, inner in schema.items():
            if name not in KEYWORDS and name not in ANNOTATIONS:
                raise ArgumentError(
                    f"{where}.{name}", "is a keyword that metier does not check", f"among {', '.join(KEYWORDS)}",
                    "Leave it out, or check it in a scorer of your own.",
                )  # fmt: skip
            self._read_keyword(name, inner, f"{where}.{name}", depth + 1)

    def _read_keyword(self, name: str, inner: Any, where: str, depth: int) -> None:
        if name in ("properties", "$defs", "definitions"):
            _want(isinstance(inner, Mapping), where, "an object of schemas")
            for key, part in inner.items():
                self._read(part, f"{where}.{key}", depth)
        elif name in ("allOf", "anyOf", "oneOf", "prefixItems"):
            _want(isinstance(inner, list) and bool(inner), where, "a list of schemas")
            for place, part in enumerate(inner):
                self._read(part, f"{where}[{place}]", depth)
        elif name in ("items", "additionalProperties", "not"):
            self._read(inner, where, depth)
        elif name == "pattern":
            _want(isinstance(inner, str), where, "a regular expression")
            self._patterns[inner] = TimedPattern(inner, where=where)
        elif name == "type":
            kinds = inner if isinstance(inner, list) else [inner]
            _want(bool(kinds) and all(kind in TYPES for kind in kinds), where, f"among {', '.join(TYPES)}")
        elif name == "$ref":
            found = _REF.match(inner) if isinstance(inner, str) else None
            there = found is not None and found.group(2) in (self.schema.get(found.group(1)) or {})
            _want(there, where, "#/$defs/NAME with such a definition")
        elif name in ("required", "enum"):
            _want(isinstance(inner, list), where, "a list")
        elif name in _NUMBERS:
            _want(_is_number(inner), where, "a number")

    def pattern(self, pattern: str) -> TimedPattern:
        """A pattern of the schema, compiled once."""
        return self._patterns[pattern]

    def target(self, reference: str) -> Any:
        """The definition that a `$ref` names."""
        found = _REF.match(reference)
        assert found is not None  # read before
        return self.schema[found.group(1)][found.group(2)]


_NUMBERS = frozenset(
    {"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems",
     "maxItems", "minProperties", "maxProperties"}
)  # fmt: skip
Check = Callable[[AnswerSchema, Mapping[str, Any], Any, int], bool]


def _want(holds: bool, where: str, wanted: str) -> None:
    if not holds:
        raise ArgumentError(where, "cannot be read", wanted)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    """A value as text by which JSON calls two values equal: 1 and 1.0 are, true and 1 are not."""
    if _is_number(value) and float(value).is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(_plain(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{json.dumps(key)}:{_plain(value[key])}' for key in sorted(value))}}}"
    return json.dumps(value)


def _on(kind: str, holds: Callable[[Any, Any], bool], name: str) -> Check:
    """A keyword about values of one kind; it says nothing about others."""
    return lambda _, schema, value, __: not TYPES[kind](value) or holds(value, schema[name])


def _type(_: AnswerSchema, schema: Mapping[str, Any], value: Any, __: int) -> bool:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return any(TYPES[kind](value) for kind in kinds)


def _properties(whole: AnswerSchema, schema: Mapping[str, Any], value: Any, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema["properties"]
    return all(whole.holds(known[name], inner, depth) for name, inner in value.items() if name in known)


def _additional(whole: AnswerSchema, schema: Mapping[str, Any], value: Any, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    rest = [inner for name, inner in value.items() if name not in schema.get("properties", {})]
    return all(whole.holds(schema["additionalProperties"], inner, depth) for inner in rest)


def _items(whole: AnswerSchema, schema: Mapping[str, Any], value: Any, depth: int) -> bool:
    if not isinstance(value, list):
        return True
    rest = value[len(schema.get("prefixItems", ())) :]
    return all(whole.holds(schema["items"], inner, depth) for inner in rest)


def _prefix(whole: AnswerSchema, schema: Mapping[str, Any], value: Any, depth: int) -> bool:
    if not isinstance(value, list):
        return True
    pairs = zip(schema["prefixItems"], value, strict=False)
    return all(whole.holds(part, inner, depth) for part, inner in pairs)


def _some(name: str, holds: Callable[[int, int], bool]) -> Check:
    """`allOf`, `anyOf`, `oneOf`: how many of the schemas must fit."""

    def check(whole: AnswerSchema, schema: Mapping[str, Any], value: Any, depth: int) -> bool:
        fitting = sum(whole.holds(part, value, depth) for part in schema[name])
        return holds(fitting, len(schema[name]))

    return check


def _multiple(value: Any, step: Any) -> bool:
    quotient = value / step
    return math.isfinite(quotient) and abs(quotient - round(quotient)) < 1e-9


def _unique(value: Sequence[Any], wanted: Any) -> bool:
    return not wanted or len({_plain(each) for each in value}) == len(value)


KEYWORDS: Mapping[str, Check] = {
    "type": _type,
    "enum": lambda _, schema, value, __: any(_plain(value) == _plain(each) for each in schema["enum"]),
    "const": lambda _, schema, value, __: _plain(value) == _plain(schema["const"]),
    "minLength": _on("string", lambda value, limit: len(value) >= limit, "minLength"),
    "maxLength": _on("string", lambda value, limit: len(value) <= limit, "maxLength"),
    "pattern": lambda whole, schema, value, _: (
        not isinstance(value, str) or bool(whole.pattern(schema["pattern"]).search(value))
    ),
    "minimum": _on("number", lambda value, limit: value >= limit, "minimum"),
    "maximum": _on("number", lambda value, limit: value <= limit, "maximum"),
    "exclusiveMinimum": _on("number", lambda value, limit: value > limit, "exclusiveMinimum"),
    "exclusiveMaximum": _on("number", lambda value, limit: value < limit, "exclusiveMaximum"),
    "multipleOf": _on("number", _multiple, "multipleOf"),
    "items": _items,
    "prefixItems": _prefix,
    "minItems": _on("array", lambda value, limit: len(value) >= limit, "minItems"),
    "maxItems": _on("array", lambda value, limit: len(value) <= limit, "maxItems"),
    "uniqueItems": _on("array", _unique, "uniqueItems"),
    "properties": _properties,
    "required": _on("object", lambda value, names: all(name in value for name in names), "required"),
    "additionalProperties": _additional,
    "minProperties": _on("object", lambda value, limit: len(value) >= limit, "minProperties"),
    "maxProperties": _on("object", lambda value, limit: len(value) <= limit, "maxProperties"),
    "allOf": _some("allOf", lambda fitting, all_of: fitting == all_of),
    "anyOf": _some("anyOf", lambda fitting, _: fitting > 0),
    "oneOf": _some("oneOf", lambda fitting, _: fitting == 1),
    "not": lambda whole, schema, value, depth: not whole.holds(schema["not"], value, depth),
    "$ref": lambda whole, schema, value, depth: whole.holds(whole.target(schema["$ref"]), value, depth),
}
"""Keyword -> how it is checked."""
