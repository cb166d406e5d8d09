"""Any number of systems on the same items, and one table: better, not worse within the margin, or not known.

Each system answers the same records, one after the other, so that at most one model is in memory. Its items and
numbers are written as those of a run are; what one has answered is not asked again. Then every system is compared
with one of them, the reference: what the user has now.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.records import Input, Record
from metier.errors import ArgumentError
from metier.evaluation.compare import IMPROVED, NO_EVIDENCE, NOT_WORSE, REGRESSED, UNDERPOWERED, compare
from metier.evaluation.evaluate import RecordSet, evaluate_system, recompute
from metier.evaluation.files import RESULTS, read_evaluations, write_evaluation
from metier.evaluation.label_metrics import LabelQuestions, with_label_counts
from metier.evaluation.results import Answer, Difference, Estimate, Evaluation, Item
from metier.evaluation.statistics import holm
from metier.evaluation.systems import AnswerOptions, System, TextScorer
from metier.events import Observer, StageFinished, StageStarted, tell
from metier.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

STANDINGS: Mapping[str, str] = {
    IMPROVED: "better", NOT_WORSE: "not worse", REGRESSED: "worse", NO_EVIDENCE: "no useful difference",
    UNDERPOWERED: "not known",
}  # fmt: skip
"""Verdict of a comparison -> what a table says of a system against the reference."""
WAY = "way"
"""Setting that says what a named system was asked to be, so that another one of the same name is asked anew."""


@dataclass(frozen=True, kw_only=True)
class NamedSystem:
    """A system that can be built when it is its turn."""

    name: str
    build: Callable[[], System]
    way: str = ""
    """Fingerprint of everything that makes it what it is; empty where its answers are never reused."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One row of the table."""

    system: str
    kind: str
    value: Estimate
    """The primary metric."""
    difference: Difference | None
    """Against the reference; None of the reference itself."""
    standing: str
    """A value of `STANDINGS`; `reference` of the reference."""
    seconds: Estimate | None
    """Seconds an answer; None where nobody measured them."""
    price: Estimate | None
    """Price of an answer; None where nobody paid, or nobody knows."""
    unanswered: int
    """Items without an answer: missing, refused, invalid, abstained. They count as wrong."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All systems against one of them."""

    reference: str
    metric: str
    n: int
    margin: float | None
    standings: tuple[Standing, ...]


def answer_all(
    systems: Sequence[NamedSystem],
    asked: RecordSet,
    *,
    section: EvaluationSection,
    seed: int,
    folder: Path | None = None,
    questions: LabelQuestions | None = None,
    observers: Sequence[Observer] = (),
) -> list[Evaluation]:
    """Let every system answer the same records.

    Args:
        systems: Each is built when it is its turn, and let go after it.
        asked: The records.
        section: How answers are judged.
        seed: Seed of the resamples.
        folder: Where items and numbers are written; an evaluation there that was made in the same way is taken.
            None: nothing is written.
        questions: What is asked of labels beyond right and wrong. None: nothing but abstentions and invalid answers.
        observers: Told how far it is.

    Returns:
        The evaluations, in the order of `systems`.

    Raises:
        ArgumentError: Two systems have the same name.
    """
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ArgumentError("systems", f"{', '.join(twice)} named twice", "a name for each")
    done = _done(folder, asked)
    found = []
    for system in systems:
        before = done.get(system.name)
        if before is not None and system.way and before.settings.get(WAY) == system.way:
            found.append(before)
            continue
        tell(observers, StageStarted(stage=f"system {system.name}"))
        evaluation = _answered(system, asked, section, seed, questions, observers)
        if folder is not None:
            write_evaluation(evaluation, folder)
        found.append(evaluation)
        tell(observers, StageFinished(stage=f"system {system.name}", seconds=_total_seconds(evaluation)))
        gc.collect()  # never two models in memory
    return found


def way_of(said: Mapping[str, Any], *more: object) -> str:
    """The fingerprint of what a recipe says about a system, and of what else its answers depend on."""
    return fingerprint([dict(said), *more])[:32]


