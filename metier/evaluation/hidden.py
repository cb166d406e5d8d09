"""An evaluation as it may be written where texts may not: hashes for gold answers and for what was answered.

Every number is counted before that. Labels stay: they are names of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metier.data.privacy.strict import TextPolicy
from metier.evaluation.results import Evaluation
from metier.recipe.tasks import WRITES

QUOTES = (*WRITES, "extraction")
"""Tasks whose answers are pieces of text; those of the others are names of labels."""


def without_texts(evaluation: Evaluation, policy: TextPolicy) -> Evaluation:
    """The evaluation, its written answers as the policy lets them into item files.

    Args:
        evaluation: With its items.
        policy: Of the run.
    """
    return evaluation if policy.allows("items") else with_hashes(evaluation, policy.mark)


def with_hashes(evaluation: Evaluation, mark: Callable[[str], str]) -> Evaluation:
    """The evaluation, hashes in the place of written answers; as it is where it has none.

    Answers with the same words have the same hash, so that exact matches can be counted again.

    Args:
        evaluation: With its items.
        mark: What stands for a text.
    """
    if evaluation.hashed or evaluation.task not in QUOTES:
        return evaluation

    def hidden(text: str) -> str:
        return mark(" ".join(text.split()))

    items = tuple(
        replace(item, gold=hidden(item.gold), answer=None if item.answer is None else hidden(item.answer))
        for item in evaluation.items
    )
    return replace(evaluation, items=items, hashed=True)
