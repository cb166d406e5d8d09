"""A look at data without a recipe: what the columns are, what is wrong where, and what only the user can say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.card import SourceFile
from metier.data.columns import (
    GROUP_NAMES,
    LABEL_NAMES,
    TEXT_NAMES,
    Columns,
    ColumnStats,
    column_stats,
    guess_group,
    guess_label,
    guess_text,
    looks_like_labels,
    plain_name,
    question_parts,
)
from metier.data.duplicates import drop_contradictions, drop_duplicates, drop_shared
from metier.data.examples import Extraction, extract_examples, placeholder_labels, plain_label
from metier.data.input_rules import InputRules
from metier.data.locate import ROLE_NAMES, data_files, locate_files, role_of, short_names
from metier.data.records import Rejected
from metier.data.sources import read_table
from metier.data.table import Table, column_list, counted, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_DATE_NAMES = ("date", "time", "timestamp", "datetime", "year", "month", "day", "at")
_LABEL_FILE_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class ColumnDescription:
    """One column and what it seems to be."""

    name: str
    kind: str
    """text, label, group, id, date, number, words, nested or empty."""
    filled: int
    distinct: int
    mean_length: float


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something to look at, by row number."""

    kind: str
    """broken row, empty text, empty label, duplicate, contradiction, also in test, single label."""
    count: int
    rows: Mapping[str, Sequence[int]]
    """File to row numbers."""
    sentence: str


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """What `metier init` says, and what a draft recipe is made from."""

    train: str
    """A file or a glob."""
    validation: Path | None
    test: Path | None
    sources: tuple[SourceFile, ...]
    rows: int
    columns: tuple[ColumnDescription, ...]
    text: tuple[str, ...]
    """Best guess; empty when nothing looks like text."""
    label: str | None
    group: str | None
    id: str | None
    date: str | None
    labels: Mapping[str, int]
    """Labels as they stand in the file, most frequent first."""
    label_names: Mapping[str, str]
    """From a file beside the data that names them; empty when there is none."""
    label_file: str | None
    ignore_labels: tuple[str, ...]
    """Labels that look like a missing one."""
    problems: tuple[Problem, ...]
    questions: tuple[str, ...]
    """What could not be decided; the draft says which guess it took."""
    notices: tuple[str, ...]


def describe_data(path: Path | str) -> DataDescription:
    """Look at a file, a folder or a glob.

    Args:
        path: As in `data.train`; a folder of files with the same columns counts as one set.

    Raises:
        DataError: Nothing there can be read.
    """
    train, files, validation, test = _files(str(path))
    tables = [read_table(file, name=name) for file, name in zip(files, short_names(files), strict=True)]
    first = tables[0]
    stats = column_stats(first)
    label, label_question = _best_label(stats)
    text, text_question = _best_text(stats, label)
    group = next(iter(guess_group(stats, {label, *text})), None)
    row_id = next((name for name in stats if _is_id(stats[name]) and name not in {*text, label, group}), None)
    date = next((name for name in stats if _is_date(stats[name], first) and name not in {*text, label, group}), None)
    siblings = {role: _same_columns(file, first) for role, file in (("validation", validation), ("test", test))}
    extracted = _extract(tables, text, label)
    labels = dict(sorted(extracted.labels_seen.items(), key=lambda item: (-item[1], item[0])) if extracted else ())
    labels.pop("", None)
    names, label_file = _label_names(files, set(labels), {*files, validation, test})
    meant: dict[str | None, str] = {
        **dict.fromkeys(text, "text"),
        label: "label",
        group: "group",
        row_id: "id",
        date: "date",
    }
    return DataDescription(
        train=train,
        validation=siblings["validation"],
        test=siblings["test"],
        sources=tuple(table.source for table in tables),
        rows=sum(table.source.rows for table in tables),
        columns=tuple(_column(column, meant.get(name)) for name, column in stats.items()),
        text=text,
        label=label,
        group=group,
        id=row_id,
        date=date,
        labels=labels,
        label_names=names,
        label_file=label_file,
        ignore_labels=tuple(placeholder_labels(labels)),
        problems=_problems(tables, extracted, siblings["test"], text, label, len(tables) > 1),
        questions=tuple(question for question in (text_question, label_question) if question),
        notices=tuple(notice for table in tables for notice in table.notices),
    )


def _files(given: str) -> tuple[str, tuple[Path, ...], Path | None, Path | None]:
    """What train is, its files, and files that look like validation and test."""
    folder = Path(given)
    if folder.is_dir():
        files = data_files(folder)
        roles = {role_of(file) for file in files}
        if "train" not in roles and len(files) > 1:
            same = [file for file in files if role_of(file) is None and file.suffix == files[0].suffix]
            if len(same) == len(files) and len({read_table(file).columns for file in files}) == 1:
                return str(folder / f"*{files[0].suffix}"), tuple(files), None, None
        located = locate_files(DataSection(train=given))
        others = [found[0] if found else None for found in (located.validation, located.test)]
        return str(located.train[0]), located.train, others[0], others[1]
    located = locate_files(DataSection(train=given))
    if len(located.train) > 1:
        return given, located.train, None, None
    file = located.train[0]
    return given, located.train, _sibling(file, "validation"), _sibling(file, "test")


