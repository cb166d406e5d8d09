"""Lists in a file of answers, whatever form they have there, as the text that a list task reads (`listing.py`).

A cell holds a list as JSON or as Python writes it, or labels with a separator. Labels may have a column each, of yes
and no; pieces a row each, in columns for beginning, end and label. What is no list stays as it stands, and counts so.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.label_lists import NO, SEPARATORS, YES
from metier.data.table import RawRow, Table, column_list, missing_column
from metier.data.text_spans import ENDS, LABELS, STARTS, first_list
from metier.errors import DataError
from metier.evaluation.labels.label_reading import plain

Lines = Sequence[tuple[int, RawRow]]
"""Rows of a file with their numbers."""
_WRITTEN = ("answer", "answers", "prediction", "predictions", "predicted")
LIST_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "multilabel": (*_WRITTEN, "predicted_labels", "labels", "label", "output", "response"),
    "extraction": (*_WRITTEN, "spans", "entities", "output", "response"),
}
"""Task -> names of a column of lists that are found by themselves, the first one that there is."""
PIECEWISE = "a row for each piece"
LISTED = "(list)"
"""Where a row that was read holds its list."""
UNREADABLE = "(no list)"
"""Stands for the list of a row whose cells are neither yes nor no, or no piece: it is counted as no list."""
_RECORDING = frozenset({"key", "answer", "stop", "served_by"})
"""Columns of what an endpoint said, as `answer_journal.py` writes it down."""


@dataclass(frozen=True, kw_only=True)
class ListQuestion:
    """What is known about a file before its lists are read."""

    task: str
    """`multilabel` or `extraction`."""
    labels: Sequence[str]
    """All labels of train."""
    answer: str | Sequence[str] | None = None
    """The column, or the columns, that the recipe names. None: found by themselves."""
    id: str | None = None
    """The column of ids, where there is one."""
    separator: str | None = None
    """What stands between the labels of a cell, as the recipe says. None: found by itself."""


@dataclass(frozen=True, kw_only=True)
class ListForm:
    """How a file holds its lists, and its rows with each list as one text under `LISTED`."""

    columns: tuple[str, ...]
    how: str
    """For the results: `a cell`, `a cell, separator ;`, `a column for each label`, `a row for each piece`."""
    lines: Lines


def read_lists(table: Table, lines: Lines, asked: ListQuestion) -> ListForm:
    """Find out how a file holds its lists, and read them.

    Args:
        table: The file, for its columns and its name.
        lines: Its rows of answers.
        asked: What is known about it.

    Raises:
        DataError: A column is not there, or it cannot be told which one holds lists.
    """
    columns, several = list_columns(table.columns, table.source.name, asked)
    if several and asked.task == "multilabel":
        return ListForm(columns=columns, how="a column for each label", lines=_by_columns(lines, columns, asked.labels))
    if several:
        return ListForm(columns=columns, how=PIECEWISE, lines=_by_pieces(lines, columns, str(asked.id)))
    cells = [row.get(columns[0]) for _, row in lines]
    names = {plain(label) for label in asked.labels}
    separator, texts = None, cells
    if set(table.columns) >= _RECORDING:
        pass  # a model's own words, which are read as they were when it was asked
    elif asked.task == "multilabel":
        separator = asked.separator or _separator(cells, names)
        texts = [_label_list(cell, names, separator) for cell in cells]
    else:
        texts = [_as_json(cell) or cell for cell in cells]
    how = "a cell" if separator is None else f"a cell, separator {separator}"
    found = [(number, {**row, LISTED: text}) for (number, row), text in zip(lines, texts, strict=True)]
    return ListForm(columns=columns, how=how, lines=found)


def list_columns(columns: Sequence[str], name: str, asked: ListQuestion) -> tuple[tuple[str, ...], bool]:
    """The columns that hold the lists, and whether they are several: one for each label, or parts of a piece.

    Args:
        columns: Of the file.
        name: The file, for messages.
        asked: What is known about it; no label need be known.

    Raises:
        DataError: A column is not there, or it cannot be told which one holds lists.
    """
    if asked.answer is not None:
        named = (asked.answer,) if isinstance(asked.answer, str) else tuple(asked.answer)
        for column in named:
            if column not in columns:
                raise missing_column("answer", column, columns, name)
        several = not isinstance(asked.answer, str)
    else:
        named = _label_columns(columns, asked.labels) if asked.task == "multilabel" else _piece_columns(columns)
        several = bool(named)
    if not named:
        lowered = {column.lower(): column for column in columns}
        named = tuple(lowered[usual] for usual in LIST_COLUMNS[asked.task] if usual in lowered)[:1]
    if not named:
        also = "a column of 1 and 0 for each label" if asked.task == "multilabel" else "columns start, end and label"
        found = f"has no column of answers among {column_list(columns)}"
        raise DataError(name, found, f"a column `answer`, or {also}", "Name it as `answer`.")
    if several and asked.task == "extraction":
        if len(named) not in (2, 3):
            found = f"names {len(named)} column{'s' * (len(named) != 1)} for a row for each piece"
            raise DataError("answer", found, "[piece, label] or [start, end, label]")
        if asked.id is None:
            fix = "Add it: it says of which record each piece is."
            raise DataError(name, "has a row for each piece, and no ids", "a column `id`", fix)
    return named, several


# Labels


def _label_columns(columns: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """A column for each label, where every label has one; else none."""
    by_name = {plain(column): column for column in columns}
    found = [by_name[plain(label)] for label in labels if plain(label) in by_name]
    return tuple(found) if len(found) == len(labels) else ()


def _by_columns(lines: Lines, columns: Sequence[str], labels: Sequence[str]) -> Lines:
    own = {plain(label): label for label in reversed(labels)}
    found = []
    for number, row in lines:
        cells = {column: (row.get(column) or "").strip().lower() for column in columns}
        chosen = [own.get(plain(column), column) for column, cell in cells.items() if cell in YES]
        readable = set(cells.values()) <= YES | NO
        found.append((number, {**row, LISTED: json.dumps(chosen, ensure_ascii=False) if readable else UNREADABLE}))
    return found


def _separator(cells: Iterable[str | None], names: Collection[str]) -> str | None:
    """The one between whose parts most labels are found; None where none divides a cell into labels."""
    divided = [cell for cell in cells if cell and _as_json(cell) is None and plain(cell) not in names]
    found = {
        separator: sum(plain(part) in names for cell in divided if separator in cell for part in cell.split(separator))
        for separator in SEPARATORS
    }
    best = max(SEPARATORS, key=lambda separator: found[separator])
    return best if found[best] else None


def _label_list(cell: str | None, names: Collection[str], separator: str | None) -> str | None:
    """A cell as a JSON list; a cell of words none of which is a label stays as it is."""
    if cell is None or not cell.strip():
        return None
    listed = _as_json(cell)
    if listed is not None:
        return listed
    parts = [cell.strip()]
    if separator is not None and plain(cell) not in names:
        parts = [part.strip() for part in cell.split(separator) if part.strip()]
    return json.dumps(parts, ensure_ascii=False) if any(plain(part) in names for part in parts) else cell


# Pieces


def _piece_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Columns for beginning, end and label of a piece, where all three are there; else none."""
    lowered = {column.lower(): column for column in columns}
    found = [
        next((lowered[name] for name in names if name in lowered), None) for names in (STARTS, ENDS, LABELS)
    ]  # fmt: skip
    return tuple(column for column in found if column is not None) if None not in found else ()


