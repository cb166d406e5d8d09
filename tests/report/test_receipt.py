"""The receipt in the page and in the terminal: predicted beside measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metier.cli.tables import final_text
from metier.planning.receipt_values import Receipt, ReceiptLine
from metier.report.figures import draw_figures
from metier.report.page import render_page
from metier.report.receipt import receipt_line, receipt_sentence, receipt_table
from metier.report.summary import RunSummary

RECEIPT = Receipt(
    lines=(
        ReceiptLine(
            what="memory", unit="bytes", predicted=1.5e9, low=1.4e9, high=1.7e9, measured=1.8e9,
        ),
        ReceiptLine(what="time", unit="seconds", predicted=100.0, low=90.0, high=130.0, measured=110.0),
        ReceiptLine(what="training", unit="seconds", predicted=60.0, measured=72.0),
        ReceiptLine(what="energy", unit="Wh", predicted=None, note="this machine does not tell its energy"),
        ReceiptLine(what="cost", unit="EUR", predicted=0.1, low=0.09, high=0.13, measured=0.11),
    ),
    how="predicted by `metier check`",
)  # fmt: skip


@pytest.fixture
def settled(summary: RunSummary) -> RunSummary:
    return replace(summary, receipt=RECEIPT)


def test_the_table_has_both_and_their_ratio(settled: RunSummary) -> None:
    table = receipt_table(settled)
    assert table is not None
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}
    assert rows["Highest memory"] == ["1,500.0 MB", "1,800.0 MB", "1.20"]
    assert rows["of it: training"][2] == "1.20"
    assert rows["Energy"] == ["unknown", "unknown", "unknown"], "unknown is never zero"
    assert rows["Cost"] == ["0.10 EUR", "0.11 EUR", "1.10"]
    notes = {row.cells[0].text: [cell.note for cell in row.cells] for row in table.rows}
    assert notes["Energy"][0] == "this machine does not tell its energy"
    assert notes["Highest memory"][1] == "1,400.0 MB to 1,700.0 MB"


def test_one_line_for_the_terminal(settled: RunSummary) -> None:
    assert receipt_line(RECEIPT) == ("Plan: 1,500.0 MB and 1 min 40 s predicted, 1,800.0 MB and 1 min 50 s measured.")
    assert receipt_line(replace(RECEIPT, whole=False)).endswith("measured, some of it taken from earlier runs.")
    assert receipt_line(RECEIPT) in final_text(settled, report="index.html", uses=[])


def test_where_nothing_was_predicted_that_is_said(summary: RunSummary) -> None:
    assert receipt_table(summary) is None
    assert receipt_sentence(summary) == "Nothing was predicted for this run."
    assert "Plan:" not in final_text(summary, report="index.html", uses=[])


def test_the_page_shows_the_receipt(settled: RunSummary) -> None:
    figures = draw_figures(settled)
    page = render_page(settled, figures)
    assert "<h3>Receipt</h3>" in page and "Predicted by `metier check`." in page
    assert "Energy and emissions were not measured." in page
    known = tuple(replace(line, measured=1.5) if line.what == "energy" else line for line in RECEIPT.lines)
    page = render_page(replace(settled, receipt=replace(RECEIPT, lines=known)), figures)
    assert "Emissions were not measured." in page


def test_parts_from_before_are_told(settled: RunSummary) -> None:
    said = receipt_sentence(replace(settled, receipt=replace(RECEIPT, whole=False)))
    assert said == "Predicted by `metier check`. Some stages were taken from earlier runs, so times cannot be compared."
