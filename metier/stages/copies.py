"""`data.bias.counterfactuals`: the promoted model, and the base, asked the test set once more, said of other groups.

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
from metier.data.bias.tagger import tagger_where_installed
from metier.data.records import Choice, Conversation, Message, Record
from metier.evaluation.answering.language_model import LabelScorer
from metier.evaluation.closer.swaps import SwappedAnswers, report_swaps, swapped
from metier.evaluation.evaluate import evaluate_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.hidden import without_texts
from metier.evaluation.looks import write_look
from metier.evaluation.results import Evaluation
from metier.evaluation.significance.paired import Resampling
from metier.evaluation.swap_values import BASE_COPIES, COPIES, MOVED
from metier.evaluation.systems import System, TextScorer
from metier.events import Notice, tell
from metier.recipe.tasks import WRITES
from metier.stages.workshop import Workshop

BASE = "zero_shot"
"""The system that is the base."""
NO_ANSWER = "the original was not answered"
GOLD = "the system's own answer to the original"


@dataclass
class _Asked:
    """Copies of one dimension."""

    records: list[Record] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Records that name a group and have no copy, by reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedCopies:
    """One system's answers to all copies."""

    system: str
    answers: Mapping[str, SwappedAnswers]
    """By dimension."""


def ask_copies(
    shop: Workshop, system: System, answered: Evaluation, records: Sequence[Record], *, prefix: str = COPIES
) -> AskedCopies | None:
    """Ask a system every copy of the test records, and write down how many answers stay.

    All processes call it alike.

    Args:
        shop: The run.
        system: The promoted model, or what it is compared with.
        answered: Its answers to the test records.
        records: The test records.
        prefix: How the names of the sets begin; of the promoted model `COPIES`, which alone says what is left out.

    Returns:
        What it answered; None where its task has no answers that could change.
    """
    said = prefix == COPIES
    if answered.task not in ("classification", "generation", "chat"):
        _tell(shop, f"a model of task {answered.task} gives no answers, so none can change")
        return None
    if answered.hashed:  # what was said has to be swapped, and hashes cannot be
        answered = _evaluated(shop, system, answered.set, records)
    answers = {item.id: item.answer for item in answered.items}
    swapper = _swapper(shop)
    for name, words in swapper.refused.items() if said else ():
        _tell(shop, f"no copies in {name}: the labels name it ({', '.join(words)})")
    asked = _copies(swapper, answers, records)
    originals = {record.id: _answered(record, answers[record.id] or "") for record in records}
    if not asked and said:
        _tell(shop, "no test record names a group that can be swapped, so no answer was asked for again")
    found: dict[str, SwappedAnswers] = {}
    for dimension, each in sorted(asked.items()):
        if each.records:
            found[dimension] = swapped(_ask(shop, system, dimension, each, prefix, originals), answered.items)
        elif said:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(each.left_out.items()))
            _tell(shop, f"no test record has a copy in {dimension} ({reasons})")
    return AskedCopies(system=system.name, answers=found)


def ask_copies_of_base(
    shop: Workshop, systems: Sequence[System], evaluations: Sequence[Evaluation], records: Sequence[Record]
) -> AskedCopies | None:
    """Ask the base model every copy, so that what training changed can be told; None where that is not asked for.

    Args:
        shop: The run.
        systems: The baselines.
        evaluations: Their answers to the test records, in the same order.
        records: The test records.
    """
    if not shop.recipe.data.bias.counterfactuals:
        return None
    for system, answered in zip(systems, evaluations, strict=True):
        if system.name == BASE:
            if isinstance(system, LabelScorer):
                # Nothing is read twice here: boundary states of copies would only fill the cache.
                system = replace(system, runner=replace(system.runner, trunk=None))
            return ask_copies(shop, system, answered, records, prefix=BASE_COPIES)
    return None


