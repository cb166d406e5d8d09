"""Answers that a base model wrote before, on disk: the same prompt under the same settings is answered once.

They hold text, so they are treated as the data itself: in the cache folder (mode 0700), purged on request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metier.engine.generate import Decoding
from metier.engine.tree import Ints
from metier.errors import RunFolderError
from metier.events import Notice, Observer, tell
from metier.store.files import append_json_line, read_json_lines
from metier.store.fingerprint import fingerprint


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """One written answer."""

    text: str
    stop: str
    seconds: float
    """What it took when it was written."""


@dataclass(eq=False)
class AnswerStore:
    """Written answers, found by model, prompt and settings."""

    path: Path
    identity: str
    """Weights and dtype of the base model."""
    observers: Sequence[Observer] = ()
    _rows: dict[str, StoredAnswer] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Read what is stored; a torn last line is left out, a damaged file is removed and reported."""
        if not self.path.exists():
            return
        try:
            self._rows = {str(row["key"]): _answer(row) for row in read_json_lines(self.path)}
        except (RunFolderError, KeyError, TypeError, ValueError):
            message = f"{self.path.name}: damaged file of stored answers, removed; they will be written again."
            tell(self.observers, Notice(topic="cache", message=message))
            self.path.unlink(missing_ok=True)

    def key(self, prompt: Ints, decoding: Decoding, number: int) -> str:
        """The key of one prompt; the batch size is no part of it, the place only where answers are sampled."""
        settings = {
            "max_new_tokens": decoding.max_new_tokens, "stop_ids": sorted(decoding.stop_ids),
            "stop_texts": list(decoding.stop_texts), "repetition_penalty": decoding.repetition_penalty,
        }  # fmt: skip
        if decoding.temperature > 0:
            settings |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
            settings |= {"seed": decoding.seed, "number": number}
        end = f"{self.identity}/{fingerprint(settings)}".encode()
        return hashlib.blake2b(prompt.astype("<u4").tobytes() + end, digest_size=16).hexdigest()

    def find(self, key: str) -> StoredAnswer | None:
        """The answer under `key`; None when there is none."""
        return self._rows.get(key)

    def keep(self, key: str, answer: StoredAnswer) -> None:
        """Remember one answer."""
        self._rows[key] = answer
        row = {"key": key, "text": answer.text, "stop": answer.stop, "seconds": answer.seconds}
        append_json_line(self.path, row)


def _answer(row: dict[str, Any]) -> StoredAnswer:
    return StoredAnswer(text=str(row["text"]), stop=str(row["stop"]), seconds=float(row["seconds"]))
