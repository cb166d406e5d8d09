"""From rows to records: texts cleaned, labels renamed, unusable rows set apart with their reason."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from metier.data.before_repairs import noted_before
from metier.data.cleaning.before import NOTHING, Before
from metier.data.columns import Columns
from metier.data.dates import Clock
from metier.data.exchanges import Mark, plain_mark, record_key
from metier.data.input_rules import InputRules
from metier.data.paths import cell_at
from metier.data.privacy.hiding import AT_ONCE, CHANGE, Hiding
from metier.data.reasons import changes, row_sha256, stamped
from metier.data.record.honour import Decided, Honoured, Settled
from metier.data.records import Changed, Choice, Record, Rejected
from metier.data.roster import Dropped, Places, RosterBuilder
from metier.data.table import RawRow, Table, counted, raw_row, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection

PLACEHOLDERS = ("-", "--", "?", ".", "n/a", "na", "nan", "none", "null", "#n/a", "tbd", "unlabeled", "unlabelled")
"""Labels that usually mean that there is none; never ignored unless the recipe says so."""
_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")


class Store(Protocol):
    """Where records go, in order, and what became of rows that are none."""

    def accept(self, record: Record, content: RawRow, *, keep: bool = True) -> None:
        """Keep a record, whose id is not settled yet, and the row as it was read, or only the row's hash."""

    def reject(self, rejected: Rejected, *, keep: bool = True) -> None:
        """Keep a row that cannot be used; its content only where that may be kept."""

    def change(self, changed: Changed) -> None:
        """Note a repair."""


