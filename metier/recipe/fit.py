"""Values as the recipe's types want them, before they are checked: short forms written out, text as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from metier.recipe.sections import Recipe
from metier.recipe.wording import options_of, section_of, sections
from metier.recipe.yaml_text import Place


def fit(values: Mapping[str, Any], written: Mapping[Place, str]) -> dict[str, Any]:
    """The same values with `model: NAME` written out, empty sections filled and labels such as `007` as text.

    Args:
        values: What the YAML says.
        written: The letters of plain numbers and booleans, by path.
    """
    result = _sections(values, (), written)
    candidates = result.get("candidates")
    if isinstance(candidates, Mapping):
        result["candidates"] = {
            str(name): _sections(overrides, ("candidates", str(name)), written)
            if isinstance(overrides, Mapping)
            else {}
            if overrides is None
            else overrides
            for name, overrides in candidates.items()
        }
    return result


def _sections(values: Mapping[str, Any], prefix: Place, written: Mapping[Place, str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        name, path = str(key), (*prefix, str(key))
        if name in sections() and value is None:
            value = {}  # a section whose lines are all comments
        if name == "model" and not isinstance(value, Mapping | list):
            value = {"name": _as_text(value, path, written)}
        field = Recipe.model_fields.get(name)
        result[name] = value if field is None or name == "candidates" else _fit(field.annotation, value, path, written)
    return result


def _fit(kind: Any, value: Any, path: Place, written: Mapping[Place, str]) -> Any:
    if isinstance(value, Mapping):
        if model := section_of(kind):
            fields = model.model_fields
            return {
                str(name): _fit(fields[name].annotation, item, (*path, str(name)), written) if name in fields else item
                for name, item in value.items()
            }
        inner = _inner(kind, dict)
        return {_as_text(key, (), {}): _fit(inner, item, (*path, str(key)), written) for key, item in value.items()}
    if isinstance(value, list | tuple):
        inner = _inner(kind, list)
        return [_fit(inner, item, (*path, str(index)), written) for index, item in enumerate(value)]
    if not isinstance(value, bool | int | float):
        return value
    options = options_of(kind)
    if Any in options or type(value) in options or (float in options and type(value) is int):
        return value
    text = _as_text(value, path, written)
    if isinstance(value, bool):
        return text  # pydantic would take true for 1
    allowed = [item for option in options if get_origin(option) is Literal for item in get_args(option)]
    return text if str in options or (value not in allowed and text in allowed) else value


def _inner(kind: Any, container: type) -> Any:
    for option in options_of(kind):
        if get_origin(option) is container:
            return get_args(option)[-1]
    return Any


def _as_text(value: Any, path: Place, written: Mapping[Place, str]) -> Any:
    if isinstance(value, bool):
        return written.get(path, str(value).lower())
    return written.get(path, str(value)) if isinstance(value, int | float) else value
