"""The cleaning steps over divided records: what they need is brought together, and what they decide is done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metier.data.bias.mentions import Coded
from metier.data.cleaning.apply import Cleaned
from metier.data.cleaning.leakage import STEP as LEAKAGE
from metier.data.cleaning.look import Aids
from metier.data.cleaning.rows import SPLITS, Finding, Row
from metier.data.cleaning.steps import clean_rows
from metier.data.divide import close_division
from metier.data.division import Division
from metier.data.duplicates import Leak
from metier.data.evaluation_files import evaluation_items
from metier.data.examples import Intake
from metier.data.leaks import apply_leaks
from metier.data.model_aid import ModelAid, with_model
from metier.data.paths import cell_at
from metier.data.reading import Reading
from metier.data.record.findings import RowPlace, places_of
from metier.data.record.honour import without_settled
from metier.data.spool import Spool
from metier.data.view import NOWHERE, SpoolRows, places_by_split, unrepaired
from metier.events import Observer
from metier.recipe.sections import DataSection

NEAR_TEST = "near_in_test"
"""Flag of a row of validation that is nearly a row of test."""


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What the steps found in divided records, and where the rows are that they name."""

    cleaned: Cleaned
    findings: tuple[Finding, ...]
    """Those of the steps, and of the search for personal data where there was one."""
    places: Mapping[int, RowPlace]


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """All records on disk, and how they came there."""

    spool: Spool
    """Closed for records."""
    intake: Intake
    """Took them in: what a person decided, and personal data that was found meanwhile."""
    reading: Reading
    merged: Mapping[str, str]
    """Label -> the name that it has now, for rare labels that were merged."""


def screen_division(
    division: Division,
    taken: Taken,
    section: DataSection,
    *,
    task: str,
    seed: int,
    observers: Sequence[Observer] = (),
    aid: ModelAid | None = None,
) -> Screened:
    """Run the steps over three splits in the making, and let leave, move and be flagged whom policy says.

    Args:
        division: Changed.
        taken: All records.
        section: The recipe's data section.
        task: The recipe's task.
        seed: The recipe's seed.
        observers: Get progress.
        aid: The model of `data.screening_model`; None where there is none.

    Raises:
        DataError: A policy refuses what a step found, or a split is empty afterwards.
        MissingPackage: A step that does something needs a package that is not installed.
    """
    spool, reading, intake = taken.spool, taken.reading, taken.intake
    splits = places_by_split(division)
    rows = SpoolRows(spool, splits, merged=taken.merged)
    raw = SpoolRows(spool, splits, unrepaired(reading.rules), merged=taken.merged)
    aids = Aids(
        evaluation=evaluation_items(section, reading.rules),
        earlier=reading.findings,
        columns=_coded(spool, section.bias.columns) if section.bias.policy != "off" else (),
        settled=frozenset(intake.kept),
        before=intake.before,
        characters=spool.characters,
    )
    standing = ((key, record) for key, (record, _) in enumerate(spool.records()) if splits[key] != NOWHERE)
    aids, said = with_model(aids, aid, rows, standing, task)
    cleaned = clean_rows(rows, raw, section, task=task, seed=seed, observers=observers, aids=aids)
    leaks, kept = _leaks_of_train(division, cleaned, section)
    if shared := apply_leaks(division, leaks, section):
        cleaned = replace(cleaned, done={**cleaned.done, LEAKAGE: shared})
    division.leave(cleaned.drops.values(), only="train")
    if cleaned.drops or leaks:
        close_division(division, section)
    division.flag(NEAR_TEST, kept, np.ones(len(kept), np.bool_))
    # After it: closing forgets the flags that it makes itself.
    for flag, marked in cleaned.flags.items():
        division.flag(flag, marked, np.ones(len(marked), np.bool_))
    found = without_settled(cleaned.findings, intake.kept)
    if intake.hiding is not None:
        found = (intake.hiding.finding(lambda place: _split_of(splits, place)), *found)

    def record_id(row: Row) -> str:
        return division.roster.id_of(row.key)

    # Under the labels that were read: a decision is looked up before rare labels are merged.
    places = places_of(SpoolRows(spool, splits), found, record_id=record_id, mark=spool.mark)
    return Screened(cleaned=replace(cleaned, notices=(*said, *cleaned.notices)), findings=found, places=places)


def _leaks_of_train(
    division: Division, cleaned: Cleaned, section: DataSection
) -> tuple[Sequence[Leak], NDArray[np.int64]]:
    """The nearly equal texts that policy is about, and the rows of validation that are only marked.

    By default what is nearly a test row leaves train, and train alone: in validation it flatters no result, and a
    small set of texts made from one form would lose all of its validation rows.
    """
    if section.leaks != "drop":
        return cleaned.leaks, np.zeros(0, np.int64)
    validation = set(division.validation.tolist())
    places = sorted({leak.place for leak in cleaned.leaks if leak.place in validation})
    return [leak for leak in cleaned.leaks if leak.place not in validation], np.array(places, np.int64)


def _split_of(splits: NDArray[np.int8], place: int) -> str:
    number = int(splits[place])
    return "unsplit" if number == NOWHERE else SPLITS[number]


def _coded(spool: Spool, columns: Iterable[str]) -> tuple[Coded, ...]:
    """The columns that divide people, as numbers; one pass over the rows as they were read."""
    names = tuple(columns)
    if not names:
        return ()
    numbers: dict[str, dict[str, int]] = {name: {} for name in names}
    codes: dict[str, list[int]] = {name: [] for name in names}
    for _, content in spool.records():
        cells = json.loads(content) if content.startswith("{") else {}
        for name in names:
            cell = cell_at(cells, name).strip()
            known = numbers[name]
            codes[name].append(known.setdefault(cell, len(known)) if cell else -1)
    return tuple(Coded(name=name, values=tuple(numbers[name]), codes=np.array(codes[name], np.int32)) for name in names)
