"""The page of `metier compare RECIPE`: how systems that a recipe names stand against each other, and how sure that is.

Takes the folder of a comparison; writes one HTML file and its figures. Reads values files only and shows no text of a
record. Loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.errors import RunFolderError
from metier.evaluation.files import read_evaluations
from metier.evaluation.looks import look_path, read_look
from metier.evaluation.results import Estimate, Evaluation
from metier.evaluation.standings import Judgement, JudgeReport, Standing
from metier.report import canvas, formats
from metier.report.canvas import Drawing
from metier.report.environment import page_environment
from metier.report.made_by import write_made_by
from metier.report.points import Point, draw_points, read_aloud
from metier.report.tables import Cell, Column, Row, Table, estimate_cell, known_cell
from metier.report.trainings import judge_table
from metier.store.files import write_text
from metier.store.run_folder import RunFolder

SETS = ("test", "validation")
"""Sets whose records named systems answer: a comparison has one."""
TONES = {"better": "good", "worse": "bad", "not worse": "calm", "reference": ""}
"""Colour of a standing; every other one says that we do not know enough."""
COLOURS = {"good": canvas.GOOD, "bad": canvas.BAD, "calm": canvas.ACCENT, "": canvas.MUTED}
SECTIONS = {"standings": "How they stand", "claims": "How sure that is", "metrics": "Every metric"}


@dataclass(frozen=True, kw_only=True)
class JudgementSummary:
    """Everything that the page shows."""

    name: str
    """The folder's name."""
    judgement: Judgement
    judge: JudgeReport | None
    systems: tuple[Evaluation, ...]
    """In the order of the standings, without items."""


def is_judgement(folder: RunFolder) -> bool:
    """Whether a folder holds a comparison of named systems.

    Args:
        folder: Any run folder.
    """
    return _place(folder) is not None


def gather_judgement(folder: RunFolder) -> JudgementSummary:
    """Read what the page shows.

    Args:
        folder: Of a finished `metier compare RECIPE`.

    Raises:
        RunFolderError: It holds no comparison of named systems, or a file is damaged.
    """
    place = _place(folder)
    judgement = None if place is None else read_look(Judgement, place)
    if place is None or judgement is None:
        found = "holds no comparison of named systems"
        raise RunFolderError(str(folder.path), found, "the folder of `metier compare RECIPE`", "Compare first.")
    by_name = {each.system: each for each in read_evaluations(place, items=False)}
    systems = tuple(by_name[row.system] for row in judgement.standings if row.system in by_name)
    return JudgementSummary(
        name=folder.path.name, judgement=judgement, judge=read_look(JudgeReport, place), systems=systems
    )


def write_judgement(folder: RunFolder) -> Path:
    """Write the page and its figures into the folder's `report`.

    Args:
        folder: Of a finished `metier compare RECIPE`.

    Returns:
        Path of the page.

    Raises:
        RunFolderError: It holds no comparison of named systems, or a file is damaged.
    """
    summary = gather_judgement(folder)
    figures = draw_judgement(summary)
    for drawing in figures:
        write_text(folder.figures / f"{drawing.name}.svg", drawing.svg)
    write_text(folder.report_page, render_judgement(summary, figures))
    write_made_by(summary.name, folder.report)
    return folder.report_page


def render_judgement(summary: JudgementSummary, figures: tuple[Drawing, ...]) -> str:
    """The whole page as HTML.

    Args:
        summary: What is shown.
        figures: The drawings to put inside.
    """
    environment, style = page_environment()
    judge = {} if summary.judge is None else {"judge": "Judge model"}
    shown: dict[str, Any] = {
        "summary": summary, "sections": {**SECTIONS, **judge}, "style": style, "figures": figures,
        "standings": standings_table(summary.judgement), "claims": claims_table(summary.judgement),
        "metrics": metrics_table(summary), "judge": judge_table(summary.judge), "openings": openings_line(summary),
    }  # fmt: skip
    return environment.get_template("judgement.html").render(**shown)


def _place(folder: RunFolder) -> Path | None:
    places = [folder.evaluation_of(name).path for name in SETS]
    return next((place for place in places if look_path(Judgement, place).is_file()), None)


def _tone(row: Standing) -> str:
    return TONES.get(row.standing, "doubt")


def standings_table(found: Judgement) -> Table:
    """One row a system: its value, how it stands, what an answer takes and costs.

    Args:
        found: All systems against the reference.
    """
    paid = any(row.price is not None for row in found.standings)
    columns = (
        Column("System"), Column(formats.metric_heading(found.metric), numeric=True),
        Column(f"Against {found.reference}", numeric=True), Column("It is"), Column("Seconds an answer", numeric=True),
        *((Column("Price of 1,000", numeric=True),) if paid else ()), Column("No answer", numeric=True),
    )  # fmt: skip
    rows = []
    for row in found.standings:
        difference = None if row.difference is None else row.difference.difference
        cells = (
            Cell(row.system, row.kind), estimate_cell(row.value),
            Cell("–") if difference is None else estimate_cell(difference, with_sign=True),
            Cell(row.standing, "", _tone(row)), _or_unknown(row.seconds),
            *((_price(row),) if paid else ()), Cell(formats.count(row.unanswered)),
        )  # fmt: skip
        rows.append(Row(cells, strong=row.system == found.reference))
    margin = f" Not worse: by less than {formats.score(found.margin)}." if found.margin is not None else ""
    caption = (
        f"All systems on the same {formats.counted(found.n, f'{formats.set_words(found.set)} record')}, with 95 % "
        f"intervals; differences are paired, positive is better.{margin} A record without an answer counts as wrong."
    )
    return Table(caption, columns, tuple(rows))


