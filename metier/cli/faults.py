"""What a person reads when a command fails: a message without a traceback, and where the traceback is."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.data.privacy.strict_faults import came_from_strict, traceback_without_values
from metier.errors import InterruptedRun, MetierError, RecipeError


def describe_fault(error: MetierError) -> str:
    """The message of a fault that metier raised on purpose; with `METIER_DEBUG=1` its traceback too."""
    text = error.text() if isinstance(error, InterruptedRun) else f"error: {error.text()}"
    return f"{_traceback(error)}{text}" if _wants_traceback() else text


def fault_as_plain(error: MetierError) -> dict[str, Any]:
    """The same for `--json`: exit code, kind, and the four parts of the message."""
    plain: dict[str, Any] = {
        "exit_code": error.exit_code, "kind": type(error).__name__, "message": error.text(),
        "where": error.where, "found": error.found, "wanted": error.wanted, "fix": error.fix,
    }  # fmt: skip
    if isinstance(error, RecipeError) and error.faults:
        plain["faults"] = [fault_as_plain(fault) for fault in error.faults]
    return plain


def describe_crash(error: Exception) -> str:
    """The message of a fault of ours. Its own text may quote data, so only the file with the traceback has it.

    Of a run under `privacy: strict` no file has it: the traceback says where, and no value.
    """
    place = _place(error)
    message = f"error: metier has a bug: {type(error).__name__}{f' in {place}' if place else ''}."
    if _wants_traceback():
        return f"{_traceback(error)}{message}"
    written = _write_traceback(error)
    if written is None:
        return f"{message} METIER_DEBUG=1 shows the traceback."
    quotes = "without any value, because of privacy: strict" if came_from_strict(error) else "it may quote your data"
    return f"{message} The traceback is in {written} ({quotes}); METIER_DEBUG=1 shows it here."


def _wants_traceback() -> bool:
    return os.environ.get("METIER_DEBUG", "") not in ("", "0")


def _traceback(error: BaseException) -> str:
    if came_from_strict(error):
        return traceback_without_values(error)
    return "".join(traceback.format_exception(error))


def _place(error: Exception) -> str:
    """The innermost frame in metier, as `metier/data/splits.py:40`."""
    root = Path(__file__).parent.parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(root):
            return f"metier/{path.relative_to(root).as_posix()}:{frame.lineno}"
    return ""


def _write_traceback(error: Exception) -> Path | None:
    from metier.store.cache import state_root
    from metier.store.files import write_text

    try:
        folder = state_root() / "crashes"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
        write_text(path, _traceback(error))
    except (OSError, MetierError):  # a full or read-only disk must not hide the first fault
        return None
    return path
