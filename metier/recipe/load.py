"""The door of the room: a YAML file becomes a frozen `Recipe`, or one error that names every fault."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.errors import RecipeError
from metier.recipe.candidates import candidate_faults
from metier.recipe.check import check_recipe
from metier.recipe.faults import raise_faults, validate
from metier.recipe.fit import fit
from metier.recipe.judging_rules import PATHS
from metier.recipe.overrides import override
from metier.recipe.sections import Recipe
from metier.recipe.yaml_text import Document, Place, parse_yaml

_MOST_BYTES = 1_000_000
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DATA_FILES = (
    "train", "validation", "test", "answers", "validation_answers", "test_answers", "decisions", "evaluation_files",
)  # fmt: skip
_PRIVACY_FILES = ("vault", "vault_key_file")
_AS_THEY_ARE = ("${", "~", "builtin:")


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Relative data paths are made absolute against the file's folder; `${VAR}` stays as it is.

    Args:
        path: The YAML file.
        overrides: `section.field=value` each, as if it were written in the file; the value is YAML.

    Returns:
        The recipe, with every default filled in.

    Raises:
        RecipeError: It cannot be read, or has faults; all of them are reported together.
    """
    path = Path(path)
    document = parse_yaml(_read(path), where=str(path))
    return _build(document, overrides, base=path.absolute().parent, where=str(path))


def recipe_from_values(values: Mapping[str, Any], *, base: Path, where: str) -> Recipe:
    """Make a recipe from plain values, with the same rules as a file.

    Args:
        values: The sections.
        base: Folder that relative data paths are relative to.
        where: What to call the values in messages.

    Returns:
        The recipe, with every default filled in.

    Raises:
        RecipeError: It has faults.
    """
    return _build(Document(values), (), base=base.absolute(), where=where)


def expand(text: str) -> str:
    """`text` with every `${VAR}` replaced by the environment's value, and a leading `~` by the home folder.

    Raises:
        RecipeError: A variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise RecipeError(f"${{{name}}}", "is not set in the environment", "", f"Set {name or 'a variable'}.")
        return os.environ[name]

    text = _VARIABLE.sub(value, text)
    if text.startswith("~"):
        try:
            return str(Path(text).expanduser())
        except RuntimeError as error:
            raise RecipeError(text.split("/")[0], "has no home folder", "", "Write the whole path.") from error
    return text


def _build(document: Document, overrides: Sequence[str], *, base: Path, where: str) -> Recipe:
    if document.value is None:
        raise RecipeError(where, "is empty", "a recipe", "`metier init DATA` writes one.")
    if not isinstance(document.value, Mapping):
        kind = "a list" if isinstance(document.value, list) else "a single value"
        raise RecipeError(where, f"holds {kind}", "sections such as `data:` and `model:`")
    document = override(document, overrides)
    values = _with_systems(_absolute(fit(document.value, document.written), base), base)
    recipe, faults = validate(values)
    faults += candidate_faults(values.get("candidates"))
    # What is wrong by itself is left out, so that the rest is checked too and everything is reported at once.
    checked = validate(_without(values, [fault.path for fault in faults]))[0] if faults else recipe
    if checked is not None:
        faults += check_recipe(checked)
    faults.sort(key=lambda fault: fault.order(document.places))
    raise_faults(where, [*document.faults, *(fault.as_error(document.places) for fault in faults)])
    assert recipe is not None  # no faults, so there is one
    return recipe


def _without(values: dict[str, Any], paths: Sequence[Place]) -> dict[str, Any]:
    for path in paths:
        values = _dropped(values, path)
    data = values.get("data")
    return {**values, "data": {"train": "-", **(data if isinstance(data, Mapping) else {})}}


def _dropped(values: Any, path: Place) -> Any:
    if not isinstance(values, Mapping) or path[0] not in values:
        return values
    if len(path) > 1 and isinstance(values[path[0]], Mapping):
        return {**values, path[0]: _dropped(values[path[0]], path[1:])}
    return {name: value for name, value in values.items() if name != path[0]}


def _read(path: Path, *, wanted: str = "a recipe file", where: str = "") -> str:
    about, where = f"{path} " * bool(where), where or str(path)
    if path.is_dir():
        raise RecipeError(where, f"{about}is a folder", wanted)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        fix = "Check the path." if about else "`metier init DATA` writes one."
        raise RecipeError(where, f"{about}does not exist", wanted, fix) from None
    except (OSError, ValueError) as error:
        raise RecipeError(where, f"{about}cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > _MOST_BYTES:
        raise RecipeError(where, f"{about}has more than {_MOST_BYTES:,} bytes", wanted, "Is it a data file?")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(where, f"{about}is not text", "text in UTF-8" if about else "a YAML file in UTF-8") from None


def _absolute(values: dict[str, Any], base: Path) -> dict[str, Any]:
    data = values.get("data")
    if isinstance(data, Mapping):
        values = {**values, "data": {**data, **{name: _path(data[name], base) for name in _DATA_FILES if name in data}}}
    values = _judged_absolute(values, base)
    privacy = values.get("privacy")
    if isinstance(privacy, Mapping):
        files = {name: _path(privacy[name], base) for name in _PRIVACY_FILES if name in privacy}
        values = {**values, "privacy": {**privacy, **files}}
    return values


def _judged_absolute(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Files that are judged, or judged with: those of `systems`, a schema, a scorer, what people said."""
    systems, evaluation = values.get("systems"), values.get("evaluation")
    if isinstance(systems, Mapping):
        values = {**values, "systems": {name: _system_paths(said, base) for name, said in systems.items()}}
    if isinstance(evaluation, Mapping):
        done = dict(evaluation)
        for group, name in (("format", "schema_file"), ("judge", "human")):
            if isinstance(done.get(group), Mapping) and name in done[group]:
                done[group] = {**done[group], name: _path(done[group][name], base)}
        module, mark, function = str(done.get("scorer") or "").partition(":")
        if mark and re.fullmatch(r"\w+(\.\w+)*", module) and not module.endswith(".py"):
            done["scorer"] = f"{base.joinpath(*module.split('.'))}.py:{function}"
        values = {**values, "evaluation": done}
    return values


