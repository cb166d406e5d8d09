"""The system that answers from a file: what somebody else's model, rules or people said, found again by id or row.

The file is any table that metier reads (csv, tsv, jsonl, parquet, xlsx) or the journal of an endpoint. A record
without an answer, and one that was answered more than once, count as wrong, and both are told. Where answers are lists
(`listed_answers.py`) they are given as texts that `listing.as_task_reads` reads. Loads no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metier.data.records import Input, Record
from metier.data.sources import read_table
from metier.data.table import column_list, counted, missing_column
from metier.errors import DataError
from metier.evaluation.elsewhere.listed_answers import LISTED, PIECEWISE, Lines, ListForm, ListQuestion, read_lists
from metier.evaluation.labels.label_metrics import ABSTAINED, MISSING, TWICE
from metier.evaluation.labels.label_reading import LabelReader
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Notice, Observer, tell
from metier.recipe.tasks import LISTS
from metier.store.fingerprint import file_sha256

ID_COLUMNS = ("id", "item_id", "record_id", "example_id")
ANSWER_COLUMNS = ("answer", "prediction", "predicted", "predicted_label", "label", "output", "response")
"""Names that are found by themselves, the first one that there is."""
_NO_PIECES = " (a row with the id alone says that nothing was found)"


@dataclass(frozen=True, kw_only=True)
class AnswerColumns:
    """Which columns of a file of answers mean what; None: found by its usual name."""

    id: str | None = None
    """Ids of records: metier's own, or the user's (`data.id`). A file without ids is matched by its rows."""
    answer: str | Sequence[str] | None = None
    """Several where answers are lists: one for each label, or the parts of a piece."""
    separator: str | None = None
    """What stands between the labels of a cell. None: found by itself."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What the file says about one record."""

    answer: str | None
    reason: str | None = None
    stop: str | None = None
    logprobs: Mapping[str, float] | None = None
    seconds: float = 0.0
    price: float | None = None


@dataclass(eq=False, kw_only=True)
class RecordedSystem:
    """Answers that were recorded before, by record id."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    """File, checksum, how rows were matched, and what was missing, double or of no record."""
    trained_on: str = "unknown"
    parameters: int | None = None
    bytes: int | None = None
    rows: Mapping[str, _Row] = field(default_factory=dict, repr=False)
    double: frozenset[str] = frozenset()
    reader: LabelReader | None = None
    """Reads labels; None where answers are texts."""

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """What the file says to each input; no answer, with the reason, where it says nothing or too much."""
        for given in inputs:
            if given.id in self.double:
                yield Answer(id=given.id, label=None, stop="none", reason=TWICE)
            elif given.id not in self.rows:
                yield Answer(id=given.id, label=None, stop="none", reason=MISSING)
            else:
                yield self._answer(given.id, self.rows[given.id])

    def _answer(self, id: str, row: _Row) -> Answer:
        if row.answer is None:
            return Answer(
                id=id, label=None, stop="none", reason=row.reason or ABSTAINED, seconds=row.seconds, price=row.price
            )
        stop = row.stop or ("label" if self.reader is not None else "end of turn")
        if self.reader is None:
            return Answer(
                id=id, label=None, text=row.answer, stop=stop, seconds=row.seconds, price=row.price, reason=row.reason
            )
        found = self.reader.read(row.answer)
        return Answer(
            id=id, label=found.label, text=row.answer, stop=stop, seconds=row.seconds, price=row.price,
            label_logprobs=row.logprobs, reason=row.reason if found.label is not None else found.how,
        )  # fmt: skip


def load_recorded(
    path: Path,
    records: Sequence[Record],
    *,
    name: str,
    labels: Sequence[str] = (),
    columns: AnswerColumns | None = None,
    task: str = "classification",
    observers: Sequence[Observer] = (),
) -> RecordedSystem:
    """Read a file of answers to some records.

    Args:
        path: The file.
        records: What was answered; only their ids, sources and rows are used.
        name: Name of the system.
        labels: What it may answer; empty where answers are texts.
        columns: Which columns to read. None: found by their usual names.
        task: The recipe's: whether answers are lists.
        observers: Told what is missing, double or of no record.

    Raises:
        DataError: There is no such file or column, or its rows cannot be matched with the records.
    """
    table = read_table(path)
    columns = columns or AnswerColumns()
    id_column = id_column_of(table.columns, path.name, columns.id)
    rows_there = zip(table.row_numbers, table.rows, strict=True)
    form = ListForm(columns=(), how="", lines=[(number, row) for number, row in rows_there if not _is_head(row)])
    if task in LISTS:
        wanted, cut = columns.answer, columns.separator
        asked = ListQuestion(task=task, labels=labels, answer=wanted, id=id_column, separator=cut)
        form = read_lists(table, form.lines, asked)
    answer = LISTED if form.columns else answer_column(table.columns, path.name, columns.answer)
    lines = form.lines
    if id_column is None:
        keyed, how = _by_row(path.name, lines, records)
        keys = {record.id: record.id for record in records}
    else:
        keyed = [(row.get(id_column) or "", row) for _, row in lines]
        keys, how = _by_id(path.name, [key for key, _ in keyed], records)
    times, cells = _times(keyed), dict(keyed)
    once = [record.id for record in records if times.get(keys[record.id]) == 1]
    rows = {id: _row(cells[keys[id]], answer) for id in once}
    double = frozenset(record.id for record in records if times.get(keys[record.id], 0) > 1)
    if double and not rows:
        found = f"answers {counted(len(double), 'record')} more than once, and no record once"
        raise DataError(path.name, found, "one row for each record", "Remove the others.")
    counts = {
        "rows": len(lines), "missing": len(records) - len(rows) - len(double), "double": len(double),
        "of_no_record": len(times.keys() - set(keys.values())), "unreadable": len(table.broken),
    }  # fmt: skip
    _tell(path.name, counts, observers, hint=_NO_PIECES if form.how == PIECEWISE else "")
    settings = {"file": path.name, "sha256": file_sha256(path), "matched_by": how, **counts, **_columns(form, answer)}
    reader = LabelReader(labels=tuple(labels)) if labels and task not in LISTS else None
    return RecordedSystem(
        name=name, kind=f"recorded answers ({path.name})", settings=settings, rows=rows, double=double, reader=reader
    )


def answer_column(columns: Sequence[str], name: str, wanted: str | Sequence[str] | None) -> str:
    """The column that holds the answers where they are no lists.

    Args:
        columns: Of the file.
        name: The file, for messages.
        wanted: As the recipe says. None: the first of `ANSWER_COLUMNS` that there is.

    Raises:
        DataError: There is none, or not the one wanted.
    """
    if wanted is not None and not isinstance(wanted, str):
        raise DataError("answer", f"names {len(wanted)} columns", "one column: several are for tasks of lists")
    found = _column_of(columns, name, wanted, ANSWER_COLUMNS, "answer")
    if found is None:
        raise DataError(
            name, f"has no column of answers among {column_list(columns)}", "a column `answer`", "Name it as `answer`."
        )
    return found


def id_column_of(columns: Sequence[str], name: str, wanted: str | None) -> str | None:
    """The column of ids; arguments and errors as `answer_column`. None where there is none: rows are matched then."""
    return _column_of(columns, name, wanted, ID_COLUMNS, "id")


def _columns(form: ListForm, answer: str) -> dict[str, Any]:
    """Where the answers were found, for the results."""
    if not form.columns:
        return {"answer_column": answer}
    return {"answer_column": ", ".join(form.columns), "lists": form.how}


def _column_of(columns: Sequence[str], name: str, wanted: str | None, usual: Sequence[str], where: str) -> str | None:
    if wanted is not None:
        if wanted not in columns:
            raise missing_column(where, wanted, columns, name)
        return wanted
    lowered = {column.lower(): column for column in columns}
    return next((lowered[name] for name in usual if name in lowered), None)


def _is_head(row: Mapping[str, str | None]) -> bool:
    """Whether a row is the first line of a journal, which says what follows."""
    return (row.get("format") or "").startswith("metier.")


def _by_id(name: str, keys: Sequence[str], records: Sequence[Record]) -> tuple[dict[str, str], str]:
    """Record id -> the file's key, by metier's ids or by the user's, whichever finds more."""
    there = set(keys)
    own = sum(record.id in there for record in records)
    users = sum(record.user_id is not None and record.user_id in there for record in records)
    if not own and not users:
        fix = "Give the ids of item rows, or those of the column that data.id names."
        raise DataError(name, "none of its ids is the id of a record", f"ids of these {len(records)} records", fix)
    if own >= users:
        return {record.id: record.id for record in records}, "id"
    # A record without an id of the user has no key, and the empty key is nobody's.
    return {record.id: record.user_id or f"no id: {record.id}" for record in records}, "data.id"


