"""What a base model gave before, on disk: a file of lines, each found by its key, read once and added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from metier.errors import RunFolderError
from metier.events import Notice, Observer, tell
from metier.store.files import append_json_line, read_json_lines

V = TypeVar("V")


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

    def add(self, key: str, value: V, row: Mapping[str, Any]) -> None:
        """Remember a value, and write its line at once."""
        self._values[key] = value
        append_json_line(self.path, {"key": key, **row})
