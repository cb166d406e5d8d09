"""The content of the data after each stage, as hashes: where two runs part, their data differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from metier.data.card import StageHash
from metier.data.cleaning.rows import Finding
from metier.data.reasons import rules_of
from metier.data.records import Record
from metier.data.roster import Dropped, Places

READ, REPAIRED, DIVIDED = "read", "repaired", "divided"
"""Rows as they were read, those that became records; records after repairs and decisions; those in a split."""
_BETWEEN = b"\x1e"
"""Stands between rows in a stage's hash; no text holds it after the repairs."""
Members = NDArray[np.bool_]


def hash_stages(
    records: Iterable[tuple[Record, str]],
    splits: Mapping[str, Places],
    drops: Mapping[int, Dropped],
    findings: Sequence[Finding] = (),
) -> tuple[StageHash, ...]:
    """Every stage as one hash, in one pass over the records.

    Args:
        records: All that were made, in the order of the roster, each with its row as it was read.
        splits: Name -> the records that are in it in the end, as they are before rare labels are merged and long
            texts cut: what is written has its own fingerprint in the card.
        drops: Place -> why a cleaning step's policy removed it.
        findings: Of the cleaning steps, in their order: after each one whose policy removed something there is a stage.
    """
    size = max([-1, *drops, *(int(places.max()) for places in splits.values() if len(places))]) + 1
    stages = _members(size, splits, drops, findings)
    digests = {name: hashlib.sha256() for name in (READ, REPAIRED, *stages)}
    counts = dict.fromkeys(digests, 0)

    def add(name: str, data: bytes) -> None:
        digests[name].update(data)
        counts[name] += 1

    for place, (record, content) in enumerate(records):
        row = _row_bytes(record.text, record.gold)
        add(READ, content.encode("utf-8", "surrogatepass") + _BETWEEN)
        add(REPAIRED, row)
        for name, members in stages.items():
            if place < size and members[place]:
                add(name, row)
    return tuple(StageHash(name=name, rows=counts[name], sha256=digests[name].hexdigest()) for name in digests)


def _members(
    size: int, splits: Mapping[str, Places], drops: Mapping[int, Dropped], findings: Sequence[Finding]
) -> dict[str, Members]:
    """Which records are there after each stage."""
    there = np.zeros(size, np.bool_)
    for places in splits.values():
        there[places] = True
    there[list(drops)] = True
    stages = {DIVIDED: there}
    rules = rules_of(findings)
    by_step: dict[str, list[int]] = {}
    for place, dropped in drops.items():
        named = dropped.step or (rules[dropped.reason].step if dropped.reason in rules else dropped.reason)
        by_step.setdefault(named, []).append(place)
    order = [finding.step for finding in findings]
    for step in sorted(by_step, key=lambda name: (order.index(name) if name in order else len(order), name)):
        there = there.copy()
        there[by_step[step]] = False
        stages[f"after {step}"] = there
    for name, places in splits.items():
        members = np.zeros(size, np.bool_)
        members[places] = True
        stages[name] = members
    return stages


def _row_bytes(text: str, answer: str) -> bytes:
    return json.dumps([text, answer], ensure_ascii=True).encode("ascii") + _BETWEEN
