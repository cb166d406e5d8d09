"""What a base model gave before, on disk: a file of lines, each found by its key, read once and added to."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from metier.data.records import Input
from metier.errors import RunFolderError
from metier.events import Notice, Observer, tell
from metier.store.files import append_json_line, read_json_lines, write_text
from metier.store.fingerprint import fingerprint
from metier.team import current_team

V = TypeVar("V")


def owner_of(given: Input) -> str:
    """A mark of what was asked, whatever the prompt around it: by it a person's lines are found and deleted."""
    return fingerprint([given.text, *([turn.role, turn.content] for turn in given.messages)])[:32]


@dataclass(eq=False)
class KeyedStore(Generic[V]):
    """Values of one base model by key; a subclass says how a line becomes a value."""

    path: Path
    identity: str
    """Weights and dtype of the base model."""
    observers: Sequence[Observer] = ()
    _values: dict[str, V] = field(default_factory=dict, init=False, repr=False)
    HOLDS: ClassVar[str]
    """What the file holds and what happens without it, for the notice."""

    def __post_init__(self) -> None:
        """Read what is stored; a torn last line is left out, a damaged file is removed and reported."""
        if not self.path.exists():
            return
        try:
            self._values = {str(row["key"]): self.value_of(row) for row in read_json_lines(self.path)}
        except (RunFolderError, KeyError, TypeError, ValueError):
            tell(self.observers, Notice(topic="cache", message=f"{self.path.name}: damaged file of {self.HOLDS}."))
            self.path.unlink(missing_ok=True)

    @staticmethod
    def value_of(row: Mapping[str, Any]) -> V:
        """The value of a line; raises KeyError, TypeError or ValueError where it is damaged."""
        raise NotImplementedError

    @classmethod
    def forget(cls, path: Path, owners: Collection[str]) -> int:
        """Delete the lines of some inputs from a file, and those that do not say whose they are.

        Args:
            path: A file of such lines.
            owners: As `owner_of` gives them.

        Returns:
            The lines that were deleted.
        """
        try:
            rows = read_json_lines(path)
        except RunFolderError:  # damaged: whatever it held
            path.unlink(missing_ok=True)
            return 0
        left = [row for row in rows if row.get("of") is not None and row["of"] not in owners]
        if len(left) < len(rows):
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in left))
        return len(rows) - len(left)

    def add(self, key: str, value: V, row: Mapping[str, Any]) -> None:
        """Remember a value, and write its line at once; of a team, rank 0 writes."""
        self._values[key] = value
        if current_team().is_first:
            append_json_line(self.path, {"key": key, **row})
