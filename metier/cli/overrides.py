"""What stands on the command line beside the recipe: `--set section.field=value`, and `--section.field value`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metier.errors import ArgumentError

if TYPE_CHECKING:
    from metier.recipe.sections import Recipe

_OF_CANDIDATES_ALONE = ("model", "adaptation", "training")
"""Sections that nothing but candidates reads: what every candidate says itself has no other use."""
OPTIONAL: Mapping[str, str] = {"--abstain": "promised"}
"""Flags whose value, a number, may be left out -> what they then stand for."""
_DATA_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".txt")
_SHELL_SIGNS = frozenset("|&;<>()$`\\\"'*?[]#~!{}")


def overrides_as_settings(arguments: Sequence[str]) -> list[str]:
    """Rewrite `--training.max-steps 5` and `--training.max_steps=5` to `--set training.max_steps=5`.

    A flag of ours never has a dot in its name, so what has one is a recipe field. Dashes in it count
    as underscores. `--abstain` without a number behind it becomes `--abstain=promised`. Nothing after a lone `--` is
    touched.

    Raises:
        ArgumentError: A field has no value.
    """
    settled: list[str] = []
    rest = _with_values(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*settled, argument, *rest]
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or "." not in name or settled[-1:] == ["--set"]:
            settled.append(argument)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ArgumentError(argument, "has no value", "", f"Write it as {argument} VALUE.")
            value = rest.pop(0)
        settled += ["--set", f"{name.replace('-', '_')}={value}"]
    return settled


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Rewrite a flag of `OPTIONAL` without a number behind it."""
    settled: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*settled, *arguments[place:]]
        alone = argument in OPTIONAL and not _is_number(arguments[place + 1 : place + 2])
        settled.append(f"{argument}={OPTIONAL[argument]}" if alone else argument)
    return settled


def _is_number(following: Sequence[str]) -> bool:
    try:
        return bool(following) and math.isfinite(float(following[0]))
    except ValueError:
        return False


def load_with_settings(path: Path, settings: Sequence[str] | None) -> Recipe:
    """The recipe with what `--set` says.

    Raises:
        RecipeError: It cannot be read, or has faults.
        ArgumentError: The file is data, or a setting would change nothing.
    """
    from metier.recipe.load import load_recipe

    if path.suffix.lower() in _DATA_ENDINGS and path.is_file():
        fix = f"Write one: metier init {quoted(path)}"
        raise ArgumentError(str(path), "is a data file by its name", "a recipe, a YAML file", fix)
    recipe = load_recipe(path, tuple(settings or ()))
    for setting in settings or ():
        _refuse_without_effect(recipe, setting.partition("=")[0].strip())
    return recipe


def quoted(word: object) -> str:
    """A word of a command as a person has to type it: in quotes when it has spaces or signs of the shell."""
    text = str(word)
    plain = text and not any(char.isspace() or char in _SHELL_SIGNS for char in text)
    return text if plain else shlex.quote(text)


def _refuse_without_effect(recipe: Recipe, path: str) -> None:
    section, _, field = path.replace("-", "_").partition(".")
    field = field.partition(".")[0] or ("name" if section == "model" else "")
    if section not in _OF_CANDIDATES_ALONE or not field or not recipe.candidates:
        return
    own = {name: _fields(overrides.get(section)) for name, overrides in recipe.candidates.items()}
    if all(field in fields for fields in own.values()):
        wanted = f"candidates.NAME.{section}.{field}"
        fix = f"Write --set candidates.{next(iter(own))}.{section}.{field}=VALUE."
        raise ArgumentError(f"--set {path}", "changes nothing: every candidate says its own", wanted, fix)


def _fields(value: object) -> frozenset[str]:
    """The fields that a candidate's section sets; `model: NAME` is short for its name."""
    return frozenset(map(str, value)) if isinstance(value, Mapping) else frozenset({"name"} if value else ())
