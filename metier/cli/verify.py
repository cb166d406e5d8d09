"""`metier verify RUN`: compute every reported number again from the per-item results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson

DIFFERS = 2


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> int:
    """Compute every reported number again from the items.

    Lists what differs, and then ends with exit code 2.
    """
    from metier.errors import DONE
    from metier.evaluation.verify import holds_hashes, verify_evaluations
    from metier.store.run_folder import find_run
    from metier.store.values import to_plain

    folder = find_run(run)
    mismatches = verify_evaluations(folder.evaluation)
    if as_json:
        write_json_object("verification", {"mismatches": to_plain(mismatches)})
    elif mismatches:
        for mismatch in mismatches:
            say(f"{mismatch.where}: reported {mismatch.reported}, recomputed {mismatch.recomputed}")
        show(f"{len(mismatches):,} reported numbers are not what the items give.")
    else:
        show("Every reported number is what the items give.")
    if not as_json and holds_hashes(folder.evaluation):
        say("privacy: strict: hashes stand for written answers; of their counts only exact matches were made again")
    return DIFFERS if mismatches else DONE
