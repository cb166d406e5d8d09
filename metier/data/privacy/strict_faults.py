"""What goes wrong in a strict run is told without what it may quote: where it happened, and no value."""

from __future__ import annotations

import traceback

_NOTE = "under privacy: strict"


class StrictFaults:
    """A block of a strict run: what goes wrong inside is known for that outside, where it is told."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Mark the exception, which goes on."""
        if error is not None:
            error.add_note(_NOTE)


def came_from_strict(error: BaseException) -> bool:
    """Whether an exception left a strict run: then `traceback_without_values` tells of it, to the screen as well."""
    return _NOTE in getattr(error, "__notes__", ())


def traceback_without_values(error: BaseException) -> str:
    """Where a fault happened, without its message or any value: those may quote data.

    Args:
        error: With its causes.
    """
    parts = []
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        lines = [
            f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
            for frame in traceback.extract_tb(step.__traceback__)
        ]
        parts.append("\n".join([*lines, f"{type(step).__module__}.{type(step).__qualname__}"]))
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return "\n\nwhile handling:\n\n".join(parts) + "\n"
