"""The last pass over all records: each goes to its split, or to the rejected rows with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metier.data.card import SplitCard
from metier.data.division import Division
from metier.data.gather import SPLITS
from metier.data.label_merging import renamed_record
from metier.data.long_texts import CHANGES, Shorten, shortener
from metier.data.reasons import MERGED, changes
from metier.data.records import Record
from metier.data.roster import every
from metier.data.splits import SplitWriter
from metier.data.spool import Spool, as_rejected, settled, sha256_of
from metier.data.written import TURNS, count_turns
from metier.recipe.sections import DataSection
from metier.store.run_folder import DataFolder


@dataclass(frozen=True, kw_only=True)
class Written:
    """What lies on disk."""

    cards: Mapping[str, SplitCard]
    turns: Mapping[str, int]
    """What conversations hold."""


class _Writer:
    """One split being written."""

    def __init__(self, name: str, target: Path, kind: str) -> None:
        self.name = name
        self._file = SplitWriter(DataFolder(target).split(name), kind)
        self._labels: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()
        self._rows = 0

    def write(self, record: Record) -> None:
        self._file.write(record)
        self._rows += 1
        self._flags.update(record.flags)
        self._labels.update(record.labels)

    def card(self, groups: int, *, official: bool) -> SplitCard:
        return SplitCard(
            name=self.name,
            rows=self._rows,
            groups=groups,
            label_counts=dict(sorted(self._labels.items())),
            fingerprint=self._file.close(),
            official=official,
            flags=dict(sorted(self._flags.items())),
        )


def write_division(
    division: Division,
    spool: Spool,
    target: Path,
    section: DataSection,
    *,
    official: Collection[str],
    merged: Mapping[str, str],
) -> Written:
    """Write the splits and what was rejected.

    Args:
        division: Nobody leaves or moves any more.
        spool: All records.
        target: The data folder.
        section: `lengths`: what becomes of a text of train that is too long.
        official: Splits that the user gave as files of their own.
        merged: Label -> the name that it has now, for labels that were merged.
    """
    roster = division.roster
    belongs = _belongs(division)
    flags, gone = every(np.arange(len(roster)), division.flags), {each.place: each for each in division.dropped}
    writers = [_Writer(name, target, spool.kind) for name in SPLITS]
    shorten = shortener(section)
    turns: Counter[str] = Counter()
    for place, (record, content) in enumerate(spool.records()):
        if belongs[place] < 0:
            if place in gone:
                spool.reject(as_rejected(record, content, gone[place]))
            continue
        writer = writers[belongs[place]]
        renamed = renamed_record(record, merged)
        if renamed is not record:
            detail = f"`{record.gold}` became `{renamed.gold}`"
            _note(spool, record, content, MERGED, detail)
        final = settled(renamed, roster.id_of(place), flags[place])
        turns.update(count_turns([final]))
        for each in _shortened(final, content, spool, shorten if writer.name == "train" else None, section):
            writer.write(each)
    cards = {}
    for writer in writers:
        mine = division.places(writer.name)
        own = writer.name in official and writer.name != "train"
        cards[writer.name] = writer.card(len(np.unique(roster.cluster(mine))), official=own)
    return Written(cards=cards, turns={what: turns[what] for what in TURNS if turns[what]})


def _belongs(division: Division) -> NDArray[np.int8]:
    """Of each record its split's number in `SPLITS`, or -1."""
    found = np.full(len(division.roster), -1, np.int8)
    for number, name in enumerate(SPLITS):
        found[division.places(name)] = number
    return found


def _shortened(
    record: Record, content: str, spool: Spool, shorten: Shorten | None, section: DataSection
) -> tuple[Record, ...]:
    """What is learned of a record; a change is noted."""
    if shorten is None:
        return (record,)
    pieces = shorten(record)
    if pieces != (record,):
        _note(spool, record, content, CHANGES[section.lengths.policy])
    return pieces


def _note(spool: Spool, record: Record, content: str, name: str, detail: str = "") -> None:
    """Log what was changed in a record."""
    for changed in changes(record.source, record.row, (name,), sha256=sha256_of(content), detail=detail):
        spool.change(changed)