def _by_row(
    name: str, lines: Lines, records: Sequence[Record]
) -> tuple[list[tuple[str, Mapping[str, str | None]]], str]:
    """The rows under the ids of the records that they answer: row for row of the data file, else in order."""
    sources = {record.source for record in records}
    last = max((number for number, _ in lines), default=0)
    if len(sources) == 1 and all(record.row <= last for record in records):
        ids = {record.row: record.id for record in records}
        return [(ids.get(number, f"row {number}"), row) for number, row in lines], "row of the data file"
    if len(lines) == len(records):
        pairs = zip(records, lines, strict=True)
        return [(record.id, row) for record, (_, row) in pairs], "order of the records"
    raise DataError(
        name, f"has {counted(len(lines), 'row')} and no ids, and there are {counted(len(records), 'record')}",
        "a column `id`, or one row for each row of the data file", "Add a column `id`.",
    )  # fmt: skip


def _times(keyed: Sequence[tuple[str, Mapping[str, str | None]]]) -> dict[str, int]:
    times: dict[str, int] = {}
    for key, _ in keyed:
        times[key] = times.get(key, 0) + 1
    return times


def _row(cells: Mapping[str, str | None], answer: str) -> _Row:
    text = cells.get(answer)
    return _Row(
        answer=text if text is not None and text.strip() else None,
        reason=cells.get("reason") or None,
        stop=cells.get("stop") or None,
        logprobs=_logprobs(cells.get("label_logprobs")),
        seconds=_number(cells.get("seconds")) or 0.0,
        price=_number(cells.get("price")),
    )


def _number(cell: str | None) -> float | None:
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _logprobs(cell: str | None) -> dict[str, float] | None:
    try:
        value = json.loads(cell) if cell else None
    except ValueError:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, int | float) for each in value.values()):
        return None
    return {str(label): float(each) for label, each in value.items()}


def _tell(name: str, counts: Mapping[str, int], observers: Sequence[Observer], *, hint: str) -> None:
    said = []
    if counts["missing"]:
        said.append(f"{counted(counts['missing'], 'record')} without an answer, counted as wrong{hint}")
    if counts["double"]:
        said.append(f"{counted(counts['double'], 'record')} answered more than once, counted as wrong")
    if counts["of_no_record"]:
        said.append(f"{counted(counts['of_no_record'], 'answer')} to no record of this set, left out")
    if counts["unreadable"]:
        said.append(f"{counted(counts['unreadable'], 'row')} that cannot be read")
    if said:
        tell(observers, Notice(topic="answers", message=f"{name}: {'; '.join(said)}."))
