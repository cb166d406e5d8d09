"""`evaluation.slice_columns`: values of the user's own columns, read from the files again.

Records hold what is asked and answered, no more: other columns never enter the splits. The files are read once more
for the rows of one set, and only where they are still what the data was prepared from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metier.data.gather import open_files
from metier.data.locate import locate_files
from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.data.table import missing_column
from metier.recipe.sections import Recipe

Value = str | None


@dataclass(frozen=True, kw_only=True)
class ColumnValues:
    """The user's columns for the records of one set."""

    columns: Mapping[str, Sequence[Value]]
    """Name to the value of each record; None where its cell is empty."""
    left_out: Mapping[str, str]
    """Column to the reason why it is not there."""


def refuse_missing_columns(recipe: Recipe) -> None:
    """Tell a column that no file has before anything is computed.

    Args:
        recipe: The run's.

    Raises:
        DataError: `evaluation.slice_columns` names a column that no file has.
    """
    wanted = recipe.evaluation.slice_columns
    if not wanted:
        return
    files = open_files(locate_files(recipe.data, task=recipe.task), recipe.data, task=recipe.task)
    there = dict.fromkeys(column for part in files.values() for file in part for column in file.table.columns)
    for name in wanted:
        if name not in there:
            raise missing_column("evaluation.slice_columns", name, list(there))


def column_values(recipe: Recipe, data: PreparedData, records: Sequence[Record]) -> ColumnValues:
    """The values that the files have for some records.

    Args:
        recipe: The run's.
        data: What was prepared from the files.
        records: Of one set.

    Raises:
        DataError: A file cannot be read any more.
    """
    wanted = recipe.evaluation.slice_columns
    if not wanted:
        return ColumnValues(columns={}, left_out={})
    known = {source.name: source.sha256 for source in data.card.sources}
    places: dict[tuple[str, int], list[int]] = {}
    for number, record in enumerate(records):
        places.setdefault((record.source, record.row), []).append(number)
    columns: dict[str, list[Value]] = {name: [None] * len(records) for name in wanted}
    changed: list[str] = []
    met: set[str] = set()
    files = open_files(locate_files(recipe.data, task=recipe.task), recipe.data, task=recipe.task)
    for file in (file for part in files.values() for file in part):
        name = file.table.source.name
        if known.get(name) != file.table.source.sha256:
            changed.append(name)
            continue
        for piece in file.pieces():
            met.update(piece.columns)
            for number, row in zip(piece.row_numbers, piece.rows, strict=True):
                for place in places.get((name, number), ()):
                    for column, values in columns.items():
                        values[place] = (row.get(column) or "").strip() or None
    if changed:
        reason = f"{', '.join(changed)} changed since the data was prepared"
        return ColumnValues(columns={}, left_out=dict.fromkeys(wanted, reason))
    left_out = {name: "the files of these records have no such column" for name in wanted if name not in met}
    return ColumnValues(columns={name: columns[name] for name in wanted if name in met}, left_out=left_out)
