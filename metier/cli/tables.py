"""Tables for a terminal: aligned text that can be copied, and the last thing that `metier run` prints."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

from metier.evaluation.results import Comparison, Estimate, Evaluation
from metier.report import formats
from metier.report.cleaning import swaps_lines
from metier.report.openings import openings_sentence
from metier.report.questions import ROOM, reply_lines
from metier.report.receipt import receipt_line
from metier.report.summary import RunSummary

WIDEST_CELL = 60
LOWER = "↓"
"""Stands after the title of a metric whose lower values are better."""


def aligned(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns two spaces apart under their titles, a line between; long cells are cut with an ellipsis."""
    cells = [[formats.shortened(cell, WIDEST_CELL) for cell in row] for row in (columns, *rows)]
    widths = [max(_width(row[place]) for row in cells) for place in range(len(columns))]
    lines = ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def systems_table(systems: Sequence[Evaluation], metrics: Sequence[str], *, width: int | None = None) -> str:
    """One row a system: its metrics with their intervals, its size, its time for a thousand answers.

    Args:
        systems: In the order of the rows.
        metrics: In the order of the columns.
        width: Of the terminal; the last columns are left out where it is narrower. None: all are shown.
    """
    titles = [f"{_title(metric)} (95 %)" for metric in metrics]
    rows = [
        [
            system.system,
            *(_estimate(system.metrics.get(metric)) for metric in metrics),
            _or_dash(system.parameters, formats.parameters(system.parameters)),
            _or_dash(system.bytes, formats.megabytes(system.bytes)),
            _or_dash(system.seconds_per_thousand, formats.duration(system.seconds_per_thousand)),
        ]
        for system in systems
    ]
    columns = ["System", *titles, "Parameters", "Size", "Per 1,000"]
    table = aligned(columns, rows)
    while width is not None and len(columns) > 2 and max(map(_width, table.splitlines())) > width:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
        table = aligned(columns, rows)
    return table


def differences_table(comparison: Comparison) -> str:
    """One row a baseline: the paired difference with its interval, p-value, discordant items, verdict.

    A positive difference is better, also where lower values are. Items are those that only one has right, where
    answers are right or wrong.
    """
    judged = bool(comparison.accuracy_differences)
    right = comparison.accuracy_differences[0].metric if judged else ""
    items = "Items" if right == "accuracy" else formats.metric_title(right or "items")
    rows = [
        [
            row.baseline, _title(row.metric), _estimate(row.difference, signed=True),
            formats.p_value(row.p_value), *([f"+{row.gained} −{row.lost}"] if judged else []), row.verdict,
        ]
        for row in comparison.differences
    ]  # fmt: skip
    difference = "Better by (95 %)" if formats.lower_is_better(comparison.primary_metric) else "Difference (95 %)"
    columns = [f"{comparison.candidate} against", "Metric", difference, "p", *([items] if judged else []), "Verdict"]
    return aligned(columns, rows)


def shown_metrics(systems: Sequence[Evaluation], comparison: Comparison) -> tuple[str, ...]:
    """The metrics of the table: the primary one and the usual ones of its task, each once."""
    return formats.table_metrics(systems, comparison.primary_metric, formats.TERMINAL_METRICS)


def lower_line(metrics: Sequence[str]) -> list[str]:
    """What the arrow means, where one is shown."""
    return [f"{LOWER} lower is better"] if any(formats.lower_is_better(metric) for metric in metrics) else []


def _title(metric: str) -> str:
    return (
        f"{formats.metric_title(metric)} {LOWER}" if formats.lower_is_better(metric) else formats.metric_title(metric)
    )


def gate_lines(comparison: Comparison) -> list[str]:
    """One line a gate: whether it held, what it wanted, what was found."""
    return [
        f"gate {gate.gate}: {'passed' if gate.passed else 'FAILED'} (wanted {gate.wanted}, found {gate.found})"
        for gate in comparison.gates
    ]


def final_text(summary: RunSummary, *, report: str, uses: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """What `metier run` ends with: the table, the verdict, the gates, where to go on.

    Args:
        summary: The finished run.
        report: Path of the page to open.
        uses: Commands that use the model, each with what it does in a word.
        width: Of the terminal; None where the text does not go to one.
    """
    comparison = summary.comparison
    test = summary.data.splits.get(comparison.set)
    size = f"{comparison.n:,} {formats.set_words(comparison.set)} records"
    size += f" of {test.groups:,} groups" if test else ""
    metrics = shown_metrics(summary.test, comparison)
    table = systems_table(summary.test, metrics, width=width)
    lines = ["", f"On {size}:", "", table, *lower_line(metrics), "", *_hanging(reply_lines(summary), width)]
    lines.append(openings_sentence(comparison))
    lines += gate_lines(comparison)
    if summary.overfitting is not None:
        lines.append(summary.overfitting.sentence)
    if summary.ablation is not None:
        lines.append(summary.ablation.sentence)
    lines += swaps_lines(summary)
    if summary.receipt is not None:
        lines.append(receipt_line(summary.receipt))
    if summary.privacy is not None:
        lines.append(f"privacy: strict: {summary.privacy.line}")
    ways = [("Report", report), *uses]
    room = max(len(name) for name, _ in ways) + 1
    return "\n".join([*lines, "", *(f"{name + ':':<{room}} {way}" for name, way in ways)])


def _hanging(lines: Sequence[str], width: int | None) -> list[str]:
    """Lines that are wrapped under their own beginning; as they are where there is no terminal."""
    if width is None:
        return list(lines)
    room = " " * (ROOM + 1)
    return [
        textwrap.fill(line, max(width, 40), subsequent_indent=room, break_long_words=False, break_on_hyphens=False)
        for line in lines
    ]


def _estimate(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None or estimate.value is None:
        return formats.UNKNOWN
    form = formats.signed if signed else formats.score
    if estimate.low is None or estimate.high is None:
        return form(estimate.value)
    return f"{form(estimate.value)} [{form(estimate.low)}, {form(estimate.high)}]"


def _or_dash(value: object, text: str) -> str:
    return "–" if value is None else text


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
