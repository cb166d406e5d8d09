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
    licence: str | None = None
    """SPDX expression, as the recipe states it (`data.licenses`). None: not stated."""


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
class StepCard:
    """What one cleaning step found, and what was done about it; all of it is in `findings.json`."""

    step: str
    version: int
    """Of its rules."""
    looked_at: int
    """Rows."""
    doubts: int = 0
    done: Mapping[str, int] = field(default_factory=dict)
    """Rows by what was done: `dropped`, `flagged`, … Empty: nothing was."""

    @property
    def title(self) -> str:
        """The step's name as words."""
        return self.step.replace("_", " ")

    @property
    def found(self) -> str:
        """How many doubts about how many rows, as words."""
        counts = ((self.doubts, "doubt"), (self.looked_at, "row"))
        doubts, rows = (f"{count:,} {noun}{'s' * (count != 1)}" for count, noun in counts)
        return f"{doubts} in {rows}"

    @property
    def did(self) -> str:
        """What was done about them, as words."""
        return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in self.done.items()) or "nothing"


@dataclass(frozen=True, kw_only=True)
class StageHash:
    """All rows after one stage, as one hash: where two runs part, their data differ."""

    name: str
    """`read`, `repaired`, `divided`, `after STEP`, `train`, `validation`, `test`."""
    rows: int
    sha256: str
    """Hex SHA-256 over text and answer of every row, in order; of `read` over the rows as they were read."""


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
    answers: tuple[SourceFile, ...] = ()
    """Files whose lines or rows are answers to those of `sources` (`data.answers` and its like)."""
    findings: tuple[StepCard, ...] = ()
    """What the cleaning steps found, in their order."""
    stages: tuple[StageHash, ...] = ()
    """Content hashes, in the order in which the stages were reached."""
    decisions: int = 0
    """Decisions of a person that were applied (`data.decisions`)."""
    folds: tuple[int, ...] = ()
    """Records of each fold of train and validation, for `data.folds`. Empty: no folds."""
    ablation: SplitCard | None = None
    """Train as it was read, for `data.ablation`. None: off."""

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Every file that was read, those of answers last."""
        return (*self.sources, *self.answers)
