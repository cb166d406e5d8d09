"""Candidates: the ways to adapt that a recipe lists, each resolved into a recipe of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from metier.recipe.faults import Fault, raise_faults, unknown_field, validate
from metier.recipe.fit import fit
from metier.recipe.methods import options_without_effect
from metier.recipe.sections import Recipe
from metier.recipe.wording import found

OVERRIDABLE = ("model", "prompt", "adaptation", "training", "seed")
ONLY_CANDIDATE = "tuned"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_NEEDED = {"data": {"train": "-"}}  # what a recipe cannot do without, so that overrides can be checked alone


def resolve_candidates(recipe: Recipe) -> dict[str, Recipe]:
    """Every candidate as a recipe without candidates, by name in the given order.

    A field of the candidate replaces the recipe's. The recipe's options that the candidate's method does
    not read are left behind. Without a list there is one: `tuned`.

    Raises:
        RecipeError: A candidate is wrong; `load_recipe` has checked that already.
    """
    base = recipe.model_dump(exclude_unset=True, exclude={"candidates"})
    if not recipe.candidates:
        return {ONLY_CANDIDATE: Recipe.model_validate(base)}
    overrides = fit({"candidates": recipe.candidates}, {})["candidates"]
    raise_faults("candidates", [fault.as_error({}) for fault in candidate_faults(overrides)])
    return {name: Recipe.model_validate(_merged(base, each)) for name, each in overrides.items()}


def candidate_faults(candidates: object) -> list[Fault]:
    """Every fault of the candidates' own overrides; `candidates` with short forms written out."""
    if not isinstance(candidates, Mapping):
        return []  # reported as a fault of the field itself
    faults: list[Fault] = []
    for name, overrides in candidates.items():
        path = ("candidates", name)
        if not _NAME.match(name):
            wanted = "up to 64 letters, digits, dots, dashes and underscores that begin with a letter or digit"
            faults.append(Fault(path, f"has the name {found(name)}", wanted))
        if not isinstance(overrides, Mapping):
            continue
        for section in overrides:
            if section in Recipe.model_fields and section not in OVERRIDABLE:
                fix = "Everything else is shared, so that candidates can be compared."
                faults.append(
                    Fault((*path, section), "cannot differ between candidates", f"one of {', '.join(OVERRIDABLE)}", fix)
                )
            elif section not in OVERRIDABLE:
                fault = unknown_field((section,))
                faults.append(Fault((*path, section), fault.found, fault.wanted, fault.fix))
        allowed = {section: value for section, value in overrides.items() if section in OVERRIDABLE}
        faults.extend(validate({**_NEEDED, **allowed}, prefix=path)[1])
    return faults


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    method = overrides.get("adaptation", {}).get("method") or base.get("adaptation", {}).get("method", "lora")
    left = options_without_effect(method)
    result = dict(base)
    result["adaptation"] = {name: value for name, value in base.get("adaptation", {}).items() if name not in left}
    for section, value in overrides.items():
        result[section] = {**result.get(section, {}), **value} if isinstance(value, Mapping) else value
    return result