def write_swaps(shop: Workshop, set_name: str, tuned: AskedCopies | None, base: AskedCopies | None) -> None:
    """Compare the promoted model with the base, write it down and tell it; nothing where no copy was asked.

    Args:
        shop: The run.
        set_name: The set that was answered.
        tuned: The promoted model's answers.
        base: The base's. None: it was not asked.
    """
    if tuned is None or not tuned.answers or not shop.team.is_first:
        return
    section = shop.recipe.evaluation
    found = report_swaps(
        tuned.system, tuned.answers, None if base is None else (base.system, base.answers),
        reason=None if base is not None else f"{BASE} is not among evaluation.systems",
        how=Resampling(resamples=section.resamples, seed=shop.recipe.seed),
    )  # fmt: skip
    write_look(found, shop.folder.evaluation_of(set_name).path)
    tell(shop.observers, Notice(topic="bias", message=found.sentence))


def _swapper(shop: Workshop) -> Swapper:
    wanted = shop.recipe.data.bias.dimensions
    labels = shop.data.labels if shop.recipe.task == "classification" else ()
    dimensions = None if wanted is None else swaps_for(wanted)
    tagger = tagger_where_installed()[0] if dimensions is None or "gender" in dimensions else None
    return Swapper(labels, dimensions=dimensions, partners=1, tagger=tagger)


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


def _ask(
    shop: Workshop, system: System, dimension: str, asked: _Asked, prefix: str, originals: Mapping[str, Record]
) -> Evaluation:
    """The system's answers to the copies of a dimension: read where they were given before a kill, else written down.

    Args:
        shop: The run.
        system: That is asked.
        dimension: Of the copies.
        asked: The copies.
        prefix: How the name of the set begins.
        originals: By id the records as they are, with the system's own answers.
    """
    name = f"{prefix}{dimension.replace(' ', '-')}"
    given = _given(shop, name, system.name)
    if given is not None and [item.id for item in given.items] == [record.id for record in asked.records]:
        return given
    evaluation = _evaluated(shop, system, name, asked.records)
    if evaluation.task in WRITES and isinstance(system, TextScorer):
        evaluation = _with_moves(evaluation, system, [originals[each.id] for each in asked.records], asked.records)
    about = {"dimension": dimension, "gold": GOLD, "left_out": dict(sorted(asked.left_out.items()))}
    told = replace(evaluation, settings={**evaluation.settings, **about})
    told = without_texts(told, shop.policy)
    if shop.team.is_first:
        write_evaluation(told, shop.folder.evaluation_of(name).path)
    return told


def _given(shop: Workshop, name: str, system: str) -> Evaluation | None:
    """What a system answered to a set before; None where it did not. The same in every process."""
    place, team = shop.folder.evaluation_of(name), shop.team
    if not team.once(place.results.exists):
        return None
    found = read_evaluations(place.path, systems=[system])
    return found[0] if team.agree(bool(found)) else None


def _evaluated(shop: Workshop, system: System, name: str, records: Sequence[Record]) -> Evaluation:
    return evaluate_system(
        system, shop.record_set(name, records), section=shop.recipe.evaluation, seed=shop.recipe.seed,
        observers=shop.observers, losses=False,
    )  # fmt: skip


def _with_moves(
    copies: Evaluation, system: TextScorer, originals: Sequence[Record], asked: Sequence[Record]
) -> Evaluation:
    """Answers to copies, each with how far the log-probability of the system's own answer moved, where it can say."""
    before, after = (_by_token(system, some) for some in (originals, asked))
    moves = {id: after[id] - before[id] for id in after.keys() & before.keys()}
    items = tuple(
        replace(item, counts={**item.counts, MOVED: (moves[item.id],)}) if item.id in moves else item
        for item in copies.items
    )
    return replace(copies, items=items)


def _by_token(system: TextScorer, records: Sequence[Record]) -> dict[str, float]:
    """Mean log-probability of the tokens of each record's answer, by id."""
    scored = system.target_logprobs(records)
    return {
        record.id: pair[0] / pair[1]
        for record, pair in zip(records, scored, strict=True)
        if pair is not None and pair[1]
    }


def _tell(shop: Workshop, said: str) -> None:
    tell(shop.observers, Notice(topic="bias", message=f"data.bias.counterfactuals: {said}."))
