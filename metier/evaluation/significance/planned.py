"""How often two systems differ, as validation knew it before the test set was opened: what power is stated at."""

from __future__ import annotations

from collections.abc import Sequence

from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Evaluation

LEAST_SHARED = 30
"""Validation items that both have answered below which nothing is said."""


def planned_discordances(candidate: Evaluation, baselines: Sequence[Evaluation]) -> dict[str, float]:
    """By baseline the share of validation items on which exactly one of it and the candidate is right.

    A baseline with too few items in common, or that never differs there, has no row: its share on the compared items
    is then taken, as a share of 0 would promise any power.

    Args:
        candidate: The promoted system on validation.
        baselines: The others, on the same items or some of them.
    """
    measures = MEASURES[candidate.task]
    if measures.right is None:
        return {}
    ours = {item.id: item for item in candidate.items}
    found = {}
    for baseline in baselines:
        pairs = [
            (ours[item.id], item) for item in baseline.items if item.id in ours and ours[item.id].gold == item.gold
        ]
        differ = sum(measures.is_right(one) != measures.is_right(other) for one, other in pairs)
        if len(pairs) >= LEAST_SHARED and differ:
            found[baseline.system] = differ / len(pairs)
    return found