def _sibling(file: Path, role: str) -> Path | None:
    """The file beside `file` whose name differs only in saying `role` instead of train."""
    if role_of(file) not in ("train", None):
        return None
    rest = _without_role(file)
    found = [
        other
        for other in data_files(file.parent)
        if other != file and role_of(other) == role and _without_role(other) == rest
    ]
    return found[0] if len(found) == 1 else None


def _without_role(path: Path) -> list[str]:
    names = {name for known in ROLE_NAMES.values() for name in known}
    return [token for token in re.split(r"[^a-z0-9]+", path.stem.lower()) if token and token not in names]


def _same_columns(file: Path | None, first: Table) -> Path | None:
    if file is None:
        return None
    try:
        return file if set(read_table(file).columns) == set(first.columns) else None
    except DataError:
        return None


def _best_label(stats: Mapping[str, ColumnStats]) -> tuple[str | None, str | None]:
    candidates = guess_label(stats, set())
    # Among equals: the more usual name, what is no usual group, then the finer division.
    order = {name: index for index, name in enumerate(LABEL_NAMES)}
    candidates.sort(
        key=lambda name: (
            order.get(plain_name(name), len(order)), plain_name(name) in GROUP_NAMES, -stats[name].distinct,
        )
    )  # fmt: skip
    return _settled([(name,) for name in candidates], stats, "label")


def _best_text(stats: Mapping[str, ColumnStats], label: str | None) -> tuple[tuple[str, ...], str | None]:
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
            f"Lists and objects ({column_list(nested)}) are not opened: give what they hold its own columns."
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


def _column(stats: ColumnStats, meant: str | None) -> ColumnDescription:
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


def _is_id(stats: ColumnStats) -> bool:
    named = plain_name(stats.name).rpartition("_")[2] in ("id", "uid", "uuid", "key", "index")
    return named and stats.filled > 1 and stats.distinct == stats.filled


def _is_date(stats: ColumnStats, table: Table) -> bool:
    if plain_name(stats.name).rpartition("_")[2] in _DATE_NAMES and stats.filled:
        return True
    cells = [cell for row in table.rows[:200] if (cell := row.get(stats.name))]
    return len(cells) > 1 and sum(_DATE.match(cell) is not None for cell in cells) > 0.9 * len(cells)


def _extract(tables: Sequence[Table], text: tuple[str, ...], label: str | None) -> Extraction | None:
    if not text or label is None:
        return None
    columns = Columns(text=text, template=None, label=label, group=None, id=None)
    whole = [table for table in tables if {*text, label} <= set(table.columns)]
    return extract_examples(whole, columns=columns, rules=InputRules(text_columns=text), section=DataSection(train=""))


def _problems(
    tables: Sequence[Table],
    extracted: Extraction | None,
    test: Path | None,
    text: tuple[str, ...],
    label: str | None,
    several: bool,
) -> tuple[Problem, ...]:
    if extracted is None:
        return _by_reason([row for table in tables for row in table.broken], several)
    consistent, torn = drop_contradictions(extracted.examples)
    _, copies = drop_duplicates(consistent)
    rejected = [*extracted.rejected, *torn, *copies]
    if test is not None:
        other = _extract([read_table(test)], text, label)
        rejected.extend(drop_shared(extracted.examples, other.examples, "test")[1] if other else ())
    counts = Counter(example.record.label for example in extracted.examples)
    single = [
        example.reject("single label", "the only row of its label")
        for example in extracted.examples
        if counts[example.record.label] == 1
    ]
    return _by_reason([*rejected, *single], several)


def _by_reason(rejected: Sequence[Rejected], several: bool) -> tuple[Problem, ...]:
    said = {
        "broken row": "broken, will be rejected",
        "empty text": "without text",
        "empty label": "without label",
        "contradiction": "whose text also occurs with another label",
        "duplicate": "repeating an earlier text and label",
        "also in test": "whose text is also in the test file",
        "single label": "with a label that no other row has",
    }
    problems = []
    for kind, sentence in said.items():
        by_source: dict[str, list[int]] = {}
        for row in rejected:
            if row.reason == kind:
                by_source.setdefault(row.source, []).append(row.row)
        places = [(f"{source} " if several else "") + rows_at(rows) for source, rows in by_source.items()]
        count = sum(map(len, by_source.values()))
        if count:
            full = f"{counted(count, 'row')} {sentence} ({'; '.join(places)})"
            problems.append(Problem(kind=kind, count=count, rows=by_source, sentence=full))
    return tuple(problems)


def _label_names(files: Sequence[Path], labels: set[str], known: set[Path | None]) -> tuple[dict[str, str], str | None]:
    """Names of labels from a small two-column file beside the data that has a row for every label."""
    for file in data_files(files[0].parent) if len(labels) > 1 else ():
        if file in known or file.stat().st_size > _LABEL_FILE_BYTES:
            continue
        try:
            table = read_table(file)
        except DataError:
            continue  # it is about something else
        if len(table.columns) != 2:
            continue
        for key, name in (table.columns, table.columns[::-1]):
            keys = [plain_label(row[key]) for row in table.rows]
            names = [" ".join((row[name] or "").split()) for row in table.rows]
            fits = labels <= set(keys) and len(set(keys)) == len(keys) == len(set(names)) and all(names)
            if fits and keys != names:
                return dict(zip(keys, names, strict=True)), file.name
    return {}, None
