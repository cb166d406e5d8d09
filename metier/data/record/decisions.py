"""What a person decided about rows: `decisions.jsonl`, which the next run honours (`honour.py`).

The file is appended to and never shortened, so that it tells who decided what, when, and from which
sheet. A decision holds for a row of that file, id and content: where the row has changed since, it is
not applied, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metier.errors import DataError, RunFolderError
from metier.store.files import write_text
from metier.store.fingerprint import file_sha256
from metier.store.values import from_plain, to_plain

DECISIONS = ("keep", "drop", "relabel", "edit")
"""keep: the row stays as it is. drop: it leaves. relabel: it gets another answer. edit: it gets another text."""
ON_TEST_ROWS = ("keep", "relabel")
"""The test set stays as it is; a wrong gold answer in it may be corrected, which gives it a new fingerprint."""
_HEAD = {"format": "metier.decisions", "version": 1}
_FIELD = "data.decisions"

Key = tuple[str, str, str]
"""Source, record id, content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one person decided about one row: a line of `decisions.jsonl`."""

    source: str
    row: int
    id: str
    """The record's id."""
    content: str
    """`content_hash` of the row that was decided about."""
    split: str
    decision: str
    """One of `DECISIONS`."""
    value: str | None = None
    """The new answer (relabel) or the new text (edit)."""
    reasons: tuple[str, ...] = ()
    """What was suspected, each as `step, version 1: reason`."""
    note: str | None = None
    by: str = ""
    """Who decided."""
    at: str = ""
    """When it was taken over, in ISO 8601."""
    sheet: str = ""
    """Name of the spreadsheet."""
    sheet_sha256: str = ""

    @property
    def key(self) -> Key:
        """What it is looked up by."""
        return self.source, self.id, self.content


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """All decisions of a file, the latest about each row."""

    name: str
    """The file's name, for messages."""
    lines: tuple[Decision, ...]
    """Every one, in the order in which they were taken over."""
    latest: Mapping[Key, Decision]
    sha256: str
    """Of the file: part of what a run depends on."""

    def of(self, source: str, record_id: str, content: str) -> Decision | None:
        """The latest decision about a row; None where there is none about this content.

        Args:
            source: The file's name.
            record_id: The record's id.
            content: `content_hash` of its text and answer.
        """
        return self.latest.get((source, record_id, content))


def without_texts(lines: Sequence[Decision]) -> tuple[Decision, ...]:
    """What a run under `privacy: strict` keeps of decisions: who, when, which row and what, no new text and no note.

    Args:
        lines: As they were loaded.
    """
    return tuple(replace(line, value=None, note=None) for line in lines)


def load_decisions(path: Path) -> Decisions:
    """Read the file that `data.decisions` names.

    Args:
        path: A file that `metier data review apply` wrote.

    Raises:
        DataError: It is missing, of another kind, or a line is damaged.
    """
    lines = tuple(_read(path))
    return Decisions(
        name=path.name,
        lines=lines,
        latest={decision.key: decision for decision in lines},
        sha256=file_sha256(path),
    )


def write_decisions(path: Path, lines: Sequence[Decision]) -> None:
    """Write all decisions, whole or not at all.

    Args:
        path: The file.
        lines: The earlier ones first.
    """
    plain = [_HEAD, *(to_plain(line) for line in lines)]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in plain))


def _read(path: Path) -> Iterator[Decision]:
    wanted = "a file that `metier data review apply` wrote"
    try:
        texts = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise DataError(_FIELD, f"{path} does not exist", wanted) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(_FIELD, f"{path} cannot be read", wanted) from error
    values = list(_objects(path, texts))
    head = values[0][1] if values else {}
    if head.get("format") != _HEAD["format"]:
        raise DataError(_FIELD, f"{path} holds no decisions", wanted)
    if head.get("version") != _HEAD["version"]:
        found = f"{path} has version {head.get('version')!r} of {_HEAD['format']}"
        raise DataError(_FIELD, found, str(_HEAD["version"]), "Use the metier version that wrote it.")
    for number, value in values[1:]:
        try:
            decision = from_plain(Decision, value)
        except RunFolderError as error:
            raise DataError(f"{path}, line {number}", f"{error.where} {error.found}", error.wanted) from error
        if decision.decision not in DECISIONS:
            raise DataError(f"{path}, line {number}", "has an unknown decision", f"one of {', '.join(DECISIONS)}")
        yield decision


def _objects(path: Path, texts: Iterable[str]) -> Iterator[tuple[int, dict[str, object]]]:
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}", "is damaged: no JSON object", "", "Apply the sheets again.")
        yield number, value
