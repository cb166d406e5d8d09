"""The door of the room: write the page and its figures."""

from __future__ import annotations

from pathlib import Path

from metier.report.figures import draw_figures
from metier.report.made_by import write_made_by
from metier.report.page import render_page
from metier.report.summary import RunSummary
from metier.store.files import write_text


def write_report(summary: RunSummary, folder: Path) -> Path:
    """Write `index.html`, which needs no other file, and its figures one by one beside it.

    Args:
        summary: What a run found; see `gather_summary`.
        folder: Where to write; made when it is not there.

    Returns:
        Path of the page.
    """
    figures = draw_figures(summary)
    page = folder / "index.html"
    for drawing in figures.every():
        write_text(folder / "figures" / f"{drawing.name}.svg", drawing.svg)
    write_text(page, render_page(summary, figures))
    write_made_by(summary.folder, folder)
    return page
