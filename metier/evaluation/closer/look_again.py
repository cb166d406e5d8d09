"""The closer looks of a finished set, taken again from its item rows: what `metier verify` compares.

Vectors, texts and the user's columns are not in item rows: which slice a text is in is taken as reported (its numbers
are not), and what lies near a wrong answer is held by a hash. Loads neither torch nor scipy nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from metier.evaluation.closer.error_report import report_again
from metier.evaluation.closer.robustness import robustness_of
from metier.evaluation.closer.slice_kinds import Sliced, slices_of
from metier.evaluation.closer.slice_report import report_slices
from metier.evaluation.closer.swaps import swaps_again
from metier.evaluation.closer.trust import judge_trust
from metier.evaluation.evidence import ErrorReport, Robustness, SliceReport, Trust
from metier.evaluation.files import read_evaluations
from metier.evaluation.gates import Looked
from metier.evaluation.labels.saved_calibration import NOT_ASKED, fit_calibration
from metier.evaluation.looks import look_path, read_look
from metier.evaluation.results import Comparison, Evaluation
from metier.evaluation.swap_values import SwapReport
from metier.recipe.evaluation_sections import ChangeName, EvaluationSection

IN_ITEMS = ("label", "source", "group")
"""Kinds of slice that item rows hold themselves."""


@dataclass(frozen=True, kw_only=True)
class TakenAgain:
    """One look as it was reported, and as the items give it."""

    name: str
    """Of its file."""
    reported: object
    again: object


def look_again(
    folder: Path, comparison: Comparison, systems: Mapping[str, Evaluation], section: EvaluationSection | None = None
) -> Iterator[TakenAgain]:
    """Every look that lies beside a comparison.

    Args:
        folder: The evaluation folder of the set; those of other sets lie beside it.
        comparison: Of the set.
        systems: By name, with items.
        section: What the recipe says. None: as the looks themselves say it.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    candidate = systems[comparison.candidate]
    others = [systems[row.baseline] for row in comparison.differences if row.baseline in systems]
    trust = read_look(Trust, folder)
    if trust is not None:
        yield _taken(Trust, folder, trust, _trust(folder, trust, candidate, others, section))
    slices = read_look(SliceReport, folder)
    if slices is not None:
        beside = systems.get(slices.against or comparison.best_baseline or "")
        yield _taken(SliceReport, folder, slices, _slices(slices, candidate, beside, comparison.primary_metric))
    robustness = read_look(Robustness, folder)
    if robustness is not None:
        yield _taken(Robustness, folder, robustness, _robustness(folder, robustness, candidate, systems))
    errors = read_look(ErrorReport, folder)
    if errors is not None:
        yield _taken(ErrorReport, folder, errors, report_again(candidate, errors))
    swaps = read_look(SwapReport, folder)
    if swaps is not None:
        yield _taken(SwapReport, folder, swaps, swaps_again(folder, swaps, candidate.system, systems))


def looked_again(found: Mapping[str, TakenAgain]) -> Looked:
    """What gates read, as the items give it.

    Args:
        found: Looks by the name of their file.
    """
    trust = next((each.again for each in found.values() if isinstance(each.again, Trust)), None)
    slices = next((each.again for each in found.values() if isinstance(each.again, SliceReport)), None)
    return Looked(trust=trust, slices=slices)


def _taken(kind: type, folder: Path, reported: object, again: object) -> TakenAgain:
    return TakenAgain(name=look_path(kind, folder).name, reported=reported, again=again)


def _trust(
    folder: Path, reported: Trust, candidate: Evaluation, others: list[Evaluation], section: EvaluationSection | None
) -> Trust:
    if candidate.set == "validation":
        validation = candidate
    else:
        found = read_evaluations(folder.parent / "validation", systems=[candidate.system])
        validation = found[0] if found else replace(candidate, items=())
    promise = None if reported.alone is None else reported.alone.promise
    rules = section or EvaluationSection()
    target = promise.target if promise is not None and section is None else rules.promise_accuracy
    sure = promise.confidence if promise is not None and section is None else rules.promise_confidence
    calibrate = reported.temperature.reason != NOT_ASKED if section is None else rules.calibrate
    fitted = fit_calibration(validation, target=target, sure=sure, calibrate=calibrate)
    return judge_trust(candidate, others, fitted)


def _slices(reported: SliceReport, candidate: Evaluation, beside: Evaluation | None, metric: str) -> SliceReport:
    own = slices_of(Sliced(items=candidate.items), [kind for kind in IN_ITEMS if kind in reported.kinds])
    kinds = {kind: own.get(kind, names) for kind, names in reported.kinds.items()}
    return report_slices(candidate, beside, metric, kinds, reported.left_out)


def _robustness(
    folder: Path, reported: Robustness, candidate: Evaluation, systems: Mapping[str, Evaluation]
) -> Robustness:
    changed: dict[str, dict[str, Evaluation]] = {}
    for change in get_args(ChangeName):
        place = folder.parent / f"{folder.name}-{change.replace('_', '-')}"
        if place.is_dir():
            changed[change] = {each.system: each for each in read_evaluations(place)}
    order = [change for change in (*_made(reported), *changed) if change in changed]

    def asked(name: str) -> tuple[Evaluation, dict[str, Evaluation]]:
        mine = {change: changed[change][name] for change in dict.fromkeys(order) if name in changed[change]}
        ids = {item.id for each in mine.values() for item in each.items}
        return replace(systems[name], items=tuple(item for item in systems[name].items if item.id in ids)), mine

    beside = None if reported.against is None else asked(reported.against)
    return robustness_of(asked(candidate.system), beside, reported.left_out)


def _made(reported: Robustness) -> list[str]:
    return [row.change for row in reported.drops]
