"""What cleaning found, did and changed, and which answers change with the group: for the page, the card, the terminal.

Takes the values of a run; gives tables and sentences. Row by row it stands on the page of the data.
"""

from __future__ import annotations

from collections.abc import Mapping

from metier.evaluation.results import Ablation, Estimate, Evaluation
from metier.evaluation.swap_values import SwapChange
from metier.report import formats
from metier.report.summary import RunSummary
from metier.report.tables import Cell, Column, Row, Table, estimate_cell

NAMES = {"cleaned": "cleaned", "raw": "as they were read"}
"""The two trainings of an ablation, in words."""
STAYING = ("accuracy", "exact_match")
"""The share of answers that stay: of labels, of written answers."""


def steps_table(summary: RunSummary) -> Table | None:
    """Every cleaning step that found or did something, in their order; None where none did."""
    told = [step for step in summary.steps if step.doubts or step.done or any(step.counts.values())]
    if not told:
        return None
    rows = tuple(
        Row((
            Cell(step.step.replace("_", " ")), Cell(formats.count(step.looked_at)), Cell(formats.count(step.doubts)),
            Cell(_counts(step.counts) or "nothing"), Cell(_counts(step.done) or "nothing"),
        ))
        for step in told
    )  # fmt: skip
    columns = (
        Column("Step"), Column("Rows looked at", numeric=True), Column("Doubts", numeric=True), Column("Found"),
        Column("Done"),
    )  # fmt: skip
    quiet = len(summary.steps) - len(told)
    more = f" {formats.counted(quiet, 'more step')} found nothing." if quiet else ""
    return Table(f"Cleaning steps, what they found, and what was done about it.{more}", columns, rows)


def ablation_table(ablation: Ablation | None) -> Table | None:
    """What each of the two learned from, and the change; None where nothing was compared."""
    if ablation is None or ablation.change is None:
        return None
    planned = ablation.steps.get("planned")
    rows = tuple(
        Row((
            Cell(words), Cell(formats.count(ablation.records[name])),
            Cell(formats.count(ablation.steps[name]) if name in ablation.steps else "none"),
        ))
        for name, words in NAMES.items()
    )  # fmt: skip
    columns = (Column("Rows of train"), Column("Learned from", numeric=True), Column("Optimiser steps", numeric=True))
    of = f" {formats.counted(planned, 'step')} were planned for both." if planned else ""
    return Table(f"The promoted way, trained on the rows of train in two states.{of}", columns, rows)


def swaps_table(summary: RunSummary) -> Table | None:
    """Share of answers that change when a test record speaks of another group; None where that was not asked."""
    if not summary.swaps:
        return None
    against = summary.looks.swaps
    base = {} if against is None or against.base is None else {each.dimension: each for each in against.dimensions}
    rows = tuple(
        Row((
            Cell(_dimension(found)), Cell(formats.count(found.n)), estimate_cell(changed(found)),
            *_from_base(base.get(_dimension(found)), asked=bool(base)), Cell(_counts(_left_out(found)) or "none"),
        ))
        for found in summary.swaps
    )  # fmt: skip
    beside = (
        Column("Of the base", numeric=True), Column("Change from the base", numeric=True),
        Column("p (Holm)", numeric=True),
    )  # fmt: skip
    columns = (
        Column("Swapped"), Column("Copies", numeric=True), Column("Answers that change", numeric=True),
        *(beside if base else ()), Column("Left out"),
    )  # fmt: skip
    caption = (
        f"{summary.comparison.candidate} asked test records again, with names, pronouns or group words swapped: the "
        "share of answers that are not those to the originals, with 95 % intervals. Word lists in English; what they "
        "do not name is not tested."
    )
    return Table(caption, columns, rows)


def _from_base(change: SwapChange | None, *, asked: bool) -> tuple[Cell, ...]:
    """The base's share, the change and its corrected p-value; no cells where no base was asked."""
    if not asked:
        return ()
    if change is None:
        return (Cell("not asked"), Cell("unknown"), Cell("unknown"))
    p_value = "unknown" if change.p_holm is None else f"{change.p_holm:.3f}"
    return (estimate_cell(change.base_changed), estimate_cell(change.change, with_sign=True), Cell(p_value))


def swaps_lines(summary: RunSummary) -> list[str]:
    """The same as one sentence a dimension."""
    against = summary.looks.swaps
    return [
        *(
            f"Swapped {_dimension(found)}: {_percent(changed(found))} of {found.n:,} answers change."
            for found in summary.swaps
        ),
        *([against.sentence] if against is not None and against.base is not None else []),
    ]


def changed(found: Evaluation) -> Estimate | None:
    """The share of answers that change: what is missing to the share of those that stay.

    Args:
        found: Answers to copies, whose right answers are those to the originals.
    """
    stays = next((found.metrics[name] for name in STAYING if name in found.metrics), None)
    if stays is None or stays.value is None:
        return stays
    return Estimate(
        value=1 - stays.value, low=None if stays.high is None else 1 - stays.high,
        high=None if stays.low is None else 1 - stays.low, n=stays.n, method=stays.method, reason=stays.reason,
    )  # fmt: skip


def _percent(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "an unknown share"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _left_out(found: Evaluation) -> Mapping[str, int]:
    left: Mapping[str, int] = found.settings.get("left_out", {})
    return left


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _dimension(found: Evaluation) -> str:
    return str(found.settings.get("dimension", found.set))
