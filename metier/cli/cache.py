"""`metier cache usage` and `metier cache purge`: what was computed once, how big it is, and away with it."""

from __future__ import annotations

from typing import Annotated

import typer

from metier.cli.output import show, write_json_object
from metier.cli.run import AsJson

app = typer.Typer(help="Show or empty the cache.", rich_markup_mode=None)


@app.command("usage")
def usage(*, as_json: AsJson = False) -> int:
    """Show where the cache is and what it takes."""
    from metier.cli.tables import aligned
    from metier.errors import DONE
    from metier.report import formats
    from metier.store.cache import cache_root
    from metier.store.cache import usage as usage_by_kind
    from metier.store.values import to_plain

    kinds = usage_by_kind()
    if as_json:
        write_json_object("cache-usage", {"folder": str(cache_root()), "kinds": to_plain(kinds)})
        return DONE
    rows = [(kind, f"{used.files:,}", formats.megabytes(used.bytes)) for kind, used in kinds.items()]
    show(f"{cache_root()}\n\n{aligned(('Kind', 'Files', 'Size'), rows)}")
    return DONE


@app.command("purge")
def purge(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="One kind; `metier cache usage` lists them.", show_default=False),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove every kind.")] = False,
) -> int:
    """Remove one kind of cache entry, or --all. Everything in it can be computed or fetched again."""
    from metier.errors import DONE, ArgumentError
    from metier.report import formats
    from metier.store.cache import CACHE_KINDS
    from metier.store.cache import purge as purge_kind

    if (kind is None) != everything or (kind is not None and kind not in CACHE_KINDS):
        found = f"kind {kind}" if kind is not None else "what to remove is not said"
        raise ArgumentError("metier cache purge", found, f"one of {', '.join(CACHE_KINDS)}, or --all")
    show(f"Freed {formats.megabytes(purge_kind(kind))}.")
    return DONE
