"""What an endpoint answered, written down as it comes: a killed recording goes on where it was.

The first line says which model was asked and how; each further line holds one answer with its id, seconds and
price. A line that a kill tore is asked again. The file can be judged later as recorded answers, when the model is
gone. It holds answers to the user's records, so only the owner may read it; it never holds a key.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.errors import ArgumentError
from metier.store.files import append_json_line, read_json_lines
from metier.store.fingerprint import fingerprint

FORMAT, VERSION = "metier.recorded-answers", 1


@dataclass(frozen=True, kw_only=True)
class RecordedReply:
    """One answer of an endpoint."""

    id: str
    """Of the record."""
    answer: str | None
    stop: str
    seconds: float
    tokens_in: int | None = None
    tokens_out: int | None = None
    price: float | None = None
    label_logprobs: Mapping[str, float] | None = None
    reason: str | None = None
    """Why there is no answer."""
    served_by: str | None = None
    """The model that the service says has answered."""
    time: str = ""
    """When it was recorded, UTC."""


@dataclass(eq=False)
class AnswerJournal:
    """The answers of one model under one prompt and settings, by what was asked."""

    path: Path
    identity: str
    _known: dict[str, RecordedReply] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _spent: float = field(default=0.0, init=False, repr=False)
    _unpriced: int = field(default=0, init=False, repr=False)

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any]) -> AnswerJournal:
        """Begin a journal, or go on with the one that is there.

        Args:
            path: The file.
            about: Everything that the answers depend on besides what is asked: model, address, prompt, settings.
                No secrets: it is written down.

        Raises:
            ArgumentError: The file holds answers of another model, or to another prompt.
            RunFolderError: It is damaged elsewhere than in its last line.
        """
        journal = cls(path, fingerprint(about))
        rows = read_json_lines(path) if path.exists() else []
        if not rows:
            journal._begin(about)
            return journal
        head = rows[0]
        if (head.get("format"), head.get("identity")) != (FORMAT, journal.identity):
            said = head.get("about")
            before: dict[str, Any] = said if isinstance(said, dict) else {}
            other = sorted(name for name in {**before, **about} if before.get(name) != about.get(name))
            found = f"holds answers that were recorded in another way ({', '.join(other) or 'another format'} differ)"
            raise ArgumentError(str(path), found, "", "Name another file, or remove it.")
        names = RecordedReply.__dataclass_fields__
        for row in rows[1:]:
            reply = RecordedReply(**{name: row[name] for name in names if name in row})
            journal._remember(str(row["key"]), reply)
        return journal

    @staticmethod
    def forget(path: Path, ids: Collection[str]) -> int:
        """Delete the answers to some records from a journal, whatever the prompt was; whoever asks again asks anew.

        What a judge said of a record goes with it: its ids begin with the record's, up to a slash. So does a line that
        a kill tore.

        Args:
            path: A journal.
            ids: Ids of records.

        Returns:
            The answers that were deleted; 0 for a file that is none of a journal.

        Raises:
            RunFolderError: It is damaged elsewhere than in its last line.
        """
        rows = read_json_lines(path)
        if not rows or rows[0].get("format") != FORMAT:
            return 0
        left = [row for row in rows[1:] if str(row.get("id")).partition("/")[0] not in ids]
        if len(left) < len(rows) - 1:
            draft = path.with_name(f".{path.name}.draft")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in (rows[0], *left))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return len(rows) - 1 - len(left)

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self._known)

    def find(self, key: str) -> RecordedReply | None:
        """The answer under `key`; None when there is none yet."""
        return self._known.get(key)

    def keep(self, key: str, reply: RecordedReply) -> None:
        """Write one answer down, at once."""
        with self._lock:
            self._remember(key, reply)
            row = {name: getattr(reply, name) for name in RecordedReply.__dataclass_fields__}
            append_json_line(self.path, {"key": key, **row, "time": datetime.now(UTC).isoformat(timespec="seconds")})

    def total_price(self) -> float | None:
        """What all answers cost together; None where one has no price."""
        return None if self._unpriced else self._spent

    def served_by(self) -> tuple[str, ...]:
        """The models that the service says have answered, sorted: more than one means that it changed meanwhile."""
        return tuple(sorted({reply.served_by for reply in self._known.values() if reply.served_by is not None}))

    def _remember(self, key: str, reply: RecordedReply) -> None:
        self._known[key] = reply
        self._spent += reply.price or 0.0
        self._unpriced += reply.price is None

    def _begin(self, about: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Made before anything is in it: appending alone would leave it readable to others.
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        append_json_line(self.path, {"format": FORMAT, "version": VERSION, "identity": self.identity, "about": about})
