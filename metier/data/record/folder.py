"""Names of the files of the record, beside those that `store.run_folder.DataFolder` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RecordFolder:
    """What the record leaves in a run's data folder."""

    path: Path

    @property
    def findings(self) -> Path:
        """What each cleaning step found and what was done, without its doubts."""
        return self.path / "findings.json"

    @property
    def doubts(self) -> Path:
        """Every doubt about a row, one a line."""
        return self.path / "doubts.jsonl"

    @property
    def decisions(self) -> Path:
        """What a person decided, one row a line."""
        return self.path / "decisions.jsonl"

    @property
    def croissant(self) -> Path:
        """The data described as Croissant JSON-LD."""
        return self.path / "croissant.json"
