"""Measure one system on one set: ask it, check what it says, count, and give every number its interval."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from metier.data.records import Record, as_input
from metier.errors import DataError, MetierError
from metier.evaluation.folded import with_fold_intervals
from metier.evaluation.measures import MEASURES, Scored
from metier.evaluation.results import Answer, Evaluation, Item
from metier.evaluation.systems import AnswerOptions, System, TextScorer
from metier.events import Observer, Progress, tell, timed_part

if TYPE_CHECKING:
    from metier.evaluation.beside import Beside
    from metier.recipe.sections import EvaluationSection

PROGRESS_SECONDS = 0.5
"""Least time between two progress events."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What an `Evaluation` says about its system besides its answers."""

    system: str
    kind: str = ""
    task: str = "classification"
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    bytes: int | None = None
    seconds_per_thousand: float | None = None
    trained_on: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordSet:
    """Records that systems are judged on."""

    name: str
    """`train`, `validation`, `selection` or `test`."""
    records: Sequence[Record]
    """In the order of its items."""
    task: str = "classification"
    """The recipe's task: a row of `MEASURES`."""
    labels: Sequence[str] = ()
    """Labels of train; others that occur are counted too. Of choices only."""


def evaluate_system(
    system: System,
    asked: RecordSet,
    *,
    section: EvaluationSection,
    seed: int,
    observers: Sequence[Observer] = (),
    losses: bool = True,
    beside: Beside | None = None,
) -> Evaluation:
    """Let `system` answer a set of records, whose gold answers it never sees, and measure it.

    A system with `target_logprobs` also says how probable the gold answers (or passages) are to it. That is
    asked after all answers are given.

    Args:
        system: Anything that answers.
        asked: The records.
        section: How it is judged; the resamples are used here.
        seed: Seed of the resamples.
        observers: Told how far it is.
        losses: Whether to ask for the probability of written gold answers; passages always are.
        beside: What is counted beside the task's own metrics. None: nothing.

    Raises:
        DataError: The set is empty or has an id twice.
        MetierError: The system's answers are not those of the inputs, one for one, in order.
    """
    records = asked.records
    if not records:
        raise DataError(asked.name, "has no records", "at least one")
    if len({record.id for record in records}) < len(records):
        twice = len(records) - len({record.id for record in records})
        raise DataError(asked.name, f"{twice} records have an id that another has", "ids that occur once")
    measures = MEASURES[asked.task]
    started = time.perf_counter()
    answers = [Answer(id=record.id, label=None, stop="none") for record in records]
    if measures.asks:
        answers = _collect(system, records, f"{system.name} on {asked.name}", observers)
    # A system that took answers from a store says how long they took when they were computed.
    seconds = max(time.perf_counter() - started, sum(answer.seconds for answer in answers))
    scored = _score(system, records) if losses or not measures.asks else None
    if not measures.asks:
        seconds = time.perf_counter() - started
    prompt_hash = system.settings.get("prompt_hash")
    items = [replace(item, prompt_hash=prompt_hash) for item in measures.items(records, answers, scored)]
    items = items if beside is None else beside.count(items, records, answers)
    about = About(
        system=system.name, kind=system.kind, task=asked.task,
        settings={**system.settings, **measures.settings(), **(beside.settings if beside is not None else {})},
        parameters=system.parameters, bytes=system.bytes, seconds_per_thousand=1000 * seconds / len(records),
        trained_on=system.trained_on,
    )  # fmt: skip
    with timed_part(observers, "judging"):
        return evaluate_items(
            items, about=about, set_name=asked.name, labels=asked.labels, resamples=section.resamples, seed=seed
        )


def evaluate_items(
    items: Iterable[Item], *, about: About, set_name: str, labels: Sequence[str], resamples: int, seed: int
) -> Evaluation:
    """Every number of an evaluation, from its items alone.

    Args:
        items: Answered records.
        about: What else is known of the system.
        set_name: `train`, `validation` or `test`.
        labels: Labels of train; others that occur are counted too.
        resamples: Bootstrap resamples for intervals without a closed form.
        seed: Seed of those resamples.
    """
    blank = Evaluation(
        system=about.system,
        kind=about.kind,
        set=set_name,
        task=about.task,
        labels=tuple(labels),
        n=0,
        metrics={},
        per_class={},
        confusion={},
        settings=about.settings,
        parameters=about.parameters,
        bytes=about.bytes,
        seconds_per_thousand=about.seconds_per_thousand,
        trained_on=about.trained_on,
        resamples=resamples,
        seed=seed,
        items=tuple(items),
    )
    return recompute(blank)


def recompute(evaluation: Evaluation) -> Evaluation:
    """The same evaluation, with every number computed again from its items."""
    measures, rows = MEASURES[evaluation.task], evaluation.items
    clean = [item for item in rows if not item.flags]
    resamples, seed = evaluation.resamples, evaluation.seed
    measured = replace(
        evaluation,
        n=len(rows),
        metrics=measures.measure(rows, resamples, seed),
        clean_metrics=measures.measure(clean, resamples, seed) if len(clean) < len(rows) else {},
        **measures.details(evaluation),
    )
    return with_fold_intervals(measured)


def _score(system: System, records: Sequence[Record]) -> Scored | None:
    """How probable the system finds the gold answers; None where it cannot say."""
    if not isinstance(system, TextScorer):
        return None
    scored = system.target_logprobs(records)
    if len(scored) != len(records):
        raise _wrong_answers(system.name, f"{len(scored)} probabilities", f"{len(records)}")
    return scored


def _collect(system: System, records: Sequence[Record], label: str, observers: Sequence[Observer]) -> list[Answer]:
    """All answers, checked one for one as they come."""
    answers: list[Answer] = []
    told = time.perf_counter()
    for answer in system.answer([as_input(record) for record in records], AnswerOptions()):
        place = len(answers)
        if place >= len(records):
            raise _wrong_answers(system.name, f"more than {len(records)} answers", f"{len(records)}")
        if answer.id != records[place].id:
            raise _wrong_answers(system.name, f"answer {place + 1} has another id", "the id of its input")
        answers.append(answer)
        if time.perf_counter() - told > PROGRESS_SECONDS:
            told = time.perf_counter()
            tell(observers, Progress(label=label, done=len(answers), total=len(records)))
    if len(answers) < len(records):
        raise _wrong_answers(system.name, f"{len(answers)} answers", f"{len(records)}")
    tell(observers, Progress(label=label, done=len(answers), total=len(records)))
    return answers


def _wrong_answers(system: str, found: str, wanted: str) -> MetierError:
    return MetierError(f"system {system}", found, wanted, "A system answers every input once, in the given order.")
