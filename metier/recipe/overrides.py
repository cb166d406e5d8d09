"""Overrides from the command line: `--set section.field=value` says the same as writing it in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metier.errors import RecipeError
from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe
from metier.recipe.wording import section_of
from metier.recipe.yaml_text import Document, Place, parse_yaml


def override(document: Document, overrides: Sequence[str]) -> Document:
    """The document with every `section.field=value` put in, later ones above earlier ones.

    Args:
        document: The recipe file; its value is a mapping.
        overrides: Values are YAML; dashes in field names count as underscores.

    Returns:
        A new document. What is not `path=value`, or leads through a plain value, is among its faults.
    """
    value: dict[str, Any] = _copy(document.value)
    places, written = dict(document.places), dict(document.written)
    faults = list(document.faults)
    for text in overrides:
        path_text, equals, value_text = text.partition("=")
        if not equals or not all(path_text.strip().split(".")):
            faults.append(RecipeError(f"--set {text}", "is no override", "section.field=value"))
            continue
        path = _path(path_text.strip())
        try:
            new = parse_yaml(value_text, where=f"--set {path_text}")
        except RecipeError as error:
            faults.append(error)
            continue
        fault = _put(value, path, new.value)
        if fault:
            faults.append(fault.as_error({}))
            continue
        for known in (places, written):
            for old in [place for place in known if place[: len(path)] == path]:
                del known[old]
        places[path] = "--set"
        for end in range(1, len(path)):
            places.setdefault(path[:end], "--set")
        written.update({(*path, *inner): letters for inner, letters in new.written.items()})
        faults.extend(new.faults)
    return Document(value, places, written, tuple(faults))


def _path(text: str) -> Place:
    # Dashes are for field names alone: labels and candidates may have dashes of their own.
    path: list[str] = []
    kind: Any = Recipe
    for step in text.split("."):
        plain = step.replace("-", "_")
        model = section_of(kind)
        if path == ["candidates"]:
            kind = Recipe
        elif model and plain in model.model_fields:
            step, kind = plain, model.model_fields[plain].annotation
        else:
            kind = None
        path.append(step)
    return tuple(path)


def _put(values: dict[str, Any], path: Place, new: Any) -> Fault | None:
    for depth, step in enumerate(path[:-1], start=1):
        inner = values.get(step)
        if step == "model" and isinstance(inner, str):
            inner = {"name": inner}
        if inner is not None and not isinstance(inner, dict):
            return Fault(path, f"leads through `{'.'.join(path[:depth])}`, which is a value", "a section")
        values[step] = inner = {} if inner is None else inner
        values = inner
    values[path[-1]] = new
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return value
