"""Flags and recipe fields are frozen: a new one is a decision, seen in the diff of a golden file.

`make golden` writes both files again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MOST_FLAGS = 8


def _commands(command: Any, path: str = "metier") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(inner, f"{path} {name}")


def _flags() -> list[str]:
    from typer.main import get_command

    from metier.cli.main import app

    lines = []
    for path, command in _commands(get_command(app)):
        for parameter in command.params:
            names = (
                "|".join(parameter.opts)
                if parameter.param_type_name == "option"
                else (parameter.metavar or parameter.name)
            )
            lines.append(f"{path} {names}")
    return lines


def _fields(section: Any, path: str = "") -> Iterator[str]:
    from pydantic import BaseModel

    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True) if not field.is_required() else "(required)"
        if isinstance(default, BaseModel) or (isinstance(field.annotation, type) and _is_section(field.annotation)):
            yield from _fields(field.annotation, f"{path}{name}.")
        else:
            yield f"{path}{name} = {json.dumps(default)}"


def _is_section(annotation: type) -> bool:
    from pydantic import BaseModel

    return issubclass(annotation, BaseModel)


def _recipe_fields() -> list[str]:
    from metier.recipe.sections import Recipe

    return list(_fields(Recipe))


@pytest.mark.parametrize(
    ("name", "make"), [("cli_flags.txt", _flags), ("recipe_fields.txt", _recipe_fields)], ids=["flags", "fields"]
)
def test_list_is_frozen(name: str, make: Any, repository: Path) -> None:
    golden = repository / "tests" / "golden" / name
    text = "\n".join(make()) + "\n"
    if os.environ.get("METIER_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "run `make golden` if that is meant, and read the diff"


def test_no_command_has_more_flags_than_a_person_can_hold() -> None:
    counts: dict[str, int] = {}
    for line in _flags():
        command, _, parameter = line.rpartition(" ")
        counts[command] = counts.get(command, 0) + parameter.startswith("-")
    assert {command: count for command, count in counts.items() if count > MOST_FLAGS} == {}
