"""From rows to records: texts cleaned, labels renamed, unusable rows set apart with their reason."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from metier.data.columns import Columns
from metier.data.input_rules import InputRules, normalised
from metier.data.paths import cell_at
from metier.data.records import Choice, Record, Rejected
from metier.data.roster import Places, RosterBuilder
from metier.data.table import RawRow, Table, counted, raw_row, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256

PLACEHOLDERS = ("-", "--", "?", ".", "n/a", "na", "nan", "none", "null", "#n/a", "tbd", "unlabeled", "unlabelled")
"""Labels that usually mean that there is none; never ignored unless the recipe says so."""
_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A row that was repaired: a line of `changed.jsonl`."""

    source: str
    row: int
    repairs: tuple[str, ...]


class Store(Protocol):
    """Where records go, in order, and what became of rows that are none."""

    def accept(self, record: Record, content: RawRow) -> None:
        """Keep a record, whose id is not settled yet, and the row as it was read."""

    def reject(self, rejected: Rejected) -> None:
        """Keep a row that cannot be used."""

    def change(self, changed: Changed) -> None:
        """Note a repair."""


@dataclass(eq=False)
class Intake:
    """Takes in the rows of all files, split by split: facts into a roster, texts into a store."""

    store: Store
    builder: RosterBuilder = field(default_factory=RosterBuilder)
    _parts: int = 0

    def part(self) -> Part:
        """The files of one more split."""
        self._parts += 1
        return Part(self, self._parts - 1, len(self.builder))


@dataclass(eq=False)
class Part:
    """What comes out of the rows of one split's files."""

    intake: Intake
    number: int
    start: int
    reasons: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be used, by reason."""
    broken: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of rows that could not be read, by file."""
    first_broken: str | None = None
    """Where the first of them is, as a phrase."""
    labels_seen: Counter[str] = field(default_factory=Counter)
    """Labels as they stand in the file, before renaming and filtering."""

    def accept(self, record: Record, key: str, content: RawRow) -> None:
        """Take in a record with the hash of its normalised text, 16 hexadecimal digits."""
        self.intake.builder.add(record, key, self.number)
        self.intake.store.accept(record, content)

    def reject(self, rejected: Rejected) -> None:
        """Take in a row that cannot be used."""
        self.reasons[rejected.reason] += 1
        if rejected.reason == "broken row":
            self.broken.setdefault(rejected.source, []).append(rejected.row)
            self.first_broken = self.first_broken or rejected.detail
        self.intake.store.reject(rejected)

    def change(self, source: str, row: int, repairs: tuple[str, ...]) -> None:
        """Note a repair."""
        self.intake.store.change(Changed(source=source, row=row, repairs=repairs))

    def extraction(self) -> Extraction:
        """What came out, when all rows were taken in."""
        places = np.arange(self.start, len(self.intake.builder), dtype=np.int64)
        return Extraction(places, self.reasons, self.broken, self.first_broken, self.labels_seen)


@dataclass(frozen=True, eq=False)
class Extraction:
    """What came out of the rows of one split's files."""

    places: Places
    """Its examples in the roster."""
    reasons: Counter[str]
    """Rows that cannot be used, by reason."""
    broken: Mapping[str, Sequence[int]]
    """Numbers of rows that could not be read, by file."""
    first_broken: str | None
    """Where the first of them is, as a phrase."""
    labels_seen: Counter[str]
    """Labels as they stand in the file, before renaming and filtering."""


def extract_examples(
    tables: Iterable[Table], part: Part, *, columns: Columns, rules: InputRules, section: DataSection
) -> Extraction:
    """Turn the rows of one split's files into examples.

    Args:
        tables: The split's files, in order.
        part: Takes them in.
        columns: Which column is what.
        rules: How a row becomes text.
        section: Label names, labels to ignore, labels to keep.
    """
    for table in tables:
        name = table.source.name
        for row in table.broken:
            part.reject(row)
        for cells, number in zip(table.rows, table.row_numbers, strict=True):
            text, repairs = rules.repair(rules.compose(cells))
            if number in table.repaired:
                repairs = (table.repaired[number], *repairs)
            label = plain_label(cell_at(cells, columns.label))
            part.labels_seen[label] += 1
            named = rename_label(label, section.label_names)
            fault = _fault(text, label, named, section)
            if fault is not None:
                reason, detail = fault
                part.reject(Rejected(source=name, row=number, reason=reason, detail=detail, content=raw_row(cells)))
                continue
            record = Choice(
                id="", text=text, label=named, group=group_of(cells, number, table, columns.group), source=name,
                row=number, user_id=cell_or_none(cells, columns.id),
            )  # fmt: skip
            part.accept(record, text_sha256(normalised(text))[:16], cells)
            if repairs:
                part.change(name, number, repairs)
    return part.extraction()