def _by_pieces(lines: Lines, columns: Sequence[str], id_column: str) -> Lines:
    """One line for each record, its pieces in the order of their rows; a row without any says that there is none."""
    rows: dict[str, tuple[int, RawRow]] = {}
    pieces: dict[str, list[list[Any]]] = {}
    unreadable = set[str]()
    for number, row in lines:
        id = row.get(id_column) or ""
        rows.setdefault(id, (number, row))
        pieces.setdefault(id, [])
        *place, label = [(row.get(column) or "").strip() for column in columns]
        if all(place) and label and (len(place) == 1 or all(each.isdecimal() for each in place)):
            pieces[id].append([*(place if len(place) == 1 else map(int, place)), label])
        elif any(place) or label:
            unreadable.add(id)
    return [
        (number, {**row, LISTED: UNREADABLE if id in unreadable else json.dumps(pieces[id], ensure_ascii=False)})
        for id, (number, row) in rows.items()
    ]


def _as_json(cell: str | None) -> str | None:
    """The text of a cell that holds a list as JSON or as Python writes it, as JSON; None for any other."""
    if cell is None or (first_list(cell) is not None and not cell.strip().startswith("[")):
        return cell  # a list among words: the task finds it
    rows = first_list(cell)
    if rows is None and cell.strip().startswith("["):
        try:
            rows = ast.literal_eval(cell.strip())  # `['a', 'b']`, as pandas writes lists into a CSV
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if rows and all(isinstance(row, int) and not isinstance(row, bool) for row in rows):
        rows = [str(row) for row in rows]  # names of labels, as data has them
    return None if rows is None else json.dumps(rows, ensure_ascii=False, default=str)
