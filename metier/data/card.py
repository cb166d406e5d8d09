"""What preparation found and did, as frozen values: `data/card.json` in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that was read."""

    name: str
    path: str
    sha256: str
    format: str
    encoding: str | None
    delimiter: str | None
    rows: int
    """Data rows read, broken ones included."""
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SplitCard:
    """One split: how many, from where, and its fingerprint."""

    name: str
    rows: int
    groups: int
    label_counts: Mapping[str, int]
    fingerprint: str
    """Hash of ids, labels and order; what the seal counts openings by."""
    official: bool
    """True when the user gave this split as a file of its own."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Records per doubt (`duplicate`, `contradiction`, `in_train`, `label_unseen`)."""


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """Everything that preparation found and did."""

    sources: tuple[SourceFile, ...]
    text_columns: tuple[str, ...]
    template: str | None
    label_column: str
    """Empty for tasks without labels."""
    group_column: str | None
    found_by_itself: tuple[str, ...]
    """Which of text, label, answer were guessed and not given."""
    labels: tuple[str, ...]
    """All labels of train, sorted; a system answers one of these. Empty for tasks without labels."""
    splits: Mapping[str, SplitCard]
    rejected: Mapping[str, int]
    """Rows rejected, by reason."""
    notices: tuple[str, ...]
    """Repairs and policies applied, as sentences."""
    changed: Mapping[str, int]
    """Records changed, by repair (`control characters removed`, `white space`)."""
    fingerprint: str
    """Hash over all split fingerprints."""
    task: str = "classification"
    """The recipe's task."""
    shape: str = "columns"
    """How rows hold their records: a name in `shapes.SHAPES`."""
    answer_column: str | None = None
    """Column or path of the answer to be written; None where the shape says it, or where labels are the answers."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Where the shape's other parts lie (`messages`, `tools`, `system`, …)."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of the records of all splits: `turns`, `answers`, `not learned`, `with a system prompt`, `with tools`."""
