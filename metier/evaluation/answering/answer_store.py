"""Answers that a base model wrote before, on disk: the same prompt under the same settings is answered once.

They hold text, so they are treated as the data itself: in the cache folder (mode 0700), purged on request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metier.engine.generate import Decoding
from metier.engine.tree import Ints
from metier.evaluation.answering.keyed_store import KeyedStore
from metier.store.fingerprint import fingerprint


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """One written answer."""

    text: str
    stop: str
    seconds: float
    """What it took when it was written."""


class AnswerStore(KeyedStore[StoredAnswer]):
    """Written answers, found by model, prompt and settings."""

    HOLDS = "stored answers, removed; they will be written again"

    @staticmethod
    def value_of(row: Mapping[str, Any]) -> StoredAnswer:
        """The answer of a line."""
        return StoredAnswer(text=str(row["text"]), stop=str(row["stop"]), seconds=float(row["seconds"]))

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
        return self._values.get(key)

    def keep(self, key: str, answer: StoredAnswer, owner: str) -> None:
        """Remember one answer; `owner` is `owner_of` its input."""
        row = {"text": answer.text, "stop": answer.stop, "seconds": answer.seconds, "of": owner}
        self.add(key, answer, row)
