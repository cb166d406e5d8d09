"""An evaluation as it may be written under `privacy: strict`: hashes for gold answers and for what was answered.

Every number is counted before that. Labels stay: they are names of classes.
"""

from __future__ import annotations

from dataclasses import replace

from metier.data.privacy.strict import TextPolicy
from metier.evaluation.results import Evaluation
from metier.recipe.tasks import WRITES


def without_texts(evaluation: Evaluation, policy: TextPolicy) -> Evaluation:
    """The evaluation, its written answers as the policy lets them into item files.

    Answers with the same words have the same hash, so that exact matches can be counted again.

    Args:
        evaluation: With its items.
        policy: Of the run.
    """
    if policy.allows("items") or evaluation.task not in WRITES:
        return evaluation

    def hidden(text: str) -> str:
        return policy.mark(" ".join(text.split()))

    items = tuple(
        replace(item, gold=hidden(item.gold), answer=None if item.answer is None else hidden(item.answer))
        for item in evaluation.items
    )
    return replace(evaluation, items=items, hashed=True)
