"""What a terminal gets, and what a file gets."""

from __future__ import annotations

import io

import pytest

from metier.cli.output import show

LONG = "error: " + "word " * 20 + "end"


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output becomes a terminal of forty columns."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    return screen


def test_a_file_gets_every_line_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show(LONG)
    assert capsys.readouterr().out == LONG + "\n"


def test_a_terminal_gets_lines_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _terminal(monkeypatch)
    show(LONG)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines) == LONG


@pytest.mark.parametrize("line", ["cell  " * 12 + "end", "Predict: metier predict " + "runs/a-long-name " * 4])
def test_tables_and_commands_stay_whole(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _terminal(monkeypatch)
    show(line)
    assert screen.getvalue() == line + "\n"


def test_what_is_a_file_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _terminal(monkeypatch)
    show(LONG, exact=True)
    assert screen.getvalue() == LONG + "\n"
