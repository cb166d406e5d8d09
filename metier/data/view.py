"""The records of a run as the cleaning steps see them: read anew from disk each time, with the split they stand in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from metier.data.before_repairs import text_before
from metier.data.cleaning.rows import SPLITS, Row
from metier.data.division import Division
from metier.data.input_rules import InputRules
from metier.data.records import Record
from metier.data.spool import Spool, is_kept

NOWHERE = -1
"""The split of a record that left all of them."""
ReadText = Callable[[Record, str], str]
"""The text of a record that a step should see; beside it its row as it was read, as JSON."""


def places_by_split(division: Division) -> NDArray[np.int8]:
    """Where every record of the roster stands: a place in `SPLITS`, or `NOWHERE`.

    Args:
        division: As it stands.
    """
    found = np.full(len(division.roster), NOWHERE, np.int8)
    for name in ("train", "validation", "test"):
        found[getattr(division, name)] = SPLITS.index(name)
    return found


class SpoolRows:
    """The records that stand in a split, in the order of the roster; a row's key is its place there."""

    def __init__(
        self,
        spool: Spool,
        splits: NDArray[np.int8],
        read_text: ReadText | None = None,
        *,
        merged: Mapping[str, str] | None = None,
    ) -> None:
        """See the records.

        Args:
            spool: Closed for records.
            splits: As `places_by_split` gives them.
            read_text: What is seen of a record. None: its text.
            merged: Label -> the name that it has now, for labels that were merged.
        """
        self._spool, self._splits, self._read_text, self._merged = spool, splits, read_text, merged or {}

    def __len__(self) -> int:
        """How many."""
        return int((self._splits != NOWHERE).sum())

    def __iter__(self) -> Iterator[Row]:
        """Every row, once."""
        # Of marked pieces a screen of answers would see the text's own words again.
        labelled, marked = self._spool.kind in ("choice", "labelling"), self._spool.kind == "marked"
        for key, (record, content) in enumerate(self._spool.records()):
            split = self._splits[key]
            if split == NOWHERE:
                continue
            yield Row(
                key=key,
                split=SPLITS[split],
                text=record.text if self._read_text is None else self._read_text(record, content),
                answer="" if marked else self._merged.get(record.gold, record.gold) if labelled else record.gold,
                labelled=labelled,
                group=record.group,
                source=record.source,
                row=record.row,
            )


def unrepaired(rules: InputRules) -> ReadText:
    """A record's text as it stood in the file, hidden characters and all.

    Args:
        rules: How a row becomes text.
    """

    def text(record: Record, content: str) -> str:
        if not is_kept(content):  # personal data was hidden
            return record.text
        return text_before(record, json.loads(content), rules)

    return text
