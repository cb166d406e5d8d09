"""Rare labels under one name: in the roster, and in each record when it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from metier.data.records import Choice, Record
from metier.data.roster import Roster
from metier.store.fingerprint import text_sha256


def merge_labels(roster: Roster, names: Mapping[str, str]) -> Roster:
    """The roster with labels renamed, before anything is decided by them.

    Args:
        roster: All examples, each with one label.
        names: Label to its new name, as `rare_labels.rare_label_names` gives it.
    """
    if not names:
        return roster
    new = [names.get(label, label) for label in roster.strata]
    strata = tuple(dict.fromkeys(new))
    number = {label: at for at, label in enumerate(strata)}
    place = np.array([number[label] for label in new], np.int32)
    renamed = np.array([label in names for label in roster.strata], np.bool_)[roster.stratum]
    hashes = np.array([int(text_sha256(label)[:16], 16) for label in new], np.uint64)[roster.stratum]
    return replace(
        roster,
        strata=strata,
        stratum=place[roster.stratum],
        gold=np.where(renamed, hashes, roster.gold),
        answers=np.where(renamed, hashes, roster.answers),
    )


def renamed_record(record: Record, names: Mapping[str, str]) -> Record:
    """The record under its label's new name; itself where that stays.

    Args:
        record: Of any kind; only choices have labels.
        names: As `merge_labels` takes them.
    """
    if isinstance(record, Choice) and record.label in names:
        return replace(record, label=names[record.label])
    return record
