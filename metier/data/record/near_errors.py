"""Training rows that lie near several wrong answers, as doubts for the review: evaluation found them, a person decides.

They lie apart from `doubts.jsonl`, which the data stage alone writes. No text is in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from metier.data.exchanges import Mark, plain_mark
from metier.data.record.findings import Doubted, RowPlace, content_hash, read_doubts, read_lines
from metier.data.records import Record
from metier.store.files import write_text
from metier.store.run_folder import DataFolder
from metier.store.values import from_plain, to_plain

STEP = "errors"
VERSION = 1
REASON = "near wrong answers"


def write_near_errors(folder: Path, rows: Iterable[tuple[Record, int]], mark: Mark = plain_mark) -> None:
    """Write down which training rows lie near wrong answers that have their label.

    Args:
        folder: The run's data folder.
        rows: Training records with the number of wrong answers near them, those to look at first, first.
        mark: As for `content_hash`.
    """
    lines = []
    for record, errors in rows:
        answers = f"{errors:,} wrong answer" + ("s" if errors != 1 else "")
        place = RowPlace(
            source=record.source, row=record.row, split="train", id=record.id,
            content=content_hash(record.text, record.gold, mark),
        )  # fmt: skip
        detail = f"lies near {answers}, given with its label"
        doubted = Doubted(step=STEP, version=VERSION, reason=REASON, detail=detail, place=place)
        lines.append(json.dumps(to_plain(doubted), ensure_ascii=False) + "\n")
    write_text(DataFolder(folder).near_errors, "".join(lines))


def review_doubts(folder: Path) -> Iterator[Doubted]:
    """Every doubt that a person can decide: those of the data steps, then the rows near wrong answers.

    Args:
        folder: The run's data folder.

    Raises:
        RunFolderError: A line is damaged.
    """
    yield from read_doubts(folder)
    path = DataFolder(folder).near_errors
    for number, line in read_lines(path):
        yield from_plain(Doubted, line, where=f"{path}, line {number}")
