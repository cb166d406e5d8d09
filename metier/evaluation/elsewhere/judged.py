"""Any number of systems on the same items, and one table: better, not worse within the margin, or not known.

Each system answers the same records, one after the other, so that at most one model is in memory. Its items and
numbers are written as those of a run are; what one has answered is not asked again. Then every system is compared
with one of them, the reference: what the user has now.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.table import counted
from metier.errors import ArgumentError
from metier.evaluation.answering.listing import CUT, NO_LIST
from metier.evaluation.beside import Beside
from metier.evaluation.compare import IMPROVED, NO_EVIDENCE, NOT_WORSE, REGRESSED, UNDERPOWERED, compare
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.files import RESULTS, read_evaluations, write_evaluation
from metier.evaluation.labels.label_metrics import REFUSED
from metier.evaluation.labels.multi_label import INVENTED
from metier.evaluation.measures import gold_of
from metier.evaluation.results import Difference, Estimate, Evaluation, Item
from metier.evaluation.standings import Judgement, Standing
from metier.evaluation.statistics import holm
from metier.evaluation.systems import System
from metier.events import Notice, Observer, StageFinished, StageStarted, tell
from metier.recipe.tasks import LISTS
from metier.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

REFERENCE = "reference"
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
class Kept:
    """Where evaluations are written, and as what."""

    folder: Path
    """An evaluation there that was made in the same way is taken."""
    form: Callable[[Evaluation], Evaluation] = lambda evaluation: evaluation
    """The evaluation as it may be written, such as with hashes for texts."""


def answer_all(
    systems: Sequence[NamedSystem],
    asked: RecordSet,
    *,
    section: EvaluationSection,
    seed: int,
    kept: Kept | None = None,
    beside: Beside | None = None,
    observers: Sequence[Observer] = (),
) -> list[Evaluation]:
    """Let every system answer the same records.

    Args:
        systems: Each is built when it is its turn, and let go after it.
        asked: The records.
        section: How answers are judged.
        seed: Seed of the resamples.
        kept: Where items and numbers are written. None: nowhere.
        beside: What is counted beside the task's metrics. None: seconds, price and kinds of missing answers.
        observers: Told how far it is.

    Returns:
        The evaluations, in the order of `systems`; one that was taken as it was written.

    Raises:
        ArgumentError: Two systems have the same name.
    """
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ArgumentError("systems", f"{', '.join(twice)} named twice", "a name for each")
    beside = replace(beside or Beside(task=asked.task, labels=tuple(asked.labels)), outside=True)
    done = _done(kept, asked)
    found = []
    for system in systems:
        way = system.way and fingerprint([system.way, beside.fingerprint, section.resamples, seed])[:32]
        before, stage = done.get(system.name), f"system {system.name}"
        if before is not None and way and before.settings.get(WAY) == way and not _was_refused(before):
            tell(observers, StageFinished(stage=stage, seconds=0.0, reused=True, detail="answered before"))
            found.append(before)
            continue
        tell(observers, StageStarted(stage=stage))
        evaluation = evaluate_system(
            system.build(), asked, section=section, seed=seed, observers=observers, beside=beside
        )  # fmt: skip
        settings = {**evaluation.settings, WAY: way}
        evaluation = replace(evaluation, system=system.name, settings=settings)
        _tell_of_lists(evaluation, observers)
        if kept is not None:
            write_evaluation(kept.form(evaluation), kept.folder)
        found.append(evaluation)
        tell(observers, StageFinished(stage=stage, seconds=_total_seconds(evaluation)))
        gc.collect()  # never two models in memory
    return found


def _was_refused(evaluation: Evaluation) -> bool:
    """Whether an endpoint refused a record: another day may bring an answer."""
    return any((item.reason or "").startswith(REFUSED) for item in evaluation.items if item.answer is None)


def way_of(said: Mapping[str, Any], *more: object) -> str:
    """The fingerprint of what a recipe says about a system, and of what else its answers depend on."""
    return fingerprint([dict(said), *more])[:32]


def judge_against(
    evaluations: Sequence[Evaluation],
    reference: str,
    *,
    section: EvaluationSection,
    seed: int = 17,
    openings: int | None = None,
) -> Judgement:
    """Every system against the reference, pair by pair on the same items.

    P-values are corrected by Holm over the rows: a table makes as many separate claims as it has rows.

    Args:
        evaluations: All on the same items; of one alone there is only its value.
        reference: Name of the one that the others are compared with.
        section: Primary metric, smallest useful gain, margin, resamples.
        seed: Seed of the resamples.
        openings: How often this test set was opened; None for other sets.

    Raises:
        ArgumentError: There is no system of that name.
        DataError: The items are not the same.
    """
    by_name = {evaluation.system: evaluation for evaluation in evaluations}
    if reference not in by_name:
        raise ArgumentError("evaluation.reference", f"{reference!r} of {', '.join(by_name)}", "one of the systems")
    base, metric = by_name[reference], section.primary_metric
    others = [evaluation for evaluation in evaluations if evaluation.system != reference]
    differences = {
        each.system: compare(each, [base], section=section, seed=seed, openings=openings).differences[0]
        for each in others
    }  # fmt: skip
    corrected = holm([difference.p_value for difference in differences.values()])
    for name, p_value in zip(differences, corrected, strict=True):
        differences[name] = replace(differences[name], p_holm=p_value)
    judgement = Judgement(
        reference=reference, metric=metric, n=base.n, margin=section.not_worse_margin, set=base.set,
        smallest_useful_gain=section.smallest_useful_gain, openings=openings, resamples=section.resamples, seed=seed,
        standings=tuple(_standing(each, differences.get(each.system), metric) for each in evaluations), sentence="",
    )  # fmt: skip
    return replace(judgement, sentence=judgement_sentence(judgement))


def judgement_sentence(judgement: Judgement) -> str:
    """What the table says, in words: who is better than the reference, not worse, worse, or not known.

    Args:
        judgement: All systems against one of them.
    """
    about = f"On {judgement.n:,} {judgement.set} records"
    if len(judgement.standings) == 1:
        return f"{about} there is {judgement.reference} alone, and nothing to compare it with."
    said = []
    for standing in STANDINGS.values():
        names = [row.system for row in judgement.standings if row.standing == standing]
        if names:
            said.append(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {_words(standing, judgement)}")
    return f"{about}, against {judgement.reference}: {'; '.join(said)}."


def judgement_rows(judgement: Judgement) -> list[tuple[str, ...]]:
    """The table as texts: system, value, difference, standing, unanswered, seconds, price; the last two a thousand."""
    rows: list[tuple[str, ...]] = []
    for row in judgement.standings:
        change = "" if row.difference is None else _interval(row.difference.difference, signed=True)
        price = "" if row.price is None or row.price.value is None else f"{1000 * row.price.value:.4g}"
        if price and row.currency:
            price += f" {row.currency}"
        seconds = "" if row.seconds is None or row.seconds.value is None else f"{1000 * row.seconds.value:.3g}"
        rows.append((row.system, _interval(row.value), change, row.standing, str(row.unanswered), seconds, price))
    return rows


def _words(standing: str, judgement: Judgement) -> str:
    if standing == STANDINGS[NOT_WORSE]:
        return f"not worse by {judgement.margin:g} or more"
    if standing == STANDINGS[UNDERPOWERED]:
        return "not known: these records are too few to tell"
    return standing if standing != STANDINGS[NO_EVIDENCE] else "of no useful difference"


def _done(kept: Kept | None, asked: RecordSet) -> dict[str, Evaluation]:
    """What was evaluated before on these records, by system."""
    if kept is None or not (kept.folder / RESULTS).is_file():
        return {}
    golds = {record.id: gold_of(record) for record in asked.records}
    found = read_evaluations(kept.folder)
    return {each.system: each for each in found if _is_of(each, golds)}


def _is_of(evaluation: Evaluation, golds: Mapping[str, str]) -> bool:
    """Whether the items are of these records; where hashes stand for gold answers, by the ids alone."""
    if evaluation.hashed:
        return {item.id for item in evaluation.items} == set(golds)
    return {item.id: item.gold for item in evaluation.items} == golds


def _total_seconds(evaluation: Evaluation) -> float:
    return (evaluation.seconds_per_thousand or 0.0) * evaluation.n / 1000


def _standing(evaluation: Evaluation, difference: Difference | None, metric: str) -> Standing:
    value = evaluation.metrics.get(metric)
    if value is None:
        value = Estimate(
            value=None, low=None, high=None, n=evaluation.n, method="none", reason=f"its items hold no {metric}"
        )
    currency = evaluation.settings.get("currency")
    return Standing(
        system=evaluation.system, kind=evaluation.kind, value=value, difference=difference,
        standing=REFERENCE if difference is None else STANDINGS[difference.verdict],
        seconds=_known(evaluation, "seconds"), price=_known(evaluation, "price"),
        unanswered=sum(_is_unanswered(item) for item in evaluation.items),
        currency=currency if isinstance(currency, str) else None,
    )  # fmt: skip


def _is_unanswered(item: Item) -> bool:
    """Whether nothing came that could be read: no answer, or of a list task no list."""
    return item.answer is None or (item.reason or "").startswith(NO_LIST)


def _tell_of_lists(evaluation: Evaluation, observers: Sequence[Observer]) -> None:
    """Of a task of lists: how many answers hold none, and how many name labels that are none."""
    if evaluation.task not in LISTS:
        return
    unread = [item for item in evaluation.items if (item.reason or "").startswith(NO_LIST)]
    invented = sum((item.reason or "").startswith(INVENTED) for item in evaluation.items)
    said = []
    if unread:
        cut = sum(CUT in str(item.reason) for item in unread)
        longer = f" ({cut} of them were cut: raise max_new_tokens)" if cut else ""
        said.append(f"{counted(len(unread), 'answer')} without a list that can be read, counted as wrong{longer}")
    if invented:
        said.append(f"{counted(invented, 'answer')} with a name that is no label")
    if said:
        tell(observers, Notice(topic="answers", message=f"{evaluation.system}: {'; '.join(said)}."))


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
