"""`metier run`: what it hands to the flow, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.events import Notice
from metier.run import RunResult
from metier.store.run_folder import RunFolder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that loads."""
    path = tmp_path / "r.yaml"
    path.write_text("version: 1\nname: small\ndata: {train: a.csv}\n", encoding="utf-8")
    return path


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A flow that does nothing: what it was asked, and what it answers."""
    seen: dict[str, Any] = {"exit_code": 0, "reused": False}

    def run_recipe(recipe: Any, *, observers: Any, **asked: Any) -> RunResult:
        seen.update(asked, recipe=recipe)
        observers[0](Notice(topic="data", message="3 rows had no label."))
        folder = RunFolder(asked["output"] or tmp_path / "runs" / "small")
        return RunResult(folder=folder, exit_code=seen["exit_code"], reused=seen["reused"], summary=None)

    monkeypatch.setattr("metier.run.run_recipe", run_recipe)
    return seen


@pytest.mark.parametrize("command", ["run", "train"])
def test_flags_reach_the_flow(command: str, recipe: Path, flow: dict[str, Any], metier: Callable[..., Any]) -> None:
    outcome = metier(
        command, recipe, "--output", "out", "--until", "data", "--resume", "--set", "seed=3", "--training.max_steps=9"
    )
    assert outcome.code == 0
    assert (flow["output"], flow["until"], flow["resume"]) == (Path("out"), "data", True)
    assert (flow["recipe"].seed, flow["recipe"].training.max_steps) == (3, 9)


def test_progress_goes_to_standard_error_and_the_result_to_standard_output(
    recipe: Path, flow: dict[str, Any], metier: Callable[..., Any]
) -> None:
    outcome = metier("run", recipe, "--output", "out")
    assert outcome.err == "  note (data): 3 rows had no label.\n"
    assert outcome.out == (
        "Stopped where --until said. The run so far is in out; the same command with --resume instead goes on.\n"
    )


def test_json_is_one_object_alone(recipe: Path, flow: dict[str, Any], metier: Callable[..., Any]) -> None:
    plain = json.loads(metier("run", recipe, "--output", "out", "--json").out)
    assert plain == {
        "format": "metier.run-result", "version": 1, "exit_code": 0, "reused": False, "folder": "out",
    }  # fmt: skip


@pytest.mark.parametrize("code", [0, 3])
def test_a_complete_run_is_nothing_to_do_and_ends_as_before(
    code: int, recipe: Path, flow: dict[str, Any], metier: Callable[..., Any]
) -> None:
    flow.update(reused=True, exit_code=code)
    outcome = metier("run", recipe, "--output", "out", "--json")
    assert outcome.code == code
    assert "nothing to do: out holds the complete run of this recipe" in outcome.err


def test_the_demo_goes_to_runs_demo_and_continues_by_itself(flow: dict[str, Any], metier: Callable[..., Any]) -> None:
    assert metier("demo", "--training.max_steps", "2").code == 0
    assert (flow["output"], flow["resume"], flow["until"]) == (Path("runs/demo"), True, None)
    assert (flow["recipe"].name, flow["recipe"].training.max_steps) == ("demo", 2)
