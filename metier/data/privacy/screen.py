"""Personal data in all rows: how much of which kind, in which split, in prompts or in answers; never a value."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from metier.data.cleaning.rows import Finding, Row, Rows
from metier.data.privacy.detectors import Detector
from metier.data.privacy.policies import PolicySettings
from metier.data.privacy.tally import PARTS, Tally, refusal, summary_of

BATCH = 256
"""Rows that are looked at together."""


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
    tally = Tally()
    splits: dict[int, str] = {}
    refused: list[tuple[str, int]] = []
    for batch in _batches(rows):
        records = [[row.text, row.answer if not row.labelled else ""] for row in batch]
        found = detector.find([part for parts in records for part in parts])
        for number, (row, parts) in enumerate(zip(batch, records, strict=True)):
            spans = detector.repeat(parts, found[2 * number : 2 * number + 2])
            summary = summary_of((part, span.kind) for part, some in zip(PARTS, spans, strict=True) for span in some)
            tally.add(row.key, summary)
            if summary:
                splits[row.key] = row.split
            if any(settings.of(kind) == "refuse" for _, kind, _ in summary):
                refused.append((row.source, row.row))
    if refused:
        raise refusal(refused, tally.totals())
    return tally.finding(settings, detector, splits.__getitem__, seconds=time.perf_counter() - started)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch
