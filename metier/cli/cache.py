"""`metier cache usage`, `purge` and `forget`: what was computed once, how big it is, and away with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import show, write_json_object
from metier.cli.run import AsJson

app = typer.Typer(help="Show or empty the cache.", rich_markup_mode=None)


@app.command("usage")
def usage(*, as_json: AsJson = False) -> int:
    """Show where the cache is, what it takes, and when each kind was last used."""
    from metier.cli.tables import aligned
    from metier.errors import DONE
    from metier.report import formats
    from metier.store.cache import cache_folder, cache_root
    from metier.store.cache import usage as usage_by_kind
    from metier.store.limit import VARIABLE, cache_limit
    from metier.store.values import to_plain

    kinds, limit = usage_by_kind(), cache_limit(cache_folder("trunk"))
    if as_json:
        values = {"folder": str(cache_root()), "kinds": to_plain(kinds), "trunk_limit": limit}
        write_json_object("cache-usage", values)
        return DONE
    rows = [
        (kind, f"{used.files:,}", formats.megabytes(used.bytes), used.last_used or "never")
        for kind, used in kinds.items()
    ]
    table = aligned(("Kind", "Files", "Size", "Last used"), rows)
    show(f"{cache_root()}\n\n{table}\n\nThe trunk may take {formats.megabytes(limit)} ({VARIABLE}).")
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


@app.command("forget")
def forget(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run that read the rows.", show_default=False)],
    *,
    row: Annotated[list[int], typer.Option("--row", help="A row of the data file; repeatable.", show_default=False)],
    source: Annotated[
        str | None, typer.Option("--source", help="Name of the data file, where there are several.", show_default=False)
    ] = None,
) -> int:
    """Delete what the cache and recordings of endpoints hold of single rows. The run folder stays otherwise."""
    from metier.errors import DONE
    from metier.stages.forget import forget_records
    from metier.store.run_folder import find_run

    folder = find_run(run)
    gone = forget_records(folder, row, source)
    recorded = "".join(
        f"Forgotten in {path}: {count} answers of endpoints, which would be asked again.\n"
        for path, count in gone.recorded.items()
    )
    show(
        f"Forgotten in the cache, of {gone.records} records: states of {gone.trunk_tokens:,} tokens, {gone.features} "
        f"feature vectors, {gone.scores} rows of label scores, {gone.answers} answers, and {gone.stages} stored stages "
        f"of the run.\n{recorded}The run folder and the data files hold the records too; they are yours to delete."
    )
    return DONE
