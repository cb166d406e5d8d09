"""An evaluation as it may be written where texts may not: hashes for gold answers and for what was answered.

Every number is counted before that. Names of labels stay, and so do places in a text (`[3, 9, "PERSON"]`): they say
nothing without it, and all that is counted from them can be counted again. Whatever a model wrote in the place of a
label, which could be words of the text, becomes a hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metier.data.privacy.strict import TextPolicy
from metier.data.text_spans import gold_spans, read_spans, spans_text
from metier.evaluation.results import Evaluation
from metier.evaluation.written.spans import score_spans
from metier.recipe.tasks import WRITES

PLACES = "extraction"
"""The task whose answers are places in the text; those of `WRITES` are texts, those of the others names of labels."""


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
    if evaluation.task == PLACES:
        return _with_known_labels(evaluation, mark)
    if evaluation.hashed or evaluation.task not in WRITES:
        return evaluation

    def hidden(text: str) -> str:
        return mark(" ".join(text.split()))

    items = tuple(
        replace(item, gold=hidden(item.gold), answer=None if item.answer is None else hidden(item.answer))
        for item in evaluation.items
    )
    return replace(evaluation, items=items, hashed=True)


def _with_known_labels(evaluation: Evaluation, mark: Callable[[str], str]) -> Evaluation:
    """Places and names of labels as they are; a hash for a name that is no label, and for what cannot be read.

    Neither was right before, and neither is right then: every count stays.
    """
    gold_labels = {span.label for item in evaluation.items for span in gold_spans(item.gold)}
    known = {*evaluation.labels, *gold_labels}

    def hidden(answer: str | None) -> str | None:
        if not answer:
            return answer
        spans = read_spans(answer)
        if spans is None:
            return mark(answer)
        named = (span if span.label in known else replace(span, label=mark(span.label)) for span in spans)
        return spans_text(named)

    items = tuple(
        replace(item, gold=spans_text(gold_spans(item.gold)), answer=hidden(item.answer)) for item in evaluation.items
    )
    return replace(evaluation, items=items, per_class=score_spans(items, evaluation.labels))