def judge_against(
    evaluations: Sequence[Evaluation], reference: str, *, section: EvaluationSection, seed: int = 17
) -> Judgement:
    """Every system against the reference, pair by pair on the same items.

    P-values are corrected by Holm over the rows: a table makes as many separate claims as it has rows.

    Args:
        evaluations: All on the same items.
        reference: Name of the one that the others are compared with.
        section: Primary metric, smallest useful gain, margin, resamples.
        seed: Seed of the resamples.

    Raises:
        ArgumentError: There is no system of that name, or no other.
        DataError: The items are not the same.
    """
    by_name = {evaluation.system: evaluation for evaluation in evaluations}
    if reference not in by_name or len(by_name) < 2:
        raise ArgumentError("reference", f"{reference!r} of {', '.join(by_name)}", "one of two or more systems")
    base = by_name[reference]
    others = [evaluation for evaluation in evaluations if evaluation.system != reference]
    differences = {
        each.system: compare(each, [base], section=section, seed=seed).differences[0] for each in others
    }  # fmt: skip
    corrected = holm([difference.p_value for difference in differences.values()])
    for name, p_value in zip(differences, corrected, strict=True):
        differences[name] = replace(differences[name], p_holm=p_value)
    return Judgement(
        reference=reference, metric=section.primary_metric, n=base.n, margin=section.not_worse_margin,
        standings=tuple(_standing(each, differences.get(each.system), section.primary_metric) for each in evaluations),
    )  # fmt: skip


def judgement_rows(judgement: Judgement) -> list[tuple[str, ...]]:
    """The table as texts: system, value, difference, standing, unanswered, seconds, price per thousand."""
    rows: list[tuple[str, ...]] = []
    for row in judgement.standings:
        change = "" if row.difference is None else _interval(row.difference.difference, signed=True)
        price = "" if row.price is None or row.price.value is None else f"{1000 * row.price.value:.4g}"
        seconds = "" if row.seconds is None or row.seconds.value is None else f"{row.seconds.value:.3g}"
        rows.append((row.system, _interval(row.value), change, row.standing, str(row.unanswered), seconds, price))
    return rows


class _Heard:
    """A system whose answers are remembered as they pass."""

    def __init__(self, inner: System) -> None:
        self.inner, self.answers = inner, list[Answer]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        for answer in self.inner.answer(inputs, options):
            self.answers.append(answer)
            yield answer


class _HeardScorer(_Heard):
    def target_logprobs(self, records: Sequence[Record]) -> Sequence[tuple[float, int] | None]:
        assert isinstance(self.inner, TextScorer)
        return self.inner.target_logprobs(records)


def _answered(
    named: NamedSystem,
    asked: RecordSet,
    section: EvaluationSection,
    seed: int,
    questions: LabelQuestions | None,
    observers: Sequence[Observer],
) -> Evaluation:
    system = named.build()
    heard: Any = _HeardScorer(system) if isinstance(system, TextScorer) else _Heard(system)
    evaluation = evaluate_system(heard, asked, section=section, seed=seed, observers=observers)
    items = [with_effort(item, answer) for item, answer in zip(evaluation.items, heard.answers, strict=True)]
    if asked.task == "classification":
        items = with_label_counts(items, questions or LabelQuestions())
    settings = {**evaluation.settings, WAY: named.way}
    return recompute(replace(evaluation, system=named.name, items=tuple(items), settings=settings))


def with_effort(item: Item, answer: Answer) -> Item:
    """The item with the seconds and the price of its answer as counts, so that both have intervals.

    Seconds of 0 and prices of None were not measured: they count for nothing.
    """
    measured = answer.seconds > 0
    counts = {
        "seconds": (float(answer.seconds), 1.0) if measured else (0.0, 0.0),
        "price": (0.0, 0.0) if answer.price is None else (float(answer.price), 1.0),
    }
    return replace(item, counts={**item.counts, **counts})


def _done(folder: Path | None, asked: RecordSet) -> dict[str, Evaluation]:
    """What was evaluated before on these records, by system."""
    if folder is None or not (folder / RESULTS).is_file():
        return {}
    golds = {record.id: record.gold for record in asked.records}
    found = read_evaluations(folder)
    return {each.system: each for each in found if {item.id: item.gold for item in each.items} == golds}


def _total_seconds(evaluation: Evaluation) -> float:
    return (evaluation.seconds_per_thousand or 0.0) * evaluation.n / 1000


def _standing(evaluation: Evaluation, difference: Difference | None, metric: str) -> Standing:
    return Standing(
        system=evaluation.system, kind=evaluation.kind, value=evaluation.metrics[metric], difference=difference,
        standing="reference" if difference is None else STANDINGS[difference.verdict],
        seconds=_known(evaluation, "seconds"), price=_known(evaluation, "price"),
        unanswered=sum(item.answer is None for item in evaluation.items),
    )  # fmt: skip


def _known(evaluation: Evaluation, metric: str) -> Estimate | None:
    found = evaluation.metrics.get(metric)
    return found if found is not None and found.value is not None else None


def _interval(estimate: Estimate, *, signed: bool = False) -> str:
    if estimate.value is None:
        return f"unknown: {estimate.reason}"
    form = "+.3f" if signed else ".3f"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}}"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"
