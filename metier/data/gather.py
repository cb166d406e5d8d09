"""All files of a recipe, by split: opened, with answers beside them joined and nested records taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from metier.data.answers import answers_beside
from metier.data.batches import Batch
from metier.data.data_file import Beside, DataFile, nothing_beside
from metier.data.data_source import DataSource, Watch, one_source
from metier.data.dataset_info import ListedData
from metier.data.formats import data_suffix
from metier.data.locate import Located, short_names
from metier.data.paths import explode
from metier.data.shapes import implied_records
from metier.data.stream import HowToRead, RowStream, stream_rows
from metier.data.table import Table
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.recipe.tasks import WRITES

SPLITS = ("train", "validation", "test")


def open_files(located: Located, section: DataSection, *, task: str) -> dict[str, list[DataFile]]:
    """Open every file of every split.

    Args:
        located: Which files.
        section: The recipe's data section.
        task: The recipe's task.

    Raises:
        DataError: A file cannot be read, two splits have the same content, or answers do not fit their file.
    """
    names = dict(zip(located.all_files(), short_names(located.all_files()), strict=True))
    files: dict[str, list[DataFile]] = {}
    for role in SPLITS:
        paths: tuple[Path, ...] | None = getattr(located, role)
        if paths is None:
            continue
        answers = located.answers.get(role)
        how = _how(section, located)
        files[role] = []
        for path in paths:
            source = one_source(path, name=names[path])
            chosen = how if how.format != "auto" or answers is None else _lines_without_a_suffix(source, how)
            opened = DataFile(partial(_opened, source, chosen), _beside(source, section, answers, located.listed))
            records = _records_path(opened.table, section.records, task)
            if records is not None and opened.table.source.format != "xml":
                opened.take_out(records)
            files[role].append(opened)
    _refuse_same_content(files)
    return files


def look_at_files(located: Located, section: DataSection, *, task: str) -> dict[str, list[Table]]:
    """Every file of every split as a table: all of its rows, or where those are many every n-th, which is said.

    Args:
        located: Which files.
        section: The recipe's data section.
        task: The recipe's task.

    Raises:
        DataError: As `open_files`.
    """
    files = open_files(located, section, task=task)
    return {role: [_looked_at(file) for file in part] for role, part in files.items()}


def _looked_at(file: DataFile) -> Table:
    if file.whole:
        return file.table
    kept, rows = len(file.table.rows), file.table.source.rows
    said = f"{file.table.source.name}: {rows:,} rows, of which {kept:,} spread over the file were looked at"
    return replace(file.table, notices=(*file.table.notices, said))


def take_out_records(table: Table, records: str | None, task: str) -> Table:
    """The table with a row for each record, where its rows hold lists of them.

    Args:
        table: A file.
        records: `data.records` of the recipe. None: as the file's shape has it.
        task: The recipe's task.

    Raises:
        DataError: The recipe's path leads to no list.
    """
    path = _records_path(table, records, task)
    return table if path is None or table.source.format == "xml" else explode(table, path)


def _records_path(table: Table, records: str | None, task: str) -> str | None:
    return records or (implied_records(table) if task in WRITES else None)


def _how(section: DataSection, located: Located) -> HowToRead:
    form: str = section.format
    if form == "auto" and located.documents:
        form = "text"
    return HowToRead(
        format=form,
        delimiter=section.delimiter,
        encoding=section.encoding,
        sheet=section.sheet,
        records=section.records,
    )


def _lines_without_a_suffix(source: DataSource, how: HowToRead) -> HowToRead:
    """Inputs beside lines of answers are lines too, where their name says nothing else."""
    if data_suffix(source.inner):
        return how
    return HowToRead(format="lines", encoding=how.encoding)


def _opened(source: DataSource, how: HowToRead, watch: Watch | None) -> RowStream:
    return stream_rows(source, how, watch=watch)


def _beside(
    source: DataSource, section: DataSection, answers: Path | None, listed: ListedData | None
) -> Callable[[], Beside]:
    if answers is not None:
        return answers_beside(answers, source.name, section)
    return nothing_beside if listed is None else partial(_with_usual_names, listed)


def _with_usual_names(listed: ListedData) -> Beside:
    """A file of a listed data set, whose columns get the names that they have everywhere else."""

    def mended(batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield replace(batch, rows=[listed.usual(row) for row in batch.rows])

    return Beside(mend=mended)


def _refuse_same_content(files: Mapping[str, Sequence[DataFile]]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for role, part in files.items():
        for file in part:
            other_role, other = seen.setdefault(file.source.sha256, (role, file.source.name))
            if other_role != role:
                found = f"{file.source.name} has the same content as {other}, the {other_role} file"
                raise DataError(f"data.{role}", found, "another file", f"Leave data.{role} out: it is then drawn.")
