"""Faults of a recipe: every one, each with its path, what was found, what was wanted and the likely name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from metier.errors import RecipeError
from metier.recipe.hints import NOTES, OTHER_NAMES, OTHER_VALUES, SHORT_FORMS, WITHOUT_FIELD
from metier.recipe.sections import LATER_SECTIONS, Recipe
from metier.recipe.wording import choices, field_at, found, known_paths, section_of, wanted
from metier.recipe.yaml_text import Place

NOT_YET = "this version does not have yet"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, at a path of the recipe."""

    path: Place
    found: str
    wanted: str = ""
    fix: str = ""

    def as_error(self, places: Mapping[Place, str]) -> RecipeError:
        """The fault with the line where it stands, if that is known."""
        place = self._place(places)
        where = f"{'.'.join(self.path)} ({place})" if place else ".".join(self.path)
        return RecipeError(where, self.found, self.wanted, self.fix)

    def order(self, places: Mapping[Place, str]) -> int:
        """Where it comes in a list of faults: by line, then what stands in no line."""
        number = self._place(places).removeprefix("line ")
        return int(number) if number.isdigit() else sys.maxsize

    def _place(self, places: Mapping[Place, str]) -> str:
        known = (places.get(self.path[:end]) for end in range(len(self.path), 0, -1))
        return next(filter(None, known), "")


def raise_faults(where: str, errors: Sequence[RecipeError]) -> None:
    """Raise one `RecipeError` that holds all of `errors`; do nothing when there are none."""
    if errors:
        count = "1 fault" if len(errors) == 1 else f"{len(errors)} faults"
        raise RecipeError(where, f"has {count}", faults=tuple(errors))


def validate(values: Mapping[str, Any], *, prefix: Place = ()) -> tuple[Recipe | None, list[Fault]]:
    """Check values against the recipe's types.

    Args:
        values: The sections, short forms written out.
        prefix: Where they stand, put before every path.

    Returns:
        The recipe, or None and every fault.
    """
    try:
        return Recipe.model_validate(values), []
    except ValidationError as error:
        faults: dict[Place, Fault] = {}
        for each in error.errors(include_url=False, include_context=False):
            fault = _fault(each["type"], tuple(map(str, each["loc"])), values)
            faults.setdefault(fault.path, fault)
        return None, [Fault((*prefix, *each.path), each.found, each.wanted, each.fix) for each in faults.values()]


def _fault(kind: str, location: Place, values: Mapping[str, Any]) -> Fault:
    if kind == "extra_forbidden":
        return unknown_field(location)
    path, field = field_at(location)
    if kind == "missing":
        fix = "Write `data: {train: FILE}`." if path == ("data",) or path == ("data", "train") else ""
        return Fault(path, "is missing", wanted(field), fix)
    if location[-1:] == ("[key]",):
        allowed = _metric_names()
        return Fault(path, "is no metric", f"one of {', '.join(allowed)}", _nearest(path[-1], allowed))
    value = _value_at(values, path)
    return Fault(path, f"is {found(value)}", wanted(field), _fix(path, field, value))


def _fix(path: Place, field: Any, value: Any) -> str:
    if path == ("version",):
        return "Use the metier version that this recipe was written for."
    if not isinstance(value, str):
        return ""
    if path[0] in SHORT_FORMS and len(path) == 1:
        return f"Did you mean `{SHORT_FORMS[path[0]].format(value)}`?"
    dotted = ".".join(step for step in path if not step.isdigit())
    return OTHER_VALUES.get((dotted, value.lower()), "") or _nearest(value, choices(field))


def _nearest(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name.lower(), names, n=1)
    return f"Did you mean `{close[0]}`?" if close else ""


def _metric_names() -> tuple[str, ...]:
    return choices(field_at(("evaluation", "primary_metric"))[1])


def _value_at(values: Any, path: Place) -> Any:
    for step in path:
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, list | tuple):
            values = values[int(step)]
    return values


def unknown_field(path: Place) -> Fault:
    """The fault for a name that the recipe does not have at `path`, with the likely right one."""
    section, name = path[:-1], path[-1]
    if not section and name in LATER_SECTIONS:
        return Fault(path, f"is a section that {NOT_YET}", "", "Remove it: nothing is ignored silently.")
    place = f"`{'.'.join(section)}`" if section else "the recipe"
    return Fault(path, f"is no field of {place}", "", _right_name(section, name))


def _right_name(section: Place, name: str) -> str:
    plain = name.lower().replace("-", "_").strip()
    same = [known for known in known_paths() if known.rpartition(".")[2] == plain]
    own = ".".join((*section, plain))
    if own in same:
        return f"Write `{plain}`."
    if plain in WITHOUT_FIELD:
        return f"Remove it. {WITHOUT_FIELD[plain]}"
    if plain in OTHER_NAMES:
        return f"It is called `{OTHER_NAMES[plain]}` here. {NOTES.get(plain, '')}".strip()
    if same and len(same) <= 3:
        return f"It belongs in {' or '.join(f'`{known}`' for known in same)}."
    return _near_name(section, plain)


def _near_name(section: Place, name: str) -> str:
    _, kind = field_at(section)
    model = section_of(getattr(kind, "annotation", kind)) if section else Recipe
    fields = list(model.model_fields) if model else []
    if own := get_close_matches(name, fields, n=1):
        return f"Did you mean `{'.'.join((*section, own[0]))}`?"
    names = {known.rpartition(".")[2]: known for known in reversed(known_paths())}
    if other := get_close_matches(name, [*names, *OTHER_NAMES], n=1, cutoff=0.75):
        return f"Did you mean `{names.get(other[0]) or OTHER_NAMES[other[0]]}`?"
    return f"There are {', '.join(fields)}." if fields else ""
