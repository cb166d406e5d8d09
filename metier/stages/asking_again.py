"""`evaluation.robustness`: some records of the set asked again in other words, each change a set of its own.

The promoted system is asked, and the best baseline where asking it costs next to nothing. What was answered before a
kill is not answered again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from metier.data.records import Conversation, Passage, Record, spoken
from metier.device import derive_seed
from metier.evaluation.answering.language_model import LabelScorer
from metier.evaluation.answering.reworded import with_other_instructions, with_other_orders
from metier.evaluation.closer.perturbations import PERTURBATIONS, perturb
from metier.evaluation.closer.robustness import robustness_of
from metier.evaluation.evaluate import evaluate_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.hidden import without_texts
from metier.evaluation.looks import write_look
from metier.evaluation.results import Evaluation
from metier.evaluation.systems import System
from metier.events import Notice, tell
from metier.recipe.look_rules import CHANGES_OF
from metier.stages.looking import best_of
from metier.stages.workshop import Workshop

CHEAP = frozenset({"majority", "tfidf", "probe", "copy_input", "nearest_answer"})
"""Baselines that are asked again: none of them runs a language model."""
NO_CHANGE = "it changes none of these texts"


@dataclass(kw_only=True, eq=False)
class AskedAgain:
    """One system on the changed records."""

    original: Evaluation
    """Its answers to the same records as they are."""
    changed: dict[str, Evaluation] = field(default_factory=dict)
    """By change."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Change that was asked for to the reason why it was not made."""


def changes_of(shop: Workshop) -> tuple[str, ...]:
    """The changes that the recipe asks for; as the task has them where it says nothing."""
    asked = shop.recipe.evaluation.robustness
    return CHANGES_OF.get(shop.recipe.task, ()) if asked is None else tuple(dict.fromkeys(asked))


def ask_again(shop: Workshop, system: System, answered: Evaluation, records: Sequence[Record]) -> AskedAgain | None:
    """Ask a system some records of a set in other words; None where the recipe asks for no change.

    All processes call it alike.

    Args:
        shop: The run.
        system: That has answered the set.
        answered: Its answers, in the order of the records.
        records: Of the set.
    """
    changes = changes_of(shop)
    if not changes:
        return None
    section, seed = shop.recipe.evaluation, shop.recipe.seed
    order = sorted(records, key=lambda record: derive_seed(seed, "robustness", record.id))
    chosen = {record.id for record in order[: section.robustness_items]}
    some = [record for record in records if record.id in chosen]
    original = replace(answered, items=tuple(item for item in answered.items if item.id in chosen))
    again = AskedAgain(original=original)
    for change in changes:
        asked = _asked(shop, system, change, some)
        if isinstance(asked, str):
            again.left_out[change] = asked
        else:
            again.changed[change] = _answers(shop, *asked, f"{answered.set}-{change.replace('_', '-')}")
    return again


def ask_best_again(
    shop: Workshop, systems: Sequence[System], evaluations: Sequence[Evaluation], records: Sequence[Record]
) -> AskedAgain | None:
    """Ask the best baseline the same in other words; None where it runs a language model, or no change is asked for.

    Args:
        shop: The run.
        systems: The baselines.
        evaluations: Their answers to the set, in the same order.
        records: Of the set.
    """
    best = best_of(evaluations, shop.recipe.evaluation.primary_metric) if evaluations else None
    if best is None or best.system not in CHEAP:
        return None
    system = next(each for each in systems if each.name == best.system)
    return ask_again(shop, system, best, records)


def write_robustness(shop: Workshop, tuned: AskedAgain | None, baseline: AskedAgain | None) -> None:
    """Judge what the changes cost, write it and tell it; nothing where no change was asked for.

    Args:
        shop: The run.
        tuned: The promoted system.
        baseline: The best baseline. None: it was not asked.
    """
    if tuned is None or not shop.team.is_first:
        return
    beside = None if baseline is None else (baseline.original, baseline.changed)
    look = robustness_of((tuned.original, tuned.changed), beside, tuned.left_out)
    write_look(look, shop.folder.evaluation_of(tuned.original.set).path)
    tell(shop.observers, Notice(topic="robustness", message=look.sentence))


def _asked(shop: Workshop, system: System, change: str, records: list[Record]) -> tuple[System, list[Record]] | str:
    """Who is asked what for a change; or why it cannot be made."""
    if isinstance(system, LabelScorer):
        # Nothing is read twice here: boundary states of changed texts would only fill the cache.
        system = replace(system, runner=replace(system.runner, trunk=None))
    if change in PERTURBATIONS:
        changed = [reworded(record, change, shop.recipe.seed) for record in records]
        return NO_CHANGE if changed == records else (system, changed)
    if not isinstance(system, LabelScorer):
        return f"{system.kind} is not asked in words"
    if change == "instruction":
        return with_other_instructions(system, shop.recipe.seed), records
    turned = with_other_orders(system, shop.recipe.seed)
    return "its prompt lists no labels" if turned is None else (turned, records)


def reworded(record: Record, change: str, seed: int) -> Record:
    """A record whose question is changed, its answer and id as they were; of a conversation the last turn before it.

    Args:
        record: Of any kind; a passage asks nothing and stays.
        change: A row of `PERTURBATIONS`.
        seed: Of the run.
    """
    if isinstance(record, Conversation):
        last = record.context[-1]
        turn = replace(last, content=perturb(last.content, change, seed=seed, record_id=record.id))
        messages = (*record.context[:-1], turn, record.messages[-1])
        return replace(record, messages=messages, text=spoken(messages[:-1]))
    if isinstance(record, Passage):
        return record
    return replace(record, text=perturb(record.text, change, seed=seed, record_id=record.id))


def _answers(shop: Workshop, system: System, records: Sequence[Record], name: str) -> Evaluation:
    """A system's answers to a set; those that were given before are read."""
    folder = shop.folder.evaluation_of(name)
    found: Mapping[str, Evaluation] = {}
    if folder.results.exists():
        found = {each.system: each for each in read_evaluations(folder.path)}
    if shop.team.agree(system.name in found):
        return found[system.name]
    evaluation = evaluate_system(
        system, shop.record_set(name, records), section=shop.recipe.evaluation, seed=shop.recipe.seed,
        observers=shop.observers, losses=False,
    )  # fmt: skip
    evaluation = without_texts(evaluation, shop.policy)
    if shop.team.is_first:
        write_evaluation(evaluation, folder.path)
    return evaluation
