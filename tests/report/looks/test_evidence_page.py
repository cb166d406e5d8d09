"""`tools/evidence_page.py`: the four answers of finished runs, with the tables that they rest on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.evaluation.looks import write_look
from metier.report.gather import gather_summary
from metier.report.questions import replies
from metier.report.summary import RunSummary
from metier.store.run_folder import RunFolder


@pytest.fixture
def tool(repository: Path) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("evidence_page", repository / "tools" / "evidence_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_answers_tables_and_picture(
    tool: Any, make_run: Callable[..., RunFolder], summary: RunSummary, tmp_path: Path
) -> None:
    folder, looks = make_run(), summary.looks
    place = folder.evaluation_of("test").path
    for look in (looks.trust, looks.slices, looks.robustness):
        assert look is not None
        write_look(look, place)
    output = tmp_path / "results" / "evidence.md"
    (output.parent / "evidence").mkdir(parents=True)
    (output.parent / "evidence" / "one.png").write_bytes(b"")
    command = "metier run planted.yaml"
    assert tool.main(["--output", str(output), "--command", f"one={command}", f"one={folder.path}"]) == 0
    page = output.read_text(encoding="utf-8")
    for reply in replies(gather_summary(folder)):
        assert f"| {reply.question} | " in page
    for part in (f"`{command}`", "Calibration error", "Against the rest", "Right when changed", "(evidence/one.png)"):
        assert part in page
    assert "<b>" not in page, "names of slices come from outside"


def test_a_long_table_is_cut_and_says_so(
    tool: Any, make_run: Callable[..., RunFolder], summary: RunSummary, tmp_path: Path
) -> None:
    folder, slices = make_run(), summary.looks.slices
    assert slices is not None
    many = tuple(replace(slices.slices[0], name=f"slice {number}") for number in range(tool.MOST_ROWS + 3))
    write_look(replace(slices, slices=many), folder.evaluation_of("test").path)
    page = tool.render_page([("one", folder.path)], {}, tmp_path / "page.md")
    assert "3 more rows in the report." in page
    assert f"slice {tool.MOST_ROWS - 1} " in page and f"slice {tool.MOST_ROWS} " not in page
