"""What preparation leaves in a run folder: the names of its files, and where those lie that hold texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PRIVATE = "private"
"""Folder of a run under `privacy: strict` that holds texts while the run goes on, and is removed with its end."""


@dataclass(frozen=True)
class DataFolder:
    """What preparation leaves."""

    path: Path

    @property
    def texts(self) -> Path:
        """Where the files lie that hold records: here; of a run under `privacy: strict` in its private folder."""
        private = self.path.parent / PRIVATE / self.path.name
        return private if private.is_dir() else self.path

    @property
    def privacy(self) -> Path:
        """What `privacy: strict` promised, and what came of it."""
        return self.path / "privacy.json"

    def split(self, name: str) -> Path:
        """The records of `train`, `validation` or `test`."""
        return self.texts / f"{safe_name(name)}.parquet"

    @property
    def rejected(self) -> Path:
        """Rows that were not used, each with its reason."""
        return self.path / "rejected.jsonl"

    @property
    def changed(self) -> Path:
        """Records that a repair changed."""
        return self.path / "changed.jsonl"

    @property
    def card(self) -> Path:
        """What preparation found and did."""
        return self.path / "card.json"

    @property
    def input(self) -> Path:
        """How a row becomes an input."""
        return self.path / "input.json"

    @property
    def findings(self) -> Path:
        """What each cleaning step found and what was done, without its doubts."""
        return self.path / "findings.json"

    @property
    def doubts(self) -> Path:
        """Every doubt about a row, one a line."""
        return self.path / "doubts.jsonl"

    @property
    def near_errors(self) -> Path:
        """Training rows near wrong answers, as doubts, one a line: what the evaluation adds to the review."""
        return self.path / "near_errors.jsonl"

    @property
    def decisions(self) -> Path:
        """What a person decided, one row a line: the file that the recipe names, as it was."""
        return self.path / "decisions.jsonl"

    @property
    def croissant(self) -> Path:
        """The data described as Croissant JSON-LD."""
        return self.path / "croissant.json"

    @property
    def folds(self) -> Path:
        """Which fold each record of train and validation is in, for `data.folds`."""
        return self.path / "folds.parquet"

    @property
    def raw(self) -> Path:
        """Train as it was read, for `data.ablation`."""
        return self.texts / "raw.parquet"


def safe_name(name: str) -> str:
    """A name as a file can have it; two names never become one."""
    # Two systems never share a file: what a file name cannot hold becomes %XX, and `..` stays in its folder.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
