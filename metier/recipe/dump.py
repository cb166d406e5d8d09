"""A recipe as text: resolved YAML that loads back to an equal recipe, its hash, and its JSON Schema."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml

from metier.recipe.candidates import OVERRIDABLE, resolve_candidates
from metier.recipe.methods import options_without_effect
from metier.recipe.sections import Recipe
from metier.recipe.yaml_text import is_plain_text

_NOT_THE_RUN = ("output", "report")


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values in full: nobody should have to look up `*id001`."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if is_plain_text(text) and text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every field, defaults included.

    Options that the method does not read are left out. `${VAR}` stays as it is.
    """
    return yaml.dump(
        recipe_values(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, in the order of the sections."""
    values = recipe.model_dump(mode="json")
    ways = resolve_candidates(recipe).values()
    for option in set.intersection(*(set(options_without_effect(way.adaptation.method)) for way in ways)):
        del values["adaptation"][option]
    if not recipe.candidates:
        del values["candidates"]
    return values


def recipe_hash(recipe: Recipe) -> str:
    """Hex SHA-256 of what makes the run: the recipe without `output` and `report`."""
    values = {name: value for name, value in recipe_values(recipe).items() if name not in _NOT_THE_RUN}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, for editors: with short forms, and only what this version has."""
    schema = Recipe.model_json_schema()
    fields: dict[str, Any] = schema["properties"]
    name = {"type": "string", "description": "Short for `name: …`."}
    fields["model"] = {"anyOf": [name, {"$ref": "#/$defs/ModelSection"}], "description": "The pre-trained model."}
    fields["task"] = {**fields["task"], "enum": ["classification"]}
    fields["candidates"] = {
        **fields["candidates"],
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "properties": {section: fields[section] for section in OVERRIDABLE},
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "metier recipe"}
