"""`metier report RUN`: write the report and the model card of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import show


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
) -> int:
    """Write the report and the model card of a run again."""
    from metier.errors import DONE
    from metier.report.card import write_model_card
    from metier.report.gather import gather_summary
    from metier.report.judgement_page import is_judgement, write_judgement
    from metier.report.write import write_report
    from metier.store.run_folder import find_run

    folder = find_run(run)
    if is_judgement(folder):
        show(f"Report: {write_judgement(folder)}")
        return DONE
    summary = gather_summary(folder)
    page = write_report(summary, folder.report)
    card = write_model_card(summary, folder.readme)
    show(f"Report: {page}\nCard:   {card}")
    return DONE
