"""Personal data in all rows: how much of which kind, in which split, in prompts or in answers; never a value."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from metier.data.cleaning.rows import SPLITS, Doubt, Finding, Row, Rows
from metier.data.privacy.detectors import Detector
from metier.data.privacy.policies import POLICIES, PolicySettings
from metier.data.privacy.spans import Span
from metier.data.table import rows_at
from metier.errors import DataError

STEP = "personal data"
VERSION = 1
BATCH = 256
"""Rows that are looked at together."""
PARTS = ("prompt", "answer")


@dataclass
class _Counts:
    """What is counted on the way: sums, and a doubt for every row with something in it."""

    occurrences: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By kind, split and part."""
    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    doubts: list[Doubt] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    """File and number of rows that end the run."""
    details: dict[str, str] = field(default_factory=dict)
    """Each sentence once: most rows share one."""


def screen_personal_data(rows: Rows, settings: PolicySettings, detector: Detector) -> Finding:
    """Count personal data, and doubt every row that has some.

    Labels are not looked at. What the policy suggests for a row stands in its doubt: `mask`, `surrogate` or `drop`
    (never `drop` for a test row).

    Args:
        rows: All rows, as they stand before any policy.
        settings: What is to happen to which kind.
        detector: What finds it.

    Raises:
        DataError: The settings do not fit the detector, or a row has a kind whose policy is `refuse`.
    """
    settings.check(detector.kinds)
    started = time.perf_counter()
    counts = _Counts()
    looked_at = 0
    for batch in _batches(rows):
        looked_at += len(batch)
        records = [[row.text, row.answer if not row.labelled else ""] for row in batch]
        found = detector.find([part for parts in records for part in parts])
        for number, (row, parts) in enumerate(zip(batch, records, strict=True)):
            _count(row, detector.repeat(parts, found[2 * number : 2 * number + 2]), settings, counts)
    if counts.refused:
        raise _refusal(counts)
    by_kind: Counter[str] = Counter()
    for (kind, _, _), times in counts.occurrences.items():
        by_kind[kind] += times
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=looked_at,
        doubts=tuple(counts.doubts),
        counts={"rows with personal data": len(counts.doubts), **{k: by_kind[k] for k in detector.kinds if by_kind[k]}},
        tables={"personal data": _table(counts, detector.kinds)},
        notes=(
            f"Found by {detector.name} (version {detector.version}), which looked for {', '.join(detector.kinds)}. "
            "What it misses is not counted: the measured recall by kind is in docs/results/data.md.",
            *detector.notes,
        ),
        seconds=time.perf_counter() - started,
    )


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _count(row: Row, found: Sequence[Sequence[Span]], settings: PolicySettings, counts: _Counts) -> None:
    """Add one row."""
    sentences = []
    kinds: set[str] = set()
    for part, spans in zip(PARTS, found, strict=True):
        here = Counter(span.kind for span in spans)
        for kind, times in here.items():
            counts.occurrences[kind, row.split, part] += times
            counts.rows[kind, row.split, part] += 1
        if here:
            sentences.append(f"{', '.join(f'{times} {kind}' for kind, times in sorted(here.items()))} in the {part}")
        kinds.update(here)
    if not kinds:
        return
    policies = {settings.of(kind) for kind in kinds}
    if "refuse" in policies:
        counts.refused.append((row.source, row.row))
    detail = "; ".join(sentences)
    counts.doubts.append(
        Doubt(
            key=row.key,
            step=STEP,
            reason="personal data",
            detail=counts.details.setdefault(detail, detail),
            suggestion=_suggestion(policies, row.split),
        )
    )


def _suggestion(policies: set[str], split: str) -> str | None:
    """The strongest of the policies that does something to the row, in the order drop, surrogate, mask."""
    for policy in reversed(tuple(POLICIES)):
        if policy in policies and policy not in ("report", "refuse") and not (policy == "drop" and split == "test"):
            return policy
    return None


def _table(counts: _Counts, kinds: Sequence[str]) -> list[dict[str, object]]:
    """Rows by kind, split and part, in the order of the kinds."""
    return [
        {
            "kind": kind, "split": split, "part": part,
            "occurrences": counts.occurrences[kind, split, part], "rows": counts.rows[kind, split, part],
        }
        for kind in dict.fromkeys((*kinds, *sorted({kind for kind, _, _ in counts.occurrences})))
        for split in SPLITS
        for part in PARTS
        if counts.occurrences[kind, split, part]
    ]  # fmt: skip


def _refusal(counts: _Counts) -> DataError:
    """The error that ends the run: rows by number, kinds with counts, no text."""
    totals: Counter[str] = Counter()
    for (kind, _, _), times in counts.occurrences.items():
        totals[kind] += times
    sources = dict.fromkeys(source for source, _ in counts.refused)
    shown = "; ".join(f"{source} {rows_at([n for of, n in counts.refused if of == source])}" for source in sources)
    rows = "1 row has" if len(counts.refused) == 1 else f"{len(counts.refused)} rows have"
    found = ", ".join(f"{times} {kind}" for kind, times in sorted(totals.items()))
    return DataError(
        "privacy.policy",
        f"is `refuse`, and {rows} personal data that it stands for ({shown}; in all rows {found})",
        "none",
        "Take it out of the source, or choose `mask`, `surrogate` or `drop`.",
    )
