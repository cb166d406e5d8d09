"""The texts of doubtful rows, found again in a run's data folder: in a split, or among the rejected rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metier.data.examples import plain_label, rename_label
from metier.data.exchanges import record_key
from metier.data.input_rules import InputRules, normalised
from metier.data.listed import LISTED
from metier.data.paths import cell_at
from metier.data.prepare import load_prepared
from metier.data.prepared import PreparedData
from metier.data.record.findings import RowPlace, read_lines
from metier.data.records import Record, Rejected
from metier.data.table import RawRow
from metier.data.turns import RowFault
from metier.data.written import RECORDS
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256
from metier.store.run_folder import DataFolder
from metier.store.values import from_plain

Name = tuple[str, str]
"""Source and record id: one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """What a row says."""

    text: str
    answer: str
    """Label or written answer; empty where it has none."""
    split: str | None
    """Where it stands now; None: it was rejected."""


def texts_of(
    folder: Path, places: Iterable[RowPlace], *, label_names: Mapping[str, str] | None = None
) -> dict[Name, RowText]:
    """Texts and answers of rows: one pass over the splits, then one over the rejected rows for what is missing.

    Args:
        folder: A run's data folder.
        places: The rows wanted.
        label_names: `data.label_names` of the run's recipe: rejected rows hold labels as they stood in the file.

    Returns:
        Those that were found, by source and record id. Rows without stored text (privacy) are not among them.

    Raises:
        RunFolderError: A file of the folder is missing or damaged.
    """
    missing = {(place.source, place.id): place for place in places}
    if not missing:
        return {}
    prepared = load_prepared(folder)
    found: dict[Name, RowText] = {}
    ended = DataFolder(folder).privacy.is_file()  # of a strict run: its splits went with its private folder
    for split in (prepared.train, prepared.validation, prepared.test):
        if ended and not split.path.is_file():
            continue
        for record in split.records():
            name = (record.source, record.id)
            if name in missing:
                found[name] = RowText(text=record.text, answer=record.gold, split=split.name)
                del missing[name]
    if missing:
        by_row: dict[tuple[str, int], list[RowPlace]] = {}
        for place in missing.values():
            by_row.setdefault((place.source, place.row), []).append(place)
        found.update(_rejected(folder, by_row, prepared, label_names or {}))
    return found


def _rejected(
    folder: Path,
    by_row: Mapping[tuple[str, int], list[RowPlace]],
    prepared: PreparedData,
    label_names: Mapping[str, str],
) -> Iterator[tuple[Name, RowText]]:
    path = DataFolder(folder).rejected
    for number, line in read_lines(path):
        row = from_plain(Rejected, line, where=f"{path}, line {number}")
        places = by_row.get((row.source, row.row), ())
        said = _said(row.content, prepared, label_names) if places else None
        for place in places:
            # Several records may share a row of the file: the id's first part is the hash of the text.
            if said is not None and place.id.startswith(f"{said[0]}-"):
                yield (place.source, place.id), RowText(text=said[1], answer=said[2], split=None)


def _said(content: str, prepared: PreparedData, label_names: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Key, text and answer of a raw row; None where it cannot be read as a record."""
    try:
        row = json.loads(content)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    try:
        if prepared.card.task == "classification":
            return _choice(row, prepared.rules, prepared.card.label_column, label_names)
        record = _record(row, prepared, label_names)
    except (RowFault, DataError):
        return None
    return record_key(record), record.text, record.gold


def _record(row: RawRow, prepared: PreparedData, label_names: Mapping[str, str]) -> Record:
    """The record of a raw row, of a task whose answers are no single labels."""
    task, rules = prepared.card.task, prepared.rules
    if task in LISTED:
        found: Record = LISTED[task](row, rules, {}, DataSection(train="", label_names=dict(label_names)))[0]
        return found
    return RECORDS[task](row, rules, {})[0]


def _choice(row: RawRow, rules: InputRules, label_column: str, label_names: Mapping[str, str]) -> tuple[str, str, str]:
    text = rules.text_of(row)
    label = rename_label(plain_label(cell_at(row, label_column)), label_names)
    return text_sha256(normalised(text))[:16], text, label
