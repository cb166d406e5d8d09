"""The door writes one page that stands alone, its figures, and is fast."""

from __future__ import annotations

import time
from pathlib import Path

from metier.report.summary import RunSummary
from metier.report.write import write_report


def test_page_and_figures_are_written(summary: RunSummary, tmp_path: Path) -> None:
    page = write_report(summary, tmp_path / "report")
    assert page == tmp_path / "report" / "index.html"
    figures = sorted(path.name for path in (tmp_path / "report" / "figures").iterdir())
    assert {"confusion.svg", "loss-001.svg", "systems-macro_f1.svg", "overfitting.svg"} <= set(figures)
    assert all(name.endswith(".svg") for name in figures)
    assert "var(--" not in (tmp_path / "report" / "figures" / "confusion.svg").read_text(encoding="utf-8")


def test_writing_again_gives_the_same_bytes(summary: RunSummary, tmp_path: Path) -> None:
    first = write_report(summary, tmp_path / "a").read_bytes()
    assert write_report(summary, tmp_path / "b").read_bytes() == first


def test_writing_takes_less_than_three_seconds_of_work(summary: RunSummary, tmp_path: Path) -> None:
    start = time.process_time()
    write_report(summary, tmp_path)
    assert time.process_time() - start < 3
