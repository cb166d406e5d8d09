"""What the cleaning steps found, on disk: `findings.json` for the steps, `doubts.jsonl` for the rows.

Doubts lie apart, one a line with the row's place in it, so that half a million of them are read one by
one. A row is named by file and number, by its record's id, and by a hash of its content: no text is in
either file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.card import StageHash
from metier.data.cleaning.rows import Finding, Row, Rows
from metier.data.exchanges import Mark, plain_mark
from metier.data.record.summary import StepRecord
from metier.errors import RunFolderError
from metier.store.files import SpeakingErrors, read_json, write_json
from metier.store.fingerprint import text_sha256
from metier.store.run_folder import DataFolder
from metier.store.values import from_plain, to_plain

_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A row by file and number."""

    source: str
    row: int
    """Data row in that file, 1-based, header not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlace:
    """What a row is found again by."""

    source: str
    row: int
    split: str
    """One of `cleaning.rows.SPLITS`: where it stood when the step looked."""
    id: str
    """Its record's id."""
    content: str
    """`content_hash` of its text and answer when the step looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """One doubt about one row: a line of `doubts.jsonl`."""

    step: str
    version: int
    """Of the step's rules."""
    reason: str
    detail: str
    place: RowPlace
    score: float | None = None
    suggestion: str | None = None
    others: tuple[At, ...] = ()
    """Other rows that are part of it."""

    @property
    def id(self) -> str:
        """The same for the same doubt about the same content, for ever; 16 hex digits."""
        place = self.place
        named = [self.step, self.reason, place.source, place.row, place.id, place.content]
        return text_sha256(json.dumps(named, ensure_ascii=True))[:_HASH_LENGTH]


@dataclass(frozen=True, kw_only=True)
class StepsFile:
    """The content of `findings.json`."""

    steps: tuple[StepRecord, ...] = ()
    """In the order in which they ran."""
    stages: tuple[StageHash, ...] = ()
    """In the order in which they were reached."""


def content_hash(text: str, answer: str, mark: Mark = plain_mark) -> str:
    """What a decision about a row depends on: 16 hex digits, the mark of its text and its answer.

    Args:
        text: Of the record.
        answer: Its own.
        mark: Makes it; under `privacy: strict` with a key.
    """
    return mark(f"{len(text)}\0{text}\0{answer}")


def places_of(
    rows: Rows, findings: Sequence[Finding], *, record_id: Callable[[Row], str], mark: Mark = plain_mark
) -> dict[int, RowPlace]:
    """Where the rows are that the findings name, by key: one pass over the rows.

    Args:
        rows: As the steps saw them.
        findings: All of them.
        record_id: The id of a row's record.
        mark: As for `content_hash`.
    """
    wanted = {key for finding in findings for doubt in finding.doubts for key in (doubt.key, *doubt.others)}
    if not wanted:
        return {}
    return {
        row.key: RowPlace(
            source=row.source,
            row=row.row,
            split=row.split,
            id=record_id(row),
            content=content_hash(row.text, row.answer, mark),
        )
        for row in rows
        if row.key in wanted
    }


def write_findings(
    folder: Path,
    findings: Sequence[Finding],
    places: Mapping[int, RowPlace],
    *,
    done: Mapping[str, Mapping[str, int]] | None = None,
    stages: Sequence[StageHash] = (),
) -> None:
    """Write `findings.json` and `doubts.jsonl`.

    Args:
        folder: The run's data folder.
        findings: In the order of the steps.
        places: Every row that a doubt names, by key; see `places_of`.
        done: Step -> rows by what policy did about its doubts.
        stages: Content hashes, in order.

    Raises:
        KeyError: A doubt names a row that `places` does not have, or `done` a step that did not run.
    """
    acted = dict(done or {})
    steps = tuple(
        StepRecord(
            step=finding.step,
            version=finding.version,
            looked_at=finding.looked_at,
            doubts=len(finding.doubts),
            counts=finding.counts,
            tables=finding.tables,
            notes=finding.notes,
            done=acted.pop(finding.step, {}),
        )
        for finding in findings
    )
    if acted:
        raise KeyError(f"no such step: {sorted(acted)}")
    names = DataFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with SpeakingErrors(names.doubts), names.doubts.open("w", encoding="utf-8", newline="\n") as file:
        for doubted in _doubted(findings, places):  # one by one: there may be half a million
            file.write(json.dumps(to_plain(doubted), ensure_ascii=False) + "\n")
    write_json(names.findings, StepsFile(steps=steps, stages=tuple(stages)), format="findings")


def read_steps(folder: Path) -> StepsFile:
    """What `write_findings` wrote of the steps; empty where no cleaning step ran.

    Args:
        folder: The run's data folder.

    Raises:
        RunFolderError: The file is damaged.
    """
    path = DataFolder(folder).findings
    if not path.exists():
        return StepsFile()
    return from_plain(StepsFile, read_json(path, format="findings"), where=str(path))


def read_doubts(folder: Path) -> Iterator[Doubted]:
    """Every doubt, one by one; none where no cleaning step ran.

    Args:
        folder: The run's data folder.

    Raises:
        RunFolderError: A line is damaged.
    """
    path = DataFolder(folder).doubts
    for number, line in read_lines(path):
        yield from_plain(Doubted, line, where=f"{path}, line {number}")


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The objects of a JSON Lines file with their line numbers, one by one; none where there is no file.

    Args:
        path: The file.

    Raises:
        RunFolderError: A line holds no object.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise RunFolderError(
                    f"{path}, line {number}", "is damaged: no JSON object", "", "Run the recipe again."
                )
            yield number, value


def _doubted(findings: Sequence[Finding], places: Mapping[int, RowPlace]) -> Iterator[Doubted]:
    for finding in findings:
        for doubt in finding.doubts:
            yield Doubted(
                step=doubt.step,
                version=finding.version,
                reason=doubt.reason,
                detail=doubt.detail,
                place=places[doubt.key],
                score=doubt.score,
                suggestion=doubt.suggestion,
                others=tuple(At(source=places[key].source, row=places[key].row) for key in doubt.others),
            )
