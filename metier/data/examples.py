"""From rows to records: texts cleaned, labels renamed, unusable rows set apart with their reason."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from metier.data.columns import Columns
from metier.data.input_rules import InputRules, normalised
from metier.data.paths import cell_at
from metier.data.records import Choice, Record, Rejected
from metier.data.table import RawRow, Table, counted, raw_row, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256

PLACEHOLDERS = ("-", "--", "?", ".", "n/a", "na", "nan", "none", "null", "#n/a", "tbd", "unlabeled", "unlabelled")
"""Labels that usually mean that there is none; never ignored unless the recipe says so."""
_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A record on its way into a split."""

    record: Record
    key: str
    """Hash of the normalised text (and system prompt): equal for texts that count as the same."""
    content: RawRow
    """The row as it was read."""

    @property
    def cluster(self) -> str:
        """What must not be torn apart: its group, or the text itself."""
        return f"group {self.record.group}" if self.record.group is not None else f"text {self.key}"

    def reject(self, reason: str, detail: str) -> Rejected:
        """This example as a rejected row."""
        record = self.record
        return Rejected(
            source=record.source, row=record.row, reason=reason, detail=detail, content=raw_row(self.content)
        )


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A row that was repaired: a line of `changed.jsonl`."""

    source: str
    row: int
    repairs: tuple[str, ...]


@dataclass
class Extraction:
    """What came out of the rows of one split's files."""

    examples: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    labels_seen: Counter[str] = field(default_factory=Counter)
    """Labels as they stand in the file, before renaming and filtering."""


def extract_examples(
    tables: Sequence[Table], *, columns: Columns, rules: InputRules, section: DataSection
) -> Extraction:
    """Turn the rows of one split's files into examples.

    Args:
        tables: The split's files, in order.
        columns: Which column is what.
        rules: How a row becomes text.
        section: Label names, labels to ignore, labels to keep.
    """
    result = Extraction()
    occurrences: Counter[str] = Counter()
    for table in tables:
        result.rejected.extend(table.broken)
        for row, number in zip(table.rows, table.row_numbers, strict=True):
            text, repairs = rules.repair(rules.compose(row))
            if number in table.repaired:
                repairs = (table.repaired[number], *repairs)
            label = plain_label(cell_at(row, columns.label))
            result.labels_seen[label] += 1
            named = rename_label(label, section.label_names)
            fault = _fault(text, label, named, section)
            if fault is not None:
                reason, detail = fault
                result.rejected.append(
                    Rejected(source=table.source.name, row=number, reason=reason, detail=detail, content=raw_row(row))
                )
                continue
            key = text_sha256(normalised(text))[:16]
            record = Choice(
                id=f"{key}-{occurrences[key]}",
                text=text,
                label=named,
                group=group_of(row, number, table, columns.group),
                source=table.source.name,
                row=number,
                user_id=cell_or_none(row, columns.id),
            )
            occurrences[key] += 1
            result.examples.append(Example(record=record, key=key, content=row))
            if repairs:
                result.changed.append(Changed(source=table.source.name, row=number, repairs=repairs))
    return result


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


def count_reasons(rejected: Sequence[Rejected]) -> dict[str, int]:
    """Rejected rows by reason, the most frequent first."""
    counts = Counter(row.reason for row in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def describe_reasons(rejected: Sequence[Rejected]) -> str:
    """The same as a phrase: `12 empty text, 3 broken row`."""
    return ", ".join(f"{count} {reason}" for reason, count in count_reasons(rejected).items())


def broken_notice(rejected: Sequence[Rejected]) -> list[str]:
    """One notice a file about rows that could not be read."""
    by_source: dict[str, list[int]] = {}
    for row in rejected:
        if row.reason == "broken row":
            by_source.setdefault(row.source, []).append(row.row)
    return [
        f"{source}: {counted(len(rows), 'broken row')} rejected ({rows_at(rows)})" for source, rows in by_source.items()
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
