"""All files of a recipe as tables, by split: read, with answers beside them joined and nested records taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.locate import Located, short_names
from metier.data.paths import explode
from metier.data.shapes import implied_records
from metier.data.sources import data_suffix, read_table
from metier.data.table import Table, counted
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.recipe.tasks import WRITES

SPLITS = ("train", "validation", "test")
ANSWER = "answer"
"""Column that the lines of `data.answers` become."""


def read_all(located: Located, section: DataSection, *, task: str) -> dict[str, list[Table]]:
    """Read every file of every split.

    Args:
        located: Which files.
        section: The recipe's data section.
        task: The recipe's task.

    Raises:
        DataError: A file cannot be read, two splits have the same content, or answers do not fit their file.
    """
    names = dict(zip(located.all_files(), short_names(located.all_files()), strict=True))
    tables: dict[str, list[Table]] = {}
    for role in SPLITS:
        paths: tuple[Path, ...] | None = getattr(located, role)
        answers = located.answers.get(role)
        if paths is None:
            continue
        tables[role] = [_read(path, names[path], section, located, aligned=answers is not None) for path in paths]
        if answers is not None:
            tables[role] = [_with_answers(tables[role][0], answers, section)]
        tables[role] = [take_out_records(table, section.records, task) for table in tables[role]]
    _refuse_same_content(tables)
    return tables


def take_out_records(table: Table, records: str | None, task: str) -> Table:
    """The table with a row for each record, where its rows hold lists of them.

    Args:
        table: A file.
        records: `data.records` of the recipe. None: as the file's shape has it.
        task: The recipe's task.

    Raises:
        DataError: The recipe's path leads to no list.
    """
    path = records or (implied_records(table) if task in WRITES else None)
    return table if path is None else explode(table, path)


def _read(path: Path, name: str, section: DataSection, located: Located, *, aligned: bool) -> Table:
    form: str = section.format
    if form == "auto" and located.documents:
        form = "text"
    if form == "auto" and aligned and not data_suffix(path):
        form = "lines"
    return read_table(
        path,
        format=form,
        delimiter=section.delimiter,
        encoding=section.encoding,
        sheet=section.sheet,
        name=name,
    )


def _with_answers(table: Table, path: Path, section: DataSection) -> Table:
    """The table with the lines of another file as its last column."""
    answers = read_table(path, format="lines", encoding=section.encoding)
    rows, lines = table.source.rows, len(answers.rows)
    if rows != lines:
        found = f"has {counted(lines, 'line')}, and {table.source.name} has {counted(rows, 'row')}"
        raise DataError(path.name, found, "one answer a row", "Give the two files that belong together.")
    name = ANSWER
    while name in table.columns:
        name += "_"
    by_number = dict(zip(answers.row_numbers, answers.rows, strict=True))
    columns = (*table.columns, name)
    return replace(
        table,
        rows=[{**row, name: by_number[n]["text"]} for row, n in zip(table.rows, table.row_numbers, strict=True)],
        columns=columns,
        source=replace(table.source, columns=columns),
        notices=(*table.notices, f"{table.source.name}: answers are the lines of {path.name} (`{name}`)"),
    )


def _refuse_same_content(tables: Mapping[str, Sequence[Table]]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for role, part in tables.items():
        for table in part:
            other_role, other = seen.setdefault(table.source.sha256, (role, table.source.name))
            if other_role != role:
                found = f"{table.source.name} has the same content as {other}, the {other_role} file"
                raise DataError(f"data.{role}", found, "another file", f"Leave data.{role} out: it is then drawn.")
