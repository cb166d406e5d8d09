"""Answers on their way: a file beside the output that a killed prediction goes on from.

The first line says what is being answered and by which model; every other line holds the answers to
one slice of texts, written at once. A line torn by a kill is left out, and its slice answered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metier.errors import ArgumentError, RunFolderError
from metier.serving.results import AnsweredRow
from metier.store.files import SpeakingErrors, append_json_line, read_json_lines
from metier.store.values import from_plain, to_plain

FORMAT = "metier.partial-answers"
VERSION = 1


@dataclass(eq=False)
class Journal:
    """The answers to the first so many texts of one prediction."""

    path: Path
    identity: str
    """Hash of everything that the answers depend on: input, columns, model, hardware, slices."""
    answers: list[AnsweredRow] = field(default_factory=list)

    @staticmethod
    def beside(output: Path) -> Path:
        """Where the journal of an output is."""
        return output.with_name(f"{output.name}.partial")

    @classmethod
    def open(cls, output: Path, identity: str, *, resume: bool) -> Journal:
        """Begin a journal, or go on with the one of an interrupted prediction.

        Args:
            output: The file that the answers are for.
            identity: What they depend on.
            resume: Whether an interrupted prediction may be continued.

        Raises:
            ArgumentError: There is a journal of something else, or one that is not to be continued.
        """
        journal = cls(cls.beside(output), identity)
        if not journal.path.exists():
            return journal
        rows = _rows_of(journal.path)
        if not rows:
            journal.path.unlink()
            return journal
        fix = f"Remove it, or choose another name than {output.name}."
        head = rows[0]
        if (head.get("format"), head.get("version"), head.get("identity")) != (FORMAT, VERSION, identity):
            found = "holds answers that were interrupted, to another input or by another model"
            raise ArgumentError(str(journal.path), found, "answers to this input by this model", fix)
        if not resume:
            raise ArgumentError(str(journal.path), "holds answers that were interrupted", "no such file", fix)
        for row in rows[1:]:
            journal.answers += [from_plain(AnsweredRow, each, where=str(journal.path)) for each in row["answers"]]
        return journal

    def add(self, answers: Sequence[AnsweredRow]) -> None:
        """Keep the answers to the next slice of texts, in a file that its owner alone may read."""
        if not self.path.exists():
            with SpeakingErrors(self.path):
                self.path.touch(mode=0o600)
            append_json_line(self.path, {"format": FORMAT, "version": VERSION, "identity": self.identity})
        append_json_line(self.path, {"answers": to_plain(list(answers))})
        self.answers += answers

    def close(self) -> None:
        """Remove the file: the output is in place."""
        self.path.unlink(missing_ok=True)


def _rows_of(path: Path) -> list[dict[str, Any]]:
    try:
        return read_json_lines(path)
    except RunFolderError as fault:
        raise ArgumentError(str(path), "is damaged", "answers that were interrupted", "Remove it.") from fault
