"""What becomes of a training record whose text is too long: its beginning, or several records (`data.lengths`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metier.data.cleaning.too_long import LENGTH_POLICIES, Limit
from metier.data.records import Choice, Passage, Record
from metier.recipe.sections import DataSection

Shorten = Callable[[Record], tuple[Record, ...]]
CHANGES = {"cut": "text cut", "split": "text split"}
"""Policy -> what the log of changes calls it."""


def shortener(section: DataSection) -> Shorten | None:
    """What makes of a training record the records that are learned; None where the recipe wants no such thing.

    Only texts of choices and passages are touched; what is left of a record keeps its id, and further pieces have it
    with `.1`, `.2` and so on behind.

    Args:
        section: `lengths`.
    """
    given = section.lengths
    if given.policy not in CHANGES or given.longest is None:
        return None
    limit = Limit(most=given.longest, unit=given.unit)
    pieces = LENGTH_POLICIES[given.policy]

    def shorten(record: Record) -> tuple[Record, ...]:
        if not isinstance(record, Choice | Passage) or limit.size(record.text) <= limit.most:
            return (record,)
        return tuple(
            replace(record, text=text, id=f"{record.id}.{number}" if number else record.id)
            for number, text in enumerate(pieces(record.text, limit))
        )

    return shorten
