"""Why a row was removed or changed, as the log of a run says it: every reason with its step and the step's version.

The cleaning steps bring their own versions in their findings (`cleaning/rows.py`); this table has what is done
before and after them: reading, making records, repairs, a person's decisions, the division into splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from metier.data.cleaning.rows import Finding
from metier.data.records import Changed, Rejected
from metier.store.fingerprint import text_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A step, and which version of its rules."""

    step: str
    version: int
    """Raised whenever the same input may come out otherwise."""


READING = Rule(step="reading", version=1)
"""Files into rows: what cannot be parsed, what has no partner in a second file."""
RECORDS = Rule(step="records", version=1)
"""Rows into records: what has no text or no answer, turns in an order that cannot be taught, labels not wanted."""
REPAIRS = Rule(step="repairs", version=1)
"""Text repairs: the table `input_rules.REPAIRS`."""
DECISIONS = Rule(step="decisions", version=1)
"""What a person decided: `data.decisions`."""
SPLITS = Rule(step="splits", version=1)
"""The division into train, validation and test."""
LEAKAGE = Rule(step="leakage", version=1)
"""The screen for texts that two splits share, where `data.leaks` acts on it (`leaks.py`)."""
RARE_LABELS = Rule(step="rare_labels", version=1)
"""`data.rare_labels`, which acts before the splits are drawn."""
LENGTHS = Rule(step="lengths", version=1)
"""`data.lengths`, where texts are cut or split when they are written."""
PERSONAL_DATA = Rule(step="personal data", version=1)
"""The policies of `privacy`."""
UNKNOWN = Rule(step="", version=0)
"""Of a reason that no table has; a test looks that there is none."""

DROPPED_BY_A_PERSON = "dropped by a person"
RELABELLED, EDITED = "answer given by a person", "text given by a person"
MERGED = "rare label merged"

REJECTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(("broken row", "no id", "no label", "double id", "no input"), READING),
    **dict.fromkeys(
        (
            "no records", "empty text", "empty label", "empty answer", "ignored label", "label not kept",
            "no messages", "unknown role", "part that is no text", "broken weight", "broken tools",
            "broken tool call", "broken history", "no answer", "no learned turn", "nobody asks first",
            "roles out of order", "system turn inside", "equal answers", "single label", "unreadable labels",
            "unreadable spans", "span out of range", "span is another text", "empty span", "span lost",
        ),
        RECORDS,
    ),
    DROPPED_BY_A_PERSON: DECISIONS,
    "personal data": PERSONAL_DATA,
    **dict.fromkeys(
        (
            "also in test", "also in validation", "group also in test", "group also in validation", "contradiction",
            "duplicate", "no date",
            "over examples_per_label", "over max_examples", "over max_test_examples",
        ),
        SPLITS,
    ),
    "rare label": RARE_LABELS,
    **{
        f"{what} in {split}{how}": LEAKAGE
        for what in ("exact duplicate", "normalised duplicate", "near duplicate")
        for split in ("test", "validation")
        for how in ("", ", linked")
    },
}  # fmt: skip
"""Reason of a rejected row -> what removed it."""

CHANGES: Mapping[str, Rule] = {
    **dict.fromkeys(("quoted whole", "quotes taken as text", "front matter set aside"), READING),
    **dict.fromkeys(("turns after the last answer removed", "turns of one speaker joined"), RECORDS),
    RELABELLED: DECISIONS,
    EDITED: DECISIONS,
    MERGED: RARE_LABELS,
    **dict.fromkeys(("text cut", "text split"), LENGTHS),
    "personal data": PERSONAL_DATA,
}
"""Name of a change -> what made it; every other one is a text repair."""


def rules_of(findings: Iterable[Finding]) -> dict[str, Rule]:
    """Reason of a doubt -> the step that had it: what a policy about doubts removes carries the step's version.

    Args:
        findings: Of all cleaning steps.
    """
    return {
        doubt.reason: Rule(step=finding.step, version=finding.version)
        for finding in findings
        for doubt in finding.doubts
    }


def row_sha256(content: str) -> str:
    """Hash of a row as it was read, by which it is known again; empty where nothing of it could be read.

    Args:
        content: The row as `table.raw_row` has it, or the text of a broken one.
    """
    return text_sha256(content) if content else ""


def stamped(rejected: Rejected, rules: Mapping[str, Rule] | None = None) -> Rejected:
    """A rejected row with the step that removed it, its version, and the hash of its content; what it has stays.

    Args:
        rejected: The row.
        rules: Of reasons that only this run has; see `rules_of`.
    """
    if not rejected.step:
        reason = rejected.reason
        rule = (rules or {}).get(reason) or REJECTIONS.get(reason, UNKNOWN)
        rejected = replace(rejected, step=rule.step, version=rule.version)
    return rejected if rejected.sha256 else replace(rejected, sha256=row_sha256(rejected.content))


def changes(source: str, row: int, names: Sequence[str], *, sha256: str, detail: str = "") -> Iterator[Changed]:
    """What was changed in a row, a line of the log for each step that changed it.

    Args:
        source: The file.
        row: Its number.
        names: Of the changes, in order; every one that `CHANGES` does not have is a text repair.
        sha256: `row_sha256` of the row as it was read.
        detail: A sentence; never the text.
    """
    by_rule: dict[Rule, list[str]] = {}
    for name in names:
        by_rule.setdefault(CHANGES.get(name, REPAIRS), []).append(name)
    for rule, some in by_rule.items():
        yield Changed(
            source=source, row=row, repairs=tuple(some), step=rule.step, version=rule.version, sha256=sha256,
            detail=detail,
        )  # fmt: skip
