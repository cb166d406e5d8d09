"""`metier chat RUN`: talk with a specialist, and with its base model beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show

if TYPE_CHECKING:
    from metier.evaluation.results import Answer
    from metier.serving.talk import Talk

LEAVE, AGAIN = ("/quit", "/exit"), "/new"


def chat(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    *,
    base: Annotated[bool, typer.Option("--base", help="Let the base model answer too, below.")] = False,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="System prompt in place of the recipe's.",
                                 show_default=False),
    ] = None,
) -> int:  # fmt: skip
    """Talk with a model that writes.

    A line is a turn; /new begins again, /quit (or the end of the input) leaves. Nothing is kept.
    """
    from metier.cli.progress import watching
    from metier.errors import DONE
    from metier.serving.private import as_it_was_made
    from metier.serving.talk import open_talk

    with as_it_was_made(run):
        with watching() as observer:
            talk = open_talk(run, with_base=base, system=system, observers=(observer,))
        _talk(talk, base=base)
    return DONE


def _talk(talk: Talk, *, base: bool) -> None:
    """Turn by turn, until the user leaves."""
    say("A line is a turn; /new begins again, /quit leaves.")
    while (line := _line()) is not None:
        if line in LEAVE:
            break
        if line == AGAIN:
            talk.forget()
            say("(a new conversation)")
        elif line:
            tuned, untrained = talk.say(line)
            _show("tuned" if base else "", tuned)
            if untrained is not None:
                _show("base", untrained)


def _line() -> str | None:
    """The next line of the user; None at the end of the input."""
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _show(who: str, answer: Answer) -> None:
    said = answer.text if answer.text is not None else f"(no answer: {answer.reason})"
    show(f"{who}: {said}" if who else said, exact=True)
    if answer.stop == "length":
        say("  (unfinished: the answer reached generation.max_new_tokens)")
