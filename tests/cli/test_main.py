"""Help, exit codes, messages: how a command ends, whatever happens in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier import __version__
from metier.cli import main as cli_main
from metier.errors import DiskFull, RecipeError, RunFolderError, TrainingError

COMMANDS = [
    "demo", "init", "check", "plan", "run", "train", "compare", "predict", "chat", "export", "report", "verify",
    "doctor", "data", "cache",
]  # fmt: skip


def test_help_lists_every_command(metier: Callable[..., Any]) -> None:
    outcome = metier("--help")
    assert outcome.code == 0
    assert re.findall(r"^  (\w+)  ", outcome.out.partition("Commands:")[2], re.M) == COMMANDS


def test_no_arguments_show_the_help(metier: Callable[..., Any]) -> None:
    assert metier() == metier("--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command: str, metier: Callable[..., Any]) -> None:
    outcome = metier(command, "-h")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: metier {command}")
    assert "\\[" not in outcome.out


def test_short_helps_are_not_cut(metier: Callable[..., Any]) -> None:
    assert "..." not in metier("--help").out.partition("Commands:")[2]


def test_version(metier: Callable[..., Any]) -> None:
    assert metier("--version").out == f"metier {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "error: metier: No such command 'rnu'. Did you mean 'run'? See `metier --help`."),
        (["run"], "error: metier run: Missing argument 'RECIPE'. See `metier run --help`."),
        (["run", "r.yaml", "--nope"], "error: metier run: No such option '--nope'. See `metier run --help`."),
        (["check"], "error: metier check: no recipe is given, wanted a YAML file. See `metier check --help`."),
        (["run", "r.yaml", "--until", "lunch"], "error: --until: 'lunch', wanted data or train."),
        (["run", "r.yaml", "--model.name"], "error: --model.name: has no value. Write it as --model.name VALUE."),
        (["compare", "a"], "error: metier compare: one run, wanted two or more. "
                           "Name the runs: metier compare runs/a runs/b"),
        (["cache", "purge"], "error: metier cache purge: what to remove is not said, wanted one of models, "),
        (["cache", "purge", "x"], "error: metier cache purge: kind x, wanted one of models, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_arguments_end_with_2_and_one_line(
    arguments: list[str], message: str, metier: Callable[..., Any]
) -> None:
    outcome = metier(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(message)
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def _failing(error: BaseException) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RecipeError("recipe.yaml", "1 fault", faults=(RunFolderError("a.b", "got 0", "1"),)), 2,
         "error: recipe.yaml: 1 fault.\n  - a.b: got 0, wanted 1.\n"),
        (TrainingError("step 3", "the loss is not finite", "", "Lower training.learning_rate."), 1,
         "error: step 3: the loss is not finite. Lower training.learning_rate.\n"),
        (DiskFull("runs/a", "no space left on the device"), 5, "error: runs/a: no space left on the device.\n"),
        (MemoryError(), 5, "error: memory: there is not enough for this. "
                           "Make training.tokens_per_microbatch smaller, or use a smaller model.\n"),
    ],
    ids=["recipe", "training", "disk", "memory"],
)  # fmt: skip
def test_a_fault_is_a_message_and_its_exit_code(
    error: Exception, code: int, message: str, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.cli.doctor._system", _failing(error))
    outcome = metier("doctor")
    assert (outcome.code, outcome.err, outcome.out) == (code, message, "")


def test_json_holds_the_fault_too(metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    error = RecipeError("recipe.yaml", "1 fault", "", "Fix it.", faults=(RunFolderError("a.b", "got 0", "1"),))
    monkeypatch.setattr("metier.cli.doctor._system", _failing(error))
    plain = json.loads(metier("doctor", "--json").out)
    assert (plain["format"], plain["version"], plain["exit_code"]) == ("metier.error", 1, 2)
    assert (plain["kind"], plain["where"], plain["fix"]) == ("RecipeError", "recipe.yaml", "Fix it.")
    assert [fault["where"] for fault in plain["faults"]] == ["a.b"]


def test_a_bug_hides_its_text_and_says_where_the_traceback_is(
    metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.cli.doctor._system", _failing(KeyError("the secret of a customer")))
    outcome = metier("doctor")
    assert outcome.code == 1
    found = re.fullmatch(
        r"error: metier has a bug: KeyError in metier/cli/\w+\.py:\d+\. The traceback is in (.+) "
        r"\(it may quote your data\); METIER_DEBUG=1 shows it here\.\n",
        outcome.err,
    )
    assert found is not None
    assert "the secret of a customer" not in outcome.err
    written = Path(found.group(1))
    assert "the secret of a customer" in written.read_text(encoding="utf-8")
    assert written.parent.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_DEBUG", "1")
    monkeypatch.setattr("metier.cli.doctor._system", _failing(KeyError("x")))
    assert metier("doctor").err.startswith("Traceback (most recent call last):")


def test_a_bug_in_json(metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.cli.doctor._system", _failing(KeyError("x")))
    assert json.loads(metier("doctor", "--json").out)["kind"] == "KeyError"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "r.yaml", "--model.name", "x"], "metier run r.yaml --model.name x --resume"),
        (["train", "r.yaml", "--resume"], "metier train r.yaml --resume"),
        (["demo"], "metier demo"),
    ],
    ids=["run", "train", "demo"],
)
def test_an_interrupt_ends_with_4_and_says_how_to_go_on(
    arguments: list[str], hint: str, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.recipe.load.load_recipe", _failing(KeyboardInterrupt()))
    outcome = metier(*arguments)
    assert outcome.code == 4
    assert outcome.err.strip() == f"metier: interrupted. Nothing that was saved is lost. To continue: {hint}"


def test_an_interrupt_elsewhere_has_nothing_to_resume(
    metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.cli.doctor._system", _failing(KeyboardInterrupt()))
    outcome = metier("doctor")
    assert (outcome.code, outcome.err.strip()) == (4, "metier: interrupted.")


def test_the_module_is_the_command(repository: Path) -> None:
    command = [sys.executable, "-m", "metier", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout == f"metier {__version__}\n"


def test_every_command_function_is_in_the_table() -> None:
    assert list(cli_main.COMMANDS) == [name for name in COMMANDS if name not in ("data", "cache")]


def test_a_polite_stop_is_an_interrupt(repository: Path) -> None:
    code = (
        "import os, signal, sys; import metier.cli.doctor as doctor; from metier.cli.main import main\n"
        "doctor._system = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.argv = ['metier', 'doctor']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository)
    assert (done.returncode, done.stderr) == (4, "metier: interrupted.\n")
