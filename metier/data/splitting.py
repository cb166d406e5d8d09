"""Drawing test and validation by hash, so that adding rows never moves an old row.

A cluster (rows of one group, or copies of one text) goes where the hash of seed and cluster says. The
one exception is a label that would otherwise be without a row on one side; it is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metier.data.examples import Example
from metier.data.records import Rejected

_FEW = 3


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A split drawn from examples, both sides in their old order."""

    rest: list[Example]
    drawn: list[Example]
    given: tuple[str, ...] = ()
    """Labels that were without a drawn row and got one."""
    kept: tuple[str, ...] = ()
    """Labels that were drawn as a whole and left a row behind."""


def unit_hash(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7]) / 2**56


def draw_split(examples: Sequence[Example], *, share: float, seed: int, name: str) -> Draw:
    """Draw about `share` of the clusters.

    A label all of whose clusters were drawn gets one back; a label with three clusters or more and none
    drawn gives the one with the smallest hash, unless that would take another label's last one.

    Args:
        examples: What to draw from.
        share: Share of clusters, 0 to 1.
        seed: The recipe's seed.
        name: The split's name; each name draws on its own.
    """
    labels: dict[str, set[str]] = {}
    clusters: dict[str, set[str]] = {}
    for example in examples:
        labels.setdefault(example.cluster, set()).add(example.record.stratum)
        clusters.setdefault(example.record.stratum, set()).add(example.cluster)
    hashes = {cluster: unit_hash(seed, name, cluster) for cluster in labels}
    drawn = {cluster for cluster, value in hashes.items() if value < share}
    kept = []
    for label in sorted(clusters):
        if clusters[label] <= drawn:
            drawn.discard(max(clusters[label], key=lambda cluster: (hashes[cluster], cluster)))
            kept.append(label)
    given = []
    for label in sorted(clusters):
        rest = clusters[label] - drawn
        if len(rest) < _FEW or clusters[label] & drawn:
            continue
        for cluster in sorted(rest, key=lambda cluster: (hashes[cluster], cluster)):
            if all(len(clusters[other] - drawn) > 1 for other in labels[cluster]):
                drawn.add(cluster)
                given.append(label)
                break
    return Draw(
        rest=[example for example in examples if example.cluster not in drawn],
        drawn=[example for example in examples if example.cluster in drawn],
        given=tuple(given),
        kept=tuple(kept),
    )


def keep_per_label(examples: Sequence[Example], limit: int, *, seed: int) -> tuple[list[Example], list[Rejected]]:
    """Keep at most `limit` examples of each label, those with the smallest hashes."""
    by_label: dict[str, list[Example]] = {}
    for example in examples:
        by_label.setdefault(example.record.stratum, []).append(example)
    kept = {example.record.id for same in by_label.values() for example in _smallest(same, limit, seed)}
    return _divide(examples, kept, "over examples_per_label", f"more than {limit} examples of its label")


def keep_most(
    examples: Sequence[Example], limit: int, *, seed: int, field: str
) -> tuple[list[Example], list[Rejected]]:
    """Keep at most `limit` examples, those with the smallest hashes.

    Args:
        examples: A split.
        limit: How many.
        seed: The recipe's seed.
        field: The recipe's field that says so, for the reason.
    """
    kept = {example.record.id for example in _smallest(examples, limit, seed)}
    return _divide(examples, kept, f"over {field}", f"more than {limit} examples")


def _smallest(examples: Iterable[Example], limit: int, seed: int) -> list[Example]:
    return sorted(examples, key=lambda e: (unit_hash(seed, "keep", e.record.id), e.record.id))[:limit]


def _divide(
    examples: Sequence[Example], kept: set[str], reason: str, detail: str
) -> tuple[list[Example], list[Rejected]]:
    stay = [example for example in examples if example.record.id in kept]
    return stay, [example.reject(reason, detail) for example in examples if example.record.id not in kept]