def _or_unknown(estimate: Estimate | None) -> Cell:
    return known_cell(formats.UNKNOWN) if estimate is None else estimate_cell(estimate)


def _price(row: Standing) -> Cell:
    if row.price is None or row.price.value is None:
        return known_cell(formats.UNKNOWN)
    return Cell(f"{1000 * row.price.value:,.2f} {row.currency or ''}".rstrip())


def claims_table(found: Judgement) -> Table | None:
    """Each difference as a separate claim; None where there is nothing but the reference.

    Args:
        found: All systems against the reference.
    """
    told = [(row, row.difference) for row in found.standings if row.difference is not None]
    if not told:
        return None
    openings = found.openings or 1
    again = openings > 1
    columns = (
        Column("System"), Column("p", numeric=True), Column("p (Holm)", numeric=True),
        *((Column(f"At {100 - 5 / openings:.4g} %", numeric=True),) if again else ()),
        Column("Gained", numeric=True), Column("Lost", numeric=True), Column("Detectable", numeric=True),
        Column("Records needed", numeric=True),
    )  # fmt: skip
    rows = []
    for row, claim in told:
        after = claim.after_openings
        left = formats.UNKNOWN if after is None else formats.interval(after, with_sign=True)
        cells = (
            Cell(row.system, f"{formats.score(claim.candidate_value)} against {formats.score(claim.baseline_value)}"),
            known_cell(formats.p_value(claim.p_value)), known_cell(formats.p_value(claim.p_holm)),
            *((known_cell(left),) if again else ()), Cell(formats.count(claim.gained)), Cell(formats.count(claim.lost)),
            known_cell(formats.score(claim.smallest_detectable)), known_cell(formats.count(claim.items_needed)),
        )  # fmt: skip
        rows.append(Row(cells))
    return Table(
        f"Each system against {found.reference} as a claim of its own. Gained: records that only it has right. Lost: "
        "those of the reference alone. Detectable: the smallest difference that so many records find four times in "
        f"five; records needed: to find {formats.score(found.smallest_useful_gain)}, the smallest useful gain.",
        columns, tuple(rows),
    )  # fmt: skip


def metrics_table(summary: JudgementSummary) -> Table:
    """Every metric of every system.

    Args:
        summary: What is shown.
    """
    names = list(dict.fromkeys(name for system in summary.systems for name in system.metrics))
    rows = tuple(
        Row((
            Cell(formats.metric_heading(name)),
            *(estimate_cell(system.metrics.get(name)) for system in summary.systems),
        ))
        for name in names
    )  # fmt: skip
    columns = (Column("Metric"), *(Column(system.system, numeric=True) for system in summary.systems))
    return Table("Every metric of every system, with 95 % intervals.", columns, rows)


def openings_line(summary: JudgementSummary) -> str:
    """How often these records were looked at.

    Args:
        summary: What is shown.
    """
    found = summary.judgement
    if found.set == "validation":
        return "The records are those of validation: the test set stayed closed, and no opening was counted."
    if found.openings is None:
        return "How often this test set was opened was not recorded."
    return f"The test set was opened {formats.times(found.openings)}, this comparison included."


def draw_judgement(summary: JudgementSummary) -> tuple[Drawing, ...]:
    """The systems, and their differences from the reference.

    Args:
        summary: What is shown.
    """
    found = summary.judgement
    title = formats.metric_heading(found.metric)
    own = [
        Point(row.system, row.value, canvas.ACCENT if row.difference is None else canvas.MUTED, row.difference is None)
        for row in found.standings
    ]
    drawings = [
        draw_points(own).finish(
            name="systems", caption=f"{title} of every system. A line is the 95 % interval; {found.reference} is the "
            "reference.", alt=f"{title} with 95 % intervals: {read_aloud(own)}.",
        )
    ]  # fmt: skip
    gaps = [
        Point(row.system, row.difference.difference, COLOURS.get(_tone(row), canvas.DOUBT), strong=True)
        for row in found.standings
        if row.difference is not None
    ]
    if gaps:
        band = found.smallest_useful_gain
        drawings.append(
            draw_points(gaps, with_sign=True, band=band).finish(
                name="standings",
                caption=(
                    f"Every system minus {found.reference}, record by record; right of the line it is better. The band "
                    f"reaches to the smallest useful gain, {formats.score(band)}."
                ),
                alt=f"Difference from {found.reference} with 95 % intervals: {read_aloud(gaps, with_sign=True)}.",
            )
        )
    return tuple(drawings)
