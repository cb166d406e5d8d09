"""Rows of the tasks whose right answer is a list: labels of a text, or labelled pieces of it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from metier.data.examples import rename_label
from metier.data.input_rules import InputRules
from metier.data.label_lists import gather_labels, is_yes_or_no, separator_of, set_text
from metier.data.paths import check_path, value_at
from metier.data.records import Labelling, Marked, Message, Record
from metier.data.table import RawRow, Table
from metier.data.text_spans import Span, moved, named_spans, pieces_text
from metier.data.turns import RowFault
from metier.errors import DataError
from metier.recipe.sections import DataSection

Repairs = tuple[str, ...]
"""What was repaired in a text, by name."""
COLUMN = "label "
"""Begins the field of one of several label columns in `InputRules.fields`."""
_SAMPLE = 2000
_SPAN_WANTED = 'a JSON list such as [{"start": 3, "end": 9, "label": "PERSON"}]'


def answer_fields(section: DataSection, task: str, table: Table, taken: Sequence[str]) -> dict[str, str]:
    """Where a file holds the lists: `answer` of one column, `label 1`, `label 2`, … of a column for each label.

    Args:
        section: The recipe's data section; what it names wins.
        task: `multilabel` or `extraction`.
        table: The file.
        taken: Columns of the text.

    Raises:
        DataError: A column is not there, or it cannot be told which one it is.
    """
    named = section.label if task == "multilabel" else section.answer
    where = "data.label" if task == "multilabel" else "data.answer"
    if isinstance(named, list):
        for column in named:
            check_path(table, column, where)
        return {f"{COLUMN}{number}": column for number, column in enumerate(named, start=1)}
    if named is None:
        free = [name for name in table.columns if name not in taken]
        found = list_columns(table, free) if task == "multilabel" else span_columns(table, free)
        if len(found) != 1:
            what = "labels" if task == "multilabel" else "pieces of the text"
            lists = f"{len(found)} columns of {table.source.name} hold lists of {what}" if found else ""
            said = lists or f"no column of {table.source.name} holds lists of {what}"
            wanted = f"one of {', '.join(f'`{name}`' for name in found or free)}"
            raise DataError(where, f"is not set, and {said}", wanted, f"Set {where}.")
        named = found[0]
    check_path(table, named, where)
    return {"answer": named}


def separator_in(section: DataSection, table: Table, fields: Mapping[str, str]) -> str | None:
    """What stands between the labels of a cell: as the recipe says, else as the cells show; None where nothing does."""
    if section.label_separator is not None or "answer" not in fields:
        return section.label_separator
    values = [value_at(row, fields["answer"]) for row in table.rows[:_SAMPLE]]
    return separator_of(value for value in values if isinstance(value, str) and _as_list(value) is None)


def list_columns(table: Table, names: Sequence[str]) -> list[str]:
    """Columns whose cells hold lists of labels: JSON lists of texts that come again, or texts with a separator."""
    return json_lists(table, names) or [
        name
        for name in names
        if separator_of(value for row in table.rows[:_SAMPLE] if isinstance(value := value_at(row, name), str))
        is not None
    ]


def json_lists(table: Table, names: Sequence[str]) -> list[str]:
    """Columns whose filled cells are JSON lists of texts that come again."""
    found = []
    for name in names:
        values = [value for row in table.rows[:_SAMPLE] if (value := value_at(row, name)) not in (None, "")]
        lists = [each for value in values if (each := _as_list(value)) is not None and all(map(_is_label, each))]
        every = [str(label) for each in lists for label in each]
        if values and len(lists) == len(values) and every and 2 * len(set(every)) <= len(every):
            found.append(name)
    return found


def yes_columns(table: Table, names: Sequence[str]) -> list[str]:
    """Columns whose cells say 1 or 0, both of them, in rows of which some say it in several columns."""
    rows = table.rows[:_SAMPLE]
    cells = {name: [row.get(name) for row in rows] for name in names}
    found = [
        name
        for name, column in cells.items()
        if all(map(is_yes_or_no, column)) and len({(cell or "").strip().lower() for cell in column}) == 2
    ]
    sums = [sum((cells[name][place] or "").strip().lower() in ("1", "true", "yes") for name in found)
            for place in range(len(rows))]  # fmt: skip
    return found if len(found) > 2 and any(total > 1 for total in sums) else []


def span_columns(table: Table, names: Sequence[str]) -> list[str]:
    """Columns whose filled cells are lists of spans by offsets."""
    found = []
    for name in names:
        values = [value for row in table.rows[:_SAMPLE] if (value := _opened(value_at(row, name))) not in (None, "")]
        lists = [value for value in values if isinstance(value, list)]
        if values and len(lists) == len(values) and any(lists) and all(named_spans(each) is not None for each in lists):
            found.append(name)
    return found


def labelling(
    row: RawRow, rules: InputRules, common: Mapping[str, Any], section: DataSection
) -> tuple[Record, Repairs]:
    """A row as a text with its labels.

    Args:
        row: Cells by column.
        rules: How a row becomes text, and where its labels are.
        common: What every record has.
        section: Names of labels, which are kept, which are not wanted.

    Raises:
        RowFault: The row cannot be used.
        DataError: A cell of a label's column is neither yes nor no.
    """
    text, repairs = rules.repair(rules.compose(row))
    if not text:
        raise RowFault("empty text", "the text columns are empty")
    labels = [rename_label(label, section.label_names) for label in _labels(row, rules)]
    if set(labels) & set(section.ignore_labels):
        raise RowFault("ignored label", "one of its labels is in data.ignore_labels")
    if section.labels is not None:
        labels = [label for label in labels if label in section.labels]
    return Labelling(id="", text=text, messages=_asked(text, set_text(labels)), **common), repairs


def marked(row: RawRow, rules: InputRules, common: Mapping[str, Any], section: DataSection) -> tuple[Record, Repairs]:
    """A row as a text with labelled pieces; arguments and errors as `labelling`."""
    before = rules.compose(row)
    text, repairs = rules.repair(before)
    if not text:
        raise RowFault("empty text", "the text columns are empty")
    named = named_spans(_opened(value_at(row, rules.fields["answer"])))
    if named is None:
        raise RowFault("unreadable spans", f"its answer is no list of spans; wanted: {_SPAN_WANTED}")
    spans = []
    for span, said in named:
        if span.end > len(before):
            raise RowFault("span out of range", f"a span ends at {span.end}, its text has {len(before)} characters")
        if said is not None and said != before[span.start : span.end]:
            raise RowFault("span is another text", "the text of a span is not what stands at its place")
        label = rename_label(span.label, section.label_names)
        if section.labels is None or label in section.labels:
            spans.append(_repaired(Span(span.start, span.end, label), before, text, rules))
    return Marked(id="", text=text, messages=_asked(text, pieces_text(text, spans)), **common), repairs


def _repaired(span: Span, before: str, after: str, rules: InputRules) -> Span:
    """A span in the repaired text."""
    piece = before[span.start : span.end]
    if not piece.strip():
        raise RowFault("empty span", "a span holds nothing but spaces")
    place = span if before == after else moved(span, before, rules.clean(piece), after)
    if place is None:
        raise RowFault("span lost", "a span cannot be found again after the repairs of the text")
    return place


def _labels(row: RawRow, rules: InputRules) -> list[str]:
    """The labels of a row, as they stand there."""
    columns = [path for field, path in rules.fields.items() if field.startswith(COLUMN)]
    if columns:
        found: list[str] = json.loads(gather_labels(row, columns))
        return found
    value = value_at(row, rules.fields["answer"])
    listed = _as_list(value)
    if listed is not None:
        if not all(map(_is_label, listed)):
            raise RowFault("unreadable labels", "its labels are no list of texts")
        return [_plain(label) for label in listed if _plain(label)]
    cell = value if isinstance(value, str) else ""
    parts = cell.split(rules.separator) if rules.separator else [cell]
    labels = [_plain(part) for part in parts if _plain(part)]
    if not labels:
        raise RowFault("empty label", "its labels are empty; a text without labels says []")
    return labels


def _asked(text: str, answer: str) -> tuple[Message, ...]:
    return Message(role="user", content=text), Message(role="assistant", content=answer)


def _plain(label: object) -> str:
    return " ".join(str(label).split())


def _is_label(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _opened(value: Any) -> Any:
    """A cell's list, also where it is written as text."""
    listed = _as_list(value)
    return value if listed is None else listed


def _as_list(value: Any) -> list[Any] | None:
    """A list, also one that is written as text, as JSON or as Python writes it; None for anything else."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or not value.strip().startswith("["):
        return None
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        try:
            read = ast.literal_eval(value.strip())  # `['a', 'b']`, as pandas writes lists into a CSV
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    return read if isinstance(read, list) else None


LISTED: Mapping[str, Any] = {"multilabel": labelling, "extraction": marked}
"""Task -> how a row becomes a record."""
