"""Train as it was read, for the ablation: the same rows without cleaning, so that what cleaning changed is measured.

Left out are the rows that cannot be used at all, and those that would flatter: whose text, nearly the same text or
group is in test or validation. Duplicates, contradictions, doubted rows and answers as they stood are all in it. Limits
of size (`examples_per_label`, `max_examples`) hold as they do for the cleaned rows: they are no cleaning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metier.data.cleaning.leakage import STEP as LEAKAGE
from metier.data.cleaning.rows import Finding
from metier.data.division import Division
from metier.data.examples import plain_label, rename_label
from metier.data.paths import cell_at
from metier.data.records import Choice, Passage, Record
from metier.data.roster import ALONE, Places, Roster
from metier.data.splits import Split, SplitWriter
from metier.data.splitting import keep_most, keep_per_label
from metier.data.spool import Spool, is_kept, settled
from metier.data.table import counted
from metier.recipe.sections import DataSection
from metier.store.fingerprint import file_sha256
from metier.store.run_folder import DataFolder

NAME = "raw"
"""Of the file, which has the form of a split."""
_NO_CLEANING = frozenset({"over max_test_examples", "no date", "personal data"})
"""Reasons for which a row left that have nothing to do with cleaning: it is not learned from either way."""
Unclean = Callable[[Record, str], Record]
"""A record as it stood in its file; beside it its row as it was read, as JSON, or the row's hash: see `is_kept`."""


def write_raw(folder: Path, spool: Spool, division: Division, places: Places, unclean: Unclean) -> tuple[str, ...]:
    """Write `raw.parquet`.

    Args:
        folder: Where the splits are written.
        spool: All records.
        division: The splits as they are written, cleaning done.
        places: The examples: see `raw_places`.
        unclean: Undoes what was done to a record: see `as_read`.

    Returns:
        What should be said about it.
    """
    chosen = np.zeros(len(division.roster), np.bool_)
    chosen[places] = True
    writer = SplitWriter(DataFolder(folder).split(NAME), spool.kind)
    kept = False
    for place, (record, content) in enumerate(spool.records()):
        if chosen[place]:
            kept = kept or is_kept(content)
            writer.write(settled(unclean(record, content), division.roster.id_of(place), ()))
    writer.close()
    how = "as they stood in their files"
    if not kept:
        how = "with the repairs of their texts, as what was read is not kept where personal data is taken out"
    elif spool.kind in ("conversation", "labelling", "marked", "preference"):
        how = "with the repairs of their texts"
    more = len(places) - len(division.train)
    than = f"{abs(more):,} {'more' if more >= 0 else 'fewer'} than cleaned"
    return (f"data.ablation: {counted(len(places), 'row')} of train kept beside, {how} ({than})",)


def read_raw(folder: Path) -> Split | None:
    """Train as it was read, of a run's data folder; None where the recipe asked for no ablation.

    Args:
        folder: Holds the splits.
    """
    path = DataFolder(folder).split(NAME)
    return Split(name=NAME, path=path, fingerprint=file_sha256(path)) if path.exists() else None


def raw_places(
    division: Division, originally: Places, *, section: DataSection, seed: int, found: Iterable[Finding] = ()
) -> Places:
    """The examples that would be learned from without cleaning.

    Args:
        division: Cleaning done.
        originally: The examples of the train files.
        section: Limits of size.
        seed: The recipe's seed.
        found: What the cleaning steps found.
    """
    roster, train = division.roster, division.train
    away = np.concatenate([division.validation, division.test])
    gone = [each.place for each in division.dropped if each.reason in _NO_CLEANING]
    leaked = [doubt.key for finding in found if finding.step == LEAKAGE for doubt in finding.doubts]
    out = np.isin(originally, np.concatenate([away, np.array(gone, np.int64)]))
    out |= np.isin(roster.key[originally], roster.key[away])
    out |= np.isin(originally, np.array(leaked, np.int64))
    apart = np.setdiff1d(_groups(roster, away), _groups(roster, train))
    out |= np.isin(roster.group[originally], apart)
    out &= ~np.isin(originally, train)  # leaks that the recipe allows are in both
    places = originally[~out]
    if section.examples_per_label is not None:
        places = keep_per_label(roster, places, section.examples_per_label, seed=seed)[0]
    if section.max_examples is not None:
        places = keep_most(roster, places, section.max_examples, seed=seed, field="max_examples")[0]
    return np.sort(places)


def as_read(text_of: Callable[[Record, str], str], label_column: str, names: Mapping[str, str]) -> Unclean:
    """Undo what was done to a record, as far as its row as it was read says what it was.

    Texts of conversations stay as they are, which is said.

    Args:
        text_of: The text of a record before its repairs (`view.unrepaired`).
        label_column: Column or path of the label; empty where there is none.
        names: `data.label_names`: what labels are called, which is no cleaning.
    """

    def undone(record: Record, content: str) -> Record:
        if not is_kept(content) or not isinstance(record, Choice | Passage):
            return record
        # A text of spaces alone cannot be asked.
        text = text_of(record, content).strip() or record.text
        if isinstance(record, Passage):
            return replace(record, text=text)
        cells: Mapping[str, Any] = json.loads(content)
        label = rename_label(plain_label(cell_at(cells, label_column)), names) if label_column else ""
        return replace(record, text=text, label=label or record.label)

    return undone


def _groups(roster: Roster, places: Places) -> Places:
    groups = roster.group[places].astype(np.int64)
    return np.unique(groups[groups != ALONE])