def _system_paths(said: Any, base: Path) -> Any:
    """A system's fields with its paths from the recipe's folder; a model is one where it looks like one."""
    if not isinstance(said, Mapping):
        return said
    found = {name: _path(value, base) if name in PATHS else value for name, value in said.items()}
    model = found.get("model")
    if "endpoint" not in found and isinstance(model, str) and "\0" not in model:
        beside = model.startswith(("./", "../")) or (bool(model.strip()) and (base / model).exists())
        found["model"] = _path(model, base) if beside else model
    return found


def _with_systems(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """System prompts read from their files, the recipe's and those of its candidates."""
    values, candidates = _with_system(values, base), values.get("candidates")
    if not isinstance(candidates, Mapping):
        return values
    read = {
        name: _with_system(dict(each), base, f"candidates.{name}.") if isinstance(each, Mapping) else each
        for name, each in candidates.items()
    }
    return {**values, "candidates": read}


def _with_system(values: dict[str, Any], base: Path, where: str = "") -> dict[str, Any]:
    """`prompt.system_file` read into `prompt.system`: the resolved recipe holds what the model is told."""
    prompt = values.get("prompt")
    if not isinstance(prompt, Mapping) or not isinstance(prompt.get("system_file"), str):
        return values
    where, file = f"{where}prompt.system_file", prompt["system_file"]
    if prompt.get("system") is not None:
        raise RecipeError(where, "stands beside `prompt.system`", "one of the two", "Remove one of them.")
    text = _read(base / expand(file), wanted="a text file", where=where).strip()
    if not text:
        raise RecipeError(where, f"{file} is empty", "a system prompt")
    rest = {name: value for name, value in prompt.items() if name != "system_file"}
    return {**values, "prompt": {**rest, "system": text}}


def _path(value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_path(each, base) for each in value]
    if not isinstance(value, str) or not value.strip() or value.startswith(_AS_THEY_ARE) or "://" in value:
        return value
    path = base / value
    try:
        return str(path.resolve() if ".." in path.parts else path)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a null character: checked later
        return str(path)
