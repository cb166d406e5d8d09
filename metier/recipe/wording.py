"""What a field wants and what was found there, in plain words made from the field's own type.

Also the walk from a path to its type, which reading text (`fit.py`) and reporting faults share.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from metier.recipe.sections import Recipe

_NAME_WANTED = "up to 64 letters, digits, dots, dashes and underscores that begin with a letter or digit"
_LONGEST_FOUND = 40


def sections() -> dict[str, type[BaseModel]]:
    """The recipe's sections by name, in order."""
    return {name: kind for name, field in Recipe.model_fields.items() if (kind := section_of(field.annotation))}


def section_of(kind: Any) -> type[BaseModel] | None:
    """The section class that `kind` is, if it is one."""
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


@cache
def known_paths() -> tuple[str, ...]:
    """Every field of the recipe as a dotted path, sections included."""

    def under(model: type[BaseModel], prefix: str) -> Iterable[str]:
        for name, field in model.model_fields.items():
            yield prefix + name
            if inner := section_of(field.annotation):
                yield from under(inner, f"{prefix}{name}.")

    return tuple(under(Recipe, ""))


def options_of(kind: Any) -> tuple[Any, ...]:
    """The members of a union, each without its `Annotated`; any other type alone."""
    kind = _bare(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(option for member in get_args(kind) for option in options_of(member))
    return (kind,)


def field_at(path: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
    """Follow `path` as far as the recipe's types go.

    Args:
        path: Field names, mapping keys and list positions; it may go on with pydantic's own marks.

    Returns:
        The part of the path that exists, and its type (a `FieldInfo` where it is a field).
    """
    done: tuple[str, ...] = ()
    kind: Any = Recipe
    for step in path:
        annotation = kind.annotation if isinstance(kind, FieldInfo) else kind
        if model := section_of(annotation):
            if step not in model.model_fields:
                break
            kind = model.model_fields[step]
        else:
            options = options_of(annotation)
            if len(options) != 1 or get_origin(options[0]) not in (list, dict) or step == "[key]":
                break
            kind = get_args(options[0])[-1]
        done = (*done, step)
    return done, kind


def wanted(kind: Any) -> str:
    """What a type or a field accepts, e.g. `a whole number, 1 or more, or nothing`."""
    metadata: list[Any] = []
    if isinstance(kind, FieldInfo):
        metadata = list(kind.metadata)
        kind = kind.annotation
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    words = [_one(member, metadata) for member in members if member is not type(None)]
    if type(None) in members:
        words.append("nothing")
    return ", or ".join(words) if any("," in word for word in words) else " or ".join(words)


def found(value: object) -> str:
    """What was found, short: text in quotes, containers by name."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_FOUND else text[: _LONGEST_FOUND - 2] + " …"


def choices(kind: Any) -> tuple[str, ...]:
    """The fixed values that a type or a field allows; empty when it is open."""
    annotation = kind.annotation if isinstance(kind, FieldInfo) else kind
    return tuple(
        str(value) for option in options_of(annotation) if get_origin(option) is Literal for value in get_args(option)
    )


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _one(kind: Any, metadata: list[Any]) -> str:
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        metadata = [*metadata, *more]
    if section_of(kind):
        return "a mapping of fields"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        values = [str(value) for value in arguments]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if origin is list:
        return f"a list of {_several(arguments[0])}"
    if origin is dict:
        if arguments[1] is Any or get_origin(arguments[1]) is dict:
            return "a mapping"
        return f"a mapping from {_several(arguments[0])} to {_several(arguments[1])}"
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return f"{noun}{_range(metadata)}"
    if kind is bool:
        return "true or false"
    return _NAME_WANTED if _pattern(metadata) else "text"


def _several(kind: Any) -> str:
    word = _one(kind, [])
    plural = {
        "text": "texts", "a mapping of fields": "mappings of fields", "a number": "numbers",
        "a whole number, 1 or more": "whole numbers, 1 or more",
    }  # fmt: skip
    return plural.get(word, word.removeprefix("one of "))


def _flat(metadata: list[Any]) -> Iterable[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _flat(list(item.metadata))
        else:
            yield item


def _pattern(metadata: list[Any]) -> bool:
    return any(getattr(item, "pattern", None) for item in _flat(metadata))


def _range(metadata: list[Any]) -> str:
    low = high = ""
    for item in _flat(metadata):
        match item:
            case annotated_types.Ge(ge=bound):
                low = f"{bound} or more"
            case annotated_types.Gt(gt=bound):
                low = f"above {bound:g}"
            case annotated_types.Le(le=bound):
                high = f"{bound} or less"
            case annotated_types.Lt(lt=bound):
                high = f"below {bound:g}" if isinstance(bound, float) else f"below {bound}"
    middle = " and ".join(filter(None, (low, high)))
    return f", {middle}" if middle[:1].isdigit() else f" {middle}" if middle else ""
