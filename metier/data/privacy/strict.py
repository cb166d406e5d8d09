"""What may be written where: the one place that decides whether a file gets a record's text or its place.

Everything that writes asks the policy, by a name in `WRITES`. Under `privacy: strict` a text leaves memory in three
ways alone: encrypted into the vault, into the run's private cache, which is removed with the run, and as the answers
that the user asked `predict` for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from metier.data.input_rules import normalised
from metier.data.privacy.vault_key import VaultKey
from metier.errors import ArgumentError
from metier.store.fingerprint import text_sha256

Form = Literal["text", "place", "vault", "private", "never"]
"""`text` as it is; `place`: file, row and hash instead; `vault`: encrypted; `private`: in the run's private cache,
which is removed with the run; `never`: not at all, not even as a place."""


@dataclass(frozen=True)
class Rule:
    """What one kind of file gets."""

    open: Form
    """Without `privacy: strict`."""
    strict: Form
    what: str
    """Which files, and what in them."""


WRITES: Mapping[str, Rule] = {
    "report": Rule("text", "place", "report/index.html: questions, gold and written answers, documents"),
    "card": Rule("place", "place", "README.md, data/card.json, Croissant: counts and settings"),
    "log": Rule("place", "place", "events.jsonl, progress, notices, tables, messages of errors"),
    "items": Rule("text", "place", "items-*.jsonl: gold and written answers, groups; labels stay"),
    "results": Rule("text", "place", "results.json, comparison.json: settings that were chosen, examples among them"),
    "check": Rule("text", "place", "what `metier check` shows token by token, and its --json"),
    "prompt": Rule("text", "never", "model/prompt.json, exports: examples of records that are part of a prompt"),
    "export": Rule("place", "place", "parity.json, README, Modelfile: what an export was proven with"),
    "rejected": Rule("text", "vault", "data/rejected.jsonl: rows as they were read"),
    "changed": Rule("text", "vault", "data/changed.jsonl: texts before and after a repair"),
    "review": Rule("text", "vault", "the spreadsheet of doubtful rows"),
    "splits": Rule("text", "private", "data/*.parquet"),
    "cache": Rule("text", "private", "METIER_CACHE: stages, answers, scores, features, boundary states, tokens"),
    "temporary": Rule("text", "private", "job files for other processes, logs of processes"),
    "crash": Rule("text", "place", "the traceback of a fault of ours: `traceback_without_values`"),
    "prediction": Rule("text", "text", "what `metier predict` was asked to write, by its user, where the user said"),
}
"""Kind of file -> what it gets. Who writes something new adds a row."""


class Placed(Protocol):
    """A record, or anything else that has a text and came from a row."""

    @property
    def text(self) -> str:
        """What must not be shown."""

    @property
    def source(self) -> str:
        """Name of its file."""

    @property
    def row(self) -> int:
        """Its row there."""


@dataclass(frozen=True, kw_only=True)
class TextPolicy:
    """Decides what of a text is written where."""

    strict: bool = False
    key: VaultKey | None = None
    """Makes the hashes that stand for texts; needed where `strict`."""

    def __post_init__(self) -> None:
        """Refuse a strict policy without key: its hashes could be looked up by who has a list of likely texts."""
        if self.strict and self.key is None:
            fix = "Set privacy.vault_key_file or privacy.vault_key_env; `metier data vault-key FILE` makes a key."
            raise ArgumentError("privacy", "is strict and names no key", "a key for the hashes and the vault", fix)

    @property
    def key_id(self) -> str | None:
        """What the key may be known by in the clear; None where there is none."""
        return None if self.key is None else self.key.id

    def form(self, where: str) -> Form:
        """What a kind of file gets.

        Args:
            where: A name in `WRITES`.
        """
        rule = WRITES[where]
        return rule.strict if self.strict else rule.open

    def allows(self, where: str) -> bool:
        """Whether a kind of file gets texts in the clear, and may stay.

        Args:
            where: A name in `WRITES`.
        """
        return self.form(where) == "text"

    def shown(self, record: Placed, where: str) -> str:
        """The text of a record, or where it is to be found: `tickets.csv row 12 (hash 8f3a…)`.

        Args:
            record: Text and place.
            where: A name in `WRITES`.
        """
        return record.text if self.allows(where) else self.place(record)

    def place(self, record: Placed) -> str:
        """File, row and hash of a record; by the hash or the row its text is found in the vault."""
        return f"{record.source} row {record.row} (hash {self.mark(record.text)})"

    def mark(self, text: str) -> str:
        """What stands for a text: 16 hex digits, equal for equal texts; under `strict` they say nothing without key."""
        return text_sha256(text)[:16] if self.key is None or not self.strict else self.key.mark(text)

    def record_key(self, text: str) -> str:
        """The first part of a record's id: the hash of its normalised text.

        Args:
            text: After the repairs.
        """
        return self.mark(normalised(text))

    def member(self, value: str | None) -> str | None:
        """A group or an id of the user's, which may name a person: under `strict` its hash."""
        return value if value is None or not self.strict else self.mark(value)

    def answer(self, text: str | None, where: str, labels: Collection[str] = ()) -> str | None:
        """A gold answer, or one that a system gave: labels stay, what was written becomes its hash.

        What a system writes may quote what it was asked or trained on, so it is treated as a record's text.

        Args:
            text: The answer; None: there is none.
            where: A name in `WRITES`.
            labels: Of the task; empty where answers are written.
        """
        return text if text is None or text in labels or self.allows(where) else self.mark(text)

    def refuse(self, where: str, what: str) -> None:
        """Refuse to write what would carry texts to where none may be.

        Args:
            where: A name in `WRITES`.
            what: What was asked for, in the recipe's words.

        Raises:
            ArgumentError: The policy says `never`.
        """
        if self.form(where) == "never":
            found = f"puts texts of records into {WRITES[where].what.partition(':')[0]}"
            raise ArgumentError(what, found, "none under privacy: strict", f"Leave {what} out, or its examples.")