def plain_label(cell: str | None) -> str:
    """A label cell with white space settled and whole numbers without `.0`, as spreadsheets write them."""
    label = " ".join((cell or "").split())
    return label.partition(".")[0] if _WHOLE_FLOAT.fullmatch(label) else label


def rename_label(label: str, names: Mapping[str, str]) -> str:
    """The label's name after `data.label_names`; `1` and `1.0` are the same key."""
    if label in names:
        return names[label]
    return {plain_label(key): name for key, name in names.items()}.get(label, label) if names else label


def check_label_settings(section: DataSection, seen: Mapping[str, int]) -> list[str]:
    """Notices about label settings that match nothing in the data.

    Args:
        section: The recipe's data section.
        seen: Labels as they stand in the files.

    Raises:
        DataError: `data.labels` names a label that does not occur.
    """
    named = {rename_label(label, section.label_names) for label in seen}
    for label in section.labels or ():
        if label not in named:
            near = difflib.get_close_matches(label, named, n=1)
            fix = f"Did you mean `{near[0]}`?" if near else ""
            shown = ", ".join(f"`{name}`" for name in sorted(named)[:30])
            raise DataError("data.labels", f"`{label}` is no label of the data", f"some of {shown}", fix)
    notices = []
    for name, given in (("label_names", list(section.label_names)), ("ignore_labels", section.ignore_labels)):
        unused = sorted(label for label in given if plain_label(label) not in seen and label not in named)
        if unused:
            notices.append(f"data.{name}: {', '.join(f'`{label}`' for label in unused)} does not occur in the data")
    ignored = {plain_label(label) for label in section.ignore_labels}
    notices.extend(
        f"label `{label}` ({counted(seen[label], 'row')}) looks like a missing label; see data.ignore_labels"
        for label in placeholder_labels(seen)
        if label not in ignored and label not in section.label_names and section.labels is None
    )
    return notices


def placeholder_labels(labels: Iterable[str]) -> list[str]:
    """Those labels that look like a missing one."""
    return sorted(label for label in labels if label.casefold() in PLACEHOLDERS)


def similar_labels(labels: Sequence[str]) -> list[str]:
    """Notices about labels that differ only in case, spaces or dashes."""
    by_form: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        by_form.setdefault(re.sub(r"[\s_-]+", " ", label.casefold()), []).append(label)
    return [
        f"labels {' and '.join(f'`{label}`' for label in same)} differ only in how they are written; "
        "data.label_names can make them one"
        for same in by_form.values()
        if len(same) > 1
    ]


def in_order(reasons: Mapping[str, int]) -> dict[str, int]:
    """Rejected rows by reason, the most frequent first."""
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def described(reasons: Mapping[str, int]) -> str:
    """The same as a phrase: `12 empty text, 3 broken row`."""
    return ", ".join(f"{count} {reason}" for reason, count in in_order(reasons).items())


def broken_notice(extracted: Iterable[Extraction]) -> list[str]:
    """One notice a file about rows that could not be read."""
    return [
        f"{source}: {counted(len(rows), 'broken row')} rejected ({rows_at(rows)})"
        for part in extracted
        for source, rows in part.broken.items()
    ]


def _fault(text: str, label: str, named: str, section: DataSection) -> tuple[str, str] | None:
    if not text:
        return "empty text", "the text columns are empty"
    if not label or not named.strip():
        return "empty label", "the label column is empty"
    ignored = {plain_label(ignore) for ignore in section.ignore_labels}
    if label in ignored or named in ignored:
        return "ignored label", "its label is in data.ignore_labels"
    if section.labels is not None and named not in section.labels:
        return "label not kept", "its label is not in data.labels"
    return None


def group_of(row: RawRow, number: int, table: Table, path: str | None) -> str | None:
    """The group of a record: what `data.group` says, where it says nothing the row that it shares with others.

    Args:
        row: The record's cells.
        number: Its row in the file.
        table: The file.
        path: `data.group`.
    """
    shared = f"{table.source.name}, row {number}" if number in table.shared_rows else None
    return (cell_or_none(row, path) if path is not None else None) or shared


def cell_or_none(row: RawRow, path: str | None) -> str | None:
    """What lies at `path` without spaces around it; None where that is nothing."""
    return cell_at(row, path).strip() or None if path is not None else None
