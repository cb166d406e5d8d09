"""`tools/first_runs.py`: a page of results from run folders."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import RunFolderError
from metier.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def tool(repository: Path) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("first_runs", repository / "tools" / "first_runs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_has_every_system_candidate_and_the_command(
    tool: Any, make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    folder = make_run()
    output = tmp_path / "new" / "page.md"
    command = "metier run planted.yaml --set seed=3"
    assert tool.main(["--output", str(output), "--command", f"one={command}", f"one={folder.path}"]) == 0
    page = output.read_text(encoding="utf-8")
    from metier.report.gather import gather_summary

    summary = gather_summary(folder)
    assert f"- command: `{command}`" in page
    assert f"**{summary.comparison.sentence}**" in page
    for system in summary.test:
        assert f"| {system.system} |" in page
    for attempt in summary.attempts:
        assert f"| {attempt.name} |" in page
        assert all(note in page for note in attempt.model.notes)
    widths = {line.count(" | ") for line in page.splitlines() if line.startswith("| ") and "by this" not in line}
    assert len(widths) <= 2, "the two kinds of table, each with as many cells in every row"


def test_a_folder_without_a_finished_run_is_refused(tool: Any, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        tool.render_page([("none", tmp_path)], {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["x=1", "--command", "y=run"], "names no run: y"), (["folder"], "is not NAME=VALUE")],
    ids=["unknown name", "no name"],
)
def test_wrong_arguments_are_told(
    arguments: list[str], message: str, tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tool.main([*arguments, "--output", str(tmp_path / "page.md")])
    assert message in capsys.readouterr().err
