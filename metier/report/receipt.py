"""The receipt of a run: predicted beside measured, as a table, a sentence and a line for a terminal."""

from __future__ import annotations

from metier.planning.receipt_values import Receipt, ReceiptLine
from metier.report import formats
from metier.report.summary import RunSummary
from metier.report.tables import Cell, Column, Row, Table

WORDS = {"memory": "Highest memory", "time": "Time, the report left out", "energy": "Energy", "cost": "Cost"}
"""What stands in the table for a line; a part of the run stands under its own name."""


def receipt_table(summary: RunSummary) -> Table | None:
    """Every line of the receipt; None where there is none."""
    receipt = summary.receipt
    if receipt is None:
        return None
    columns = (Column("What"), Column("Predicted", numeric=True), Column("Measured", numeric=True),
               Column("Measured / predicted", numeric=True))  # fmt: skip
    rows = []
    for line in receipt.lines:
        ratio = formats.UNKNOWN if line.ratio is None else f"{line.ratio:.2f}"
        cells = (
            Cell(WORDS.get(line.what, f"of it: {line.what}"), line.note), _cell(line.predicted, line, _interval(line)),
            _cell(line.measured, line, ""), Cell(ratio, "", "unknown" if line.ratio is None else ""),
        )  # fmt: skip
        rows.append(Row(cells, strong=line.what in WORDS))
    return Table("What the run took, beside what was predicted when it began.", columns, tuple(rows))


def receipt_sentence(summary: RunSummary) -> str:
    """Where the prediction came from, and what makes it hard to compare."""
    receipt = summary.receipt
    if receipt is None:
        return "Nothing was predicted for this run."
    parts = "" if receipt.whole else " Some stages were taken from earlier runs, so times cannot be compared."
    return f"{receipt.how[:1].upper()}{receipt.how[1:]}.{parts}"


def receipt_line(receipt: Receipt) -> str:
    """Memory and time in one line: `Plan: 1.4 GB and 12 min predicted, 1.3 GB and 11 min measured`."""
    known = [line for what in ("memory", "time") if (line := receipt.line(what)) is not None]
    predicted = " and ".join(amount(line.predicted, line.unit) for line in known)
    measured = " and ".join(amount(line.measured, line.unit) for line in known)
    parts = "" if receipt.whole else ", some of it taken from earlier runs"
    return f"Plan: {predicted} predicted, {measured} measured{parts}."


def amount(value: float | None, unit: str) -> str:
    """A number with its unit; unknown where there is none."""
    if value is None:
        return formats.UNKNOWN
    if unit == "bytes":
        return formats.megabytes(round(value))
    if unit == "seconds":
        return formats.duration(value)
    return f"{value:,.2f} {unit}"


def _cell(value: float | None, line: ReceiptLine, note: str) -> Cell:
    text = amount(value, line.unit)
    return Cell(text, note, "unknown" if text == formats.UNKNOWN else "")


def _interval(line: ReceiptLine) -> str:
    if line.low is None or line.high is None or line.low == line.high:
        return ""
    return f"{amount(line.low, line.unit)} to {amount(line.high, line.unit)}"
