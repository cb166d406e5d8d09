"""`metier check RECIPE`: everything that can be known without training.

Recipe, data, what is trained, hardware, plan, and whether training can pay.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import show
from metier.cli.run import AsJson, Settings


def check(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)
    ] = None,
    *,
    resolved: Annotated[bool, typer.Option("--resolved", help="Only print the recipe with every default.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Only print the JSON Schema of recipes.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:
    """Say everything that can be known without training."""
    from metier.errors import DONE, ArgumentError

    if schema:
        from metier.recipe.dump import recipe_schema

        show(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
        return DONE
    if recipe is None:
        raise ArgumentError("metier check", "no recipe is given", "a YAML file", "See `metier check --help`.")
    from metier.recipe.load import load_recipe

    loaded = load_recipe(recipe, tuple(settings or ()))
    if resolved:
        from metier.recipe.dump import dump_recipe

        show(dump_recipe(loaded).rstrip("\n"))
        return DONE
    return DONE
