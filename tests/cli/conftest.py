"""A way to run a command in this process and see what a person would see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def metier(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `metier` with these arguments."""

    def run(*arguments: object) -> Outcome:
        from metier.cli.main import run_command_line

        capsys.readouterr()
        code = run_command_line([str(argument) for argument in arguments])
        seen = capsys.readouterr()
        return Outcome(code=code, out=seen.out, err=seen.err)

    return run
