"""Where the command line writes: results on standard output, everything said meanwhile on standard error."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, TextIO

_COMMAND = re.compile(r"\bmetier [a-z]+ ")


def say(text: str) -> None:
    """Something for a person, on standard error."""
    print(_fitted(text, sys.stderr), file=sys.stderr, flush=True)


def show(text: str, *, exact: bool = False) -> None:
    """A result for a person, on standard output; `exact` keeps every line as it is, for what is a file or an answer."""
    print(text if exact else _fitted(text, sys.stdout), flush=True)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None when it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fitted(text: str, stream: TextIO) -> str:
    """On a terminal, lines of words broken between words; tables, commands and what is not a terminal stay."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    """One line as several; what is of a table, by the gap inside, or has a command to copy stays whole."""
    words = line.strip()
    if len(line) <= width or "  " in words or _COMMAND.search(words):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        words, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def write_json_object(kind: str, content: Mapping[str, Any]) -> None:
    """The one object that `--json` puts on standard output, with its `format` and `version` first."""
    value = {"format": f"metier.{kind}", "version": 1, **content}
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2), flush=True)
