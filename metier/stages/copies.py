"""`data.bias.counterfactuals`: the promoted model asked the test set once more, said of other groups.

A copy's right answer is here the model's own answer to the original: accuracy (exact match of written answers) is the
share of answers that stay as they are. Each dimension is a set of its own in the evaluation folder, so that its
numbers have intervals and are verified as all others are. A record has at most one copy in a dimension, and which of
several partners it gets goes around by its number: copies do not vary together more than their records do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from metier.data.bias.counterfactuals import Swapper
from metier.data.bias.record_copies import copies_of
from metier.data.bias.remedies import swaps_for
from metier.data.records import Choice, Conversation, Message, Record
from metier.evaluation.evaluate import evaluate_system
from metier.evaluation.files import write_evaluation
from metier.evaluation.results import Evaluation
from metier.evaluation.systems import System
from metier.events import Notice, tell
from metier.stages.workshop import Workshop

SET = "copies-"
"""How the names of these sets begin; the dimension follows."""
NO_ANSWER = "the original was not answered"
GOLD = "the system's own answer to the original"


@dataclass
class _Asked:
    """Copies of one dimension."""

    records: list[Record] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Records that name a group and have no copy, by reason."""


def ask_copies(shop: Workshop, tuned: System, answered: Evaluation, records: Sequence[Record]) -> None:
    """Ask every copy of the test records, and write down how many answers stay.

    Args:
        shop: The run.
        tuned: The promoted model.
        answered: Its answers to the test records.
        records: The test records.
    """
    if answered.task not in ("classification", "generation", "chat"):
        _tell(shop, f"a model of task {answered.task} gives no answers, so none can change")
        return
    answers = {item.id: item.answer for item in answered.items}
    swapper = _swapper(shop)
    for name, words in swapper.refused.items():
        _tell(shop, f"no copies in {name}: the labels name it ({', '.join(words)})")
    asked = _copies(swapper, answers, records)
    if not asked:
        _tell(shop, "no test record names a group that can be swapped, so no answer was asked for again")
    for dimension, each in sorted(asked.items()):
        if each.records:
            _ask(shop, tuned, dimension, each)
        else:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(each.left_out.items()))
            _tell(shop, f"no test record has a copy in {dimension} ({reasons})")


def _swapper(shop: Workshop) -> Swapper:
    wanted = shop.recipe.data.bias.dimensions
    labels = shop.data.labels if shop.recipe.task == "classification" else ()
    return Swapper(labels, dimensions=None if wanted is None else swaps_for(wanted), partners=1)


def _copies(swapper: Swapper, answers: Mapping[str, str | None], records: Sequence[Record]) -> dict[str, _Asked]:
    """The copies by dimension, each with the model's own answer as the right one."""
    asked: dict[str, _Asked] = {}
    for number, record in enumerate(records):
        answer = answers[record.id]
        found = copies_of(_answered(record, answer or ""), swapper, number)
        for dimension, reason in found.left_out.items():
            asked.setdefault(dimension, _Asked()).left_out[reason] += 1
        for dimension, copy in found.made:
            each = asked.setdefault(dimension, _Asked())
            if answer:
                each.records.append(copy)
            else:
                each.left_out[NO_ANSWER] += 1
    return asked


def _answered(record: Record, answer: str) -> Record:
    """The record with an answer of a system's as the right one, and without doubts."""
    if isinstance(record, Choice):
        return replace(record, label=answer, flags=())
    if isinstance(record, Conversation):
        return replace(record, messages=(*record.context, Message(role="assistant", content=answer)), flags=())
    return record


def _ask(shop: Workshop, tuned: System, dimension: str, asked: _Asked) -> None:
    name = f"{SET}{dimension.replace(' ', '-')}"
    evaluation = evaluate_system(
        tuned, shop.record_set(name, asked.records), section=shop.recipe.evaluation, seed=shop.recipe.seed,
        observers=shop.observers, losses=False,
    )  # fmt: skip
    about = {"dimension": dimension, "gold": GOLD, "left_out": dict(sorted(asked.left_out.items()))}
    if shop.team.is_first:
        told = replace(evaluation, settings={**evaluation.settings, **about})
        write_evaluation(told, shop.folder.evaluation_of(name).path)


def _tell(shop: Workshop, said: str) -> None:
    tell(shop.observers, Notice(topic="bias", message=f"data.bias.counterfactuals: {said}."))
