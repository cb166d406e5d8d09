"""What single columns seem to be, and which is probably the text and which the label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metier.data.columns import (
    GROUP_NAMES,
    LABEL_NAMES,
    TEXT_NAMES,
    ColumnStats,
    guess_label,
    guess_text,
    is_id_name,
    looks_like_labels,
    plain_name,
    question_parts,
)
from metier.data.dates import read_date
from metier.data.table import Table, column_list, counted

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_DATE_NAMES = ("date", "time", "timestamp", "datetime", "year", "month", "day", "at")


@dataclass(frozen=True, kw_only=True)
class ColumnDescription:
    """One column and what it seems to be."""

    name: str
    kind: str
    """text, label, answer, group, id, date, number, words, nested or empty; a shape's own columns by their part."""
    filled: int
    distinct: int
    mean_length: float


def best_label(stats: Mapping[str, ColumnStats]) -> tuple[str | None, str | None]:
    """The column that is probably the label, and the question that remains.

    Args:
        stats: What the columns look like.
    """
    candidates = guess_label(stats, set())
    # Among equals: the more usual name, what is no usual group, then the finer division.
    order = {name: index for index, name in enumerate(LABEL_NAMES)}
    candidates.sort(
        key=lambda name: (
            order.get(plain_name(name), len(order)), plain_name(name) in GROUP_NAMES, -stats[name].distinct,
        )
    )  # fmt: skip
    return _settled([(name,) for name in candidates], stats, "label")


def best_text(stats: Mapping[str, ColumnStats], label: str | None) -> tuple[tuple[str, ...], str | None]:
    """The columns that are probably the text, and the question that remains.

    Args:
        stats: What the columns look like.
        label: The label's column.
    """
    candidates = guess_text(stats, {label})
    order = {name: index for index, name in enumerate(TEXT_NAMES)}
    candidates.sort(key=lambda names: (order.get(plain_name(names[0]), len(order)), -stats[names[0]].mean_length))
    _, question = _settled(candidates, stats, "text")
    return (candidates[0] if candidates else ()), question


def _settled(
    candidates: Sequence[tuple[str, ...]], stats: Mapping[str, ColumnStats], field: str
) -> tuple[str | None, str | None]:
    """The first candidate, and the question that remains when there is not exactly one."""
    what = "answer" if field == "label" else "text"
    if not candidates:
        there = column_list(stats)
        why = "".join(f" {sentence}" for sentence in _why_not(stats, field))
        return None, f"Which column is the {what}? None of {there} looks like it; set data.{field}.{why}"
    best = candidates[0][0]
    if len(candidates) == 1:
        return best, None
    listing = question_parts(candidates, stats)
    return best, f"Which column is the {what}: {listing}? The draft takes `{best}`; otherwise set data.{field}."


def _why_not(stats: Mapping[str, ColumnStats], field: str) -> list[str]:
    """What speaks against columns that a person may have expected to be found."""
    nested = [column.name for column in stats.values() if column.nested]
    reasons = []
    if nested:
        reasons.append(
            f"Lists and objects ({column_list(nested)}) are read by a path into them, such as `{nested[0]}.text`."
        )
    for column in stats.values() if field == "label" else ():
        if plain_name(column.name) not in ("label", "labels", *LABEL_NAMES) or column.nested or not column.filled:
            continue
        if column.distinct == 1:
            reasons.append(f"`{column.name}` has one value only, and with one label there is nothing to tell apart.")
        elif not column.repeats:
            values, rows = counted(column.distinct, "value"), counted(column.filled, "row")
            reasons.append(f"`{column.name}` has {values} in {rows}: a label comes again and again.")
    return reasons


def describe_column(stats: ColumnStats, meant: str | None) -> ColumnDescription:
    """A column and what it seems to be.

    Args:
        stats: What it looks like.
        meant: What it is taken for, if anything.
    """
    kind = meant or _kind(stats)
    return ColumnDescription(
        name=stats.name, kind=kind, filled=stats.filled, distinct=stats.distinct, mean_length=stats.mean_length
    )


def _kind(stats: ColumnStats) -> str:
    kinds = {
        "empty": not stats.filled,
        "nested": stats.nested,
        "number": stats.numeric >= 0.95,
        "label": looks_like_labels(stats),
        "text": stats.mean_length >= 20,
    }
    return next((kind for kind, holds in kinds.items() if holds), "words")


def is_id(stats: ColumnStats) -> bool:
    """Whether a column holds a different id in every row."""
    return is_id_name(stats.name) and stats.filled > 1 and stats.distinct == stats.filled


def is_date(stats: ColumnStats, table: Table) -> bool:
    """Whether a column holds dates, by its name or its cells.

    Args:
        stats: What it looks like.
        table: Its file.
    """
    if plain_name(stats.name).rpartition("_")[2] in _DATE_NAMES and stats.filled:
        return True
    cells = [cell for row in table.rows[:200] if (cell := row.get(stats.name))]
    return len(cells) > 1 and sum(map(_like_a_date, cells)) > 0.9 * len(cells)


def _like_a_date(cell: str) -> bool:
    # Bare digits are more often a number than a year or seconds since 1970.
    return _DATE.match(cell) is not None or (not cell.strip().isdigit() and read_date(cell) is not None)
