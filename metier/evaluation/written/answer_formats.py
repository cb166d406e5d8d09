"""Whether written answers have the form that was asked for: a JSON Schema, a regular expression.

What each item adds goes into `Item.counts` as `schema_valid` and `pattern_match`. An item without an answer has the
wrong form, and so has one on which the pattern takes too long: both are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.evaluation.results import Item
from metier.evaluation.written.json_schema import AnswerSchema
from metier.evaluation.written.patterns import SECONDS, TimedPattern, too_slow
from metier.evaluation.written.text_metrics import Counts
from metier.events import Notice, Observer, tell


@dataclass(frozen=True, kw_only=True)
class AnswerFormat:
    """The form that answers should have; None: not asked for."""

    schema: Mapping[str, Any] | None = None
    """A JSON Schema, of the part that `json_schema` knows."""
    pattern: str | None = None
    """A regular expression that has to be the whole answer."""
    seconds: float = SECONDS
    """Longest search in one answer."""


def with_formats(items: Sequence[Item], wanted: AnswerFormat, observers: Sequence[Observer] = ()) -> list[Item]:
    """The items with what they add to the metrics of form that were asked for.

    Args:
        items: Answered records whose answers are texts.
        wanted: The form.
        observers: Told of answers on which the pattern took too long.

    Raises:
        ArgumentError: The schema or the pattern cannot be read.
    """
    rows = count_formats([item.answer for item in items], wanted, observers)
    return [replace(item, counts={**item.counts, **counts}) for item, counts in zip(items, rows, strict=True)]


def count_formats(
    answers: Sequence[str | None], wanted: AnswerFormat, observers: Sequence[Observer] = ()
) -> list[dict[str, Counts]]:
    """What every answer adds, by metric; arguments and errors as `with_formats`."""
    rows: list[dict[str, Counts]] = [{} for _ in answers]
    if wanted.schema is not None:
        schema = AnswerSchema(wanted.schema)
        for row, answer in zip(rows, answers, strict=True):
            row["schema_valid"] = (float(schema.fits(answer)), 1.0)
    if wanted.pattern is not None:
        pattern = TimedPattern(wanted.pattern, wanted.seconds)
        found = [pattern.matches(answer) for answer in answers]
        for row, match in zip(rows, found, strict=True):
            row["pattern_match"] = (float(match is True), 1.0)
        if slow := too_slow(found):
            said = f"the pattern took more than {wanted.seconds:g} seconds on {slow} answers; they count as no match."
            tell(observers, Notice(topic="pattern", message=said))
    return rows