@dataclass(eq=False)
class Intake:
    """Takes in the rows of all files, split by split: facts into a roster, texts into a store."""

    store: Store
    builder: RosterBuilder = field(default_factory=RosterBuilder)
    clock: Clock = field(default_factory=Clock)
    """Reads the dates by which splits are drawn, where the recipe wants that."""
    hiding: Hiding | None = None
    """Hides personal data before anything is kept, where the recipe wants that."""
    mark: Mark = plain_mark
    """Makes the hashes that records are known by."""
    honoured: Honoured | None = None
    """Applies what a person decided, where the recipe names a file of decisions."""
    kept: dict[int, Settled] = field(default_factory=dict)
    """Place -> what was decided about a record that a person let stay."""
    before: dict[int, Before] = field(default_factory=dict)
    """Place -> what the repairs took out of a record, for those of which they took hidden characters or secrets."""
    _parts: int = 0

    @property
    def keeps_rows(self) -> bool:
        """Whether rows may be kept as they were read: not where personal data is taken out of what is kept."""
        return self.hiding is None or not self.hiding.changes_records

    def part(self, role: str = "train") -> Part:
        """The files of one more split.

        Args:
            role: Which one: train, validation or test.
        """
        self._parts += 1
        return Part(self, self._parts - 1, len(self.builder), role)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A record that is taken in; in one that waits personal data was not looked for yet."""

    record: Record
    content: RawRow
    repairs: tuple[str, ...]
    before: Before


@dataclass(eq=False)
class Part:
    """What comes out of the rows of one split's files."""

    intake: Intake
    number: int
    start: int
    role: str = "train"
    """Which split: train, validation or test."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be used, by reason."""
    broken: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of rows that could not be read, by file."""
    first_broken: str | None = None
    """Where the first of them is, as a phrase."""
    labels_seen: Counter[str] = field(default_factory=Counter)
    """Labels as they stand in the file, before renaming and filtering."""
    left: list[Dropped] = field(default_factory=list)
    """Records that a person decided to drop: in the roster, and in no split."""
    _waiting: list[_Waiting] = field(default_factory=list)

    def accept(self, record: Record, content: RawRow, repairs: tuple[str, ...], rules: InputRules) -> None:
        """Take in a record; where personal data is looked for, with some others at once, in their order.

        Args:
            record: After the repairs.
            content: Its row as it was read.
            repairs: What was changed in it, by name.
            rules: How its row became text.
        """
        taken = _Waiting(record, content, repairs, noted_before(record, content, rules, repairs))
        if self.intake.hiding is None:
            self._take(record, taken)
            return
        self._waiting.append(taken)
        if len(self._waiting) >= AT_ONCE:
            self._hide(self.intake.hiding)

    def reject(self, rejected: Rejected) -> None:
        """Take in a row that cannot be used."""
        rejected = stamped(rejected)
        self.reasons[rejected.reason] += 1
        if rejected.reason == "broken row":
            self.broken.setdefault(rejected.source, []).append(rejected.row)
            self.first_broken = self.first_broken or rejected.detail
        self.intake.store.reject(rejected, keep=self.intake.keeps_rows)

    def change(self, source: str, row: int, repairs: tuple[str, ...], content: RawRow, detail: str = "") -> None:
        """Note what was changed in a row, and the hash of the row as it was read."""
        for changed in changes(source, row, repairs, sha256=row_sha256(raw_row(content)), detail=detail):
            self.intake.store.change(changed)

    def extraction(self) -> Extraction:
        """What came out, when all rows were taken in.

        Raises:
            DataError: Personal data was found whose policy is to refuse.
        """
        if self.intake.hiding is not None:
            self._hide(self.intake.hiding)
            self.intake.hiding.raise_refused()
        places = np.arange(self.start, len(self.intake.builder), dtype=np.int64)
        places = np.setdiff1d(places, np.array([each.place for each in self.left], np.int64))
        return Extraction(places, self.reasons, self.broken, self.first_broken, self.labels_seen, tuple(self.left))

    def _take(self, record: Record, taken: _Waiting) -> int:
        """A record into roster and store, as it is now; its place."""
        content, repairs = taken.content, taken.repairs
        key = record_key(record, self.intake.mark)
        decided = None
        if self.intake.honoured is not None:
            decided = self.intake.honoured.decide(
                record, key, mark=self.intake.mark, part=self.number, test=self.role == "test"
            )
            record = decided.record
        now = key if decided is None else decided.key
        when = self.intake.clock.when(content, record.source)
        place = self.intake.builder.add(record, now, self.number, when=when)
        self.intake.store.accept(record, content, keep=self.intake.keeps_rows)
        if taken.before != NOTHING:
            self.intake.before[place] = taken.before
        if repairs:
            self.change(record.source, record.row, repairs, content)
        if decided is not None and decided.settled.decisions:
            self._note(decided, place, key, content)
        return place

    def _note(self, decided: Decided, place: int, read_as: str, content: RawRow) -> None:
        """Note what a person decided about a record that was taken in."""
        if decided.key != read_as:
            self.intake.builder.edited(place, read_as)
        if decided.changes:
            self.change(decided.record.source, decided.record.row, decided.changes, content, decided.detail)
        dropped = decided.dropped(place)
        if dropped is not None:
            self.left.append(dropped)
        else:
            self.intake.kept[place] = decided.settled

    def _hide(self, hiding: Hiding) -> None:
        """Take in what waits, without personal data."""
        waiting, self._waiting = self._waiting, []
        handled = hiding.hide([each.record for each in waiting], test=self.role == "test")
        for each, after in zip(waiting, handled, strict=True):
            if after.rejected is not None:
                reason, detail = after.rejected
                source, row = each.record.source, each.record.row
                content = raw_row(each.content)
                self.reject(Rejected(source=source, row=row, reason=reason, detail=detail, content=content))
                hiding.note(after, None)
                continue
            hiding.note(after, self._take(after.record, each))
            if after.changed:
                self.change(after.record.source, after.record.row, (CHANGE,), each.content, after.detail)


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
    left: tuple[Dropped, ...] = ()
    """Records that a person decided to drop: in the roster, and not among the places."""


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
            part.accept(record, cells, repairs, rules)
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
