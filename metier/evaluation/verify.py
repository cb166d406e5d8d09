"""Compute every reported number of an evaluation folder again from its items, and list what differs.

Of written answers the counts of each item are made again too, from its two texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metier.errors import MetierError
from metier.evaluation.ablation import Trained, tell_ablation
from metier.evaluation.advice import with_advice
from metier.evaluation.beside import NOT_AGAIN, counted_again
from metier.evaluation.closer.look_again import look_again, looked_again
from metier.evaluation.compare import compare
from metier.evaluation.elsewhere.judged_again import judged_again
from metier.evaluation.evaluate import recompute
from metier.evaluation.files import (
    ABLATION,
    COMPARISON,
    RESULTS,
    items_path,
    read_ablation,
    read_comparison,
    read_evaluations,
    read_overfitting,
)
from metier.evaluation.gates import judge_gates
from metier.evaluation.measures import MEASURES
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Comparison, Evaluation, evaluations_of
from metier.evaluation.retrained import remade_looks
from metier.evaluation.swap_values import BASE_COPIES, COPIES, MOVED
from metier.evaluation.written.text_estimates import same_counts
from metier.evaluation.written.text_metrics import ADDED_METRICS
from metier.recipe.load import load_recipe
from metier.recipe.sections import EvaluationSection, GatesSection
from metier.recipe.tasks import WRITES
from metier.store.run_folder import RunFolder
from metier.store.values import to_plain

TOLERANCE = 1e-9
JUDGED = ("test", "out_of_fold", "validation")
"""Sets that a verdict can be about: a run has one."""
FROM_ELSEWHERE = frozenset({"copy_rate", "loss", "bits_per_byte", MOVED, *ADDED_METRICS})
"""Metrics whose counts can need the input, the model or a setting, which item rows do not hold."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A reported number that its items do not give."""

    where: str
    """File and path in it, e.g. `test/results.json: tfidf.metrics.macro_f1.value`."""
    reported: str
    recomputed: str


def verify_evaluations(root: Path) -> tuple[Mismatch, ...]:
    """Check all sets under a run's evaluation folder, and `overfitting.json` beside them.

    Args:
        root: The folder that holds one folder for each set.

    Returns:
        What differs; empty when every number is what its items give.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    found: list[Mismatch] = []
    for folder in sorted(path.parent for path in root.glob(f"*/{RESULTS}")):
        found += verify_set(folder)
    if (root / "overfitting.json").exists():
        found += _verify_overfitting(root)
    return tuple(found)


def verify_set(folder: Path) -> tuple[Mismatch, ...]:
    """Check `results.json` and `comparison.json` of one set against its item rows.

    Args:
        folder: The evaluation folder of the set.
    """
    evaluations = read_evaluations(folder)
    found: list[Mismatch] = []
    for evaluation in evaluations:
        found += _recount(f"{folder.name}/{items_path(folder, evaluation.system).name}", evaluation)
        where = f"{folder.name}/{RESULTS}: {evaluation.system}"
        found += _differences(where, _numbers(evaluation), _numbers(recompute(evaluation), evaluation))
    if (folder / COMPARISON).exists():
        reported = read_comparison(folder)
        systems = evaluations_of([recompute(evaluation) for evaluation in evaluations])
        looks = {}
        if reported.candidate in systems:  # else the comparison says what is missing
            looks = {each.name: each for each in look_again(folder, reported, systems, _section_beside(folder))}
        again = _compare_again(reported, systems)
        if reported.gates:
            candidate = systems[reported.candidate]
            gates = judge_gates(_gates_of(reported), again, candidate, looked_again(looks))
            again = replace(again, gates=gates)
        found += _differences(f"{folder.name}/{COMPARISON}", to_plain(reported), to_plain(again))
        for name, taken in looks.items():
            found += _differences(f"{folder.name}/{name}", to_plain(taken.reported), to_plain(taken.again))
        found += _verify_ablation(folder, again)
        for where, look, remade in remade_looks(folder, systems):
            found += _differences(where, to_plain(look), to_plain(remade))
    for where, look, remade in judged_again(folder, {each.system: recompute(each) for each in evaluations}):
        found += _differences(where, to_plain(look), to_plain(remade))
    return tuple(found)


def not_recounted(root: Path) -> tuple[str, ...]:
    """What items add to some metrics and cannot be counted again from them, each with its reason.

    Args:
        root: The folder that holds one folder for each set.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{RESULTS}"))
    there = {
        name
        for folder in folders
        for evaluation in read_evaluations(folder, items=False)
        for name, estimate in evaluation.metrics.items()
        if estimate.value is not None
    }
    said = [f"{name}: {why}" for name, why in NOT_AGAIN.items() if name in there]
    if any(folder.name.startswith((COPIES, BASE_COPIES)) and _is_written(folder) for folder in folders):
        said.append("how far log-probabilities of answers to copies moved: it needs the model")
    return tuple(said)


def _is_written(folder: Path) -> bool:
    return any(each.task in WRITES for each in read_evaluations(folder, items=False))


def _section_beside(folder: Path) -> EvaluationSection | None:
    """What the recipe says of the looks; None where the set lies in no run."""
    path = RunFolder(folder.parent.parent).recipe
    return load_recipe(path).evaluation if path.is_file() else None


def _verify_ablation(folder: Path, again: Comparison) -> Iterator[Mismatch]:
    """What `ablation.json` says, where there is one, against the comparison made again."""
    reported = read_ablation(folder)
    if reported is not None:
        trained = Trained(records=reported.records, steps=reported.steps, notes=reported.notes)
        recomputed = tell_ablation(again, trained)
        yield from _differences(f"{folder.name}/{ABLATION}", to_plain(reported), to_plain(recomputed))


def holds_hashes(root: Path) -> bool:
    """Whether hashes stand for written answers, so that what they add to a metric cannot be counted again.

    Args:
        root: The folder that holds one folder for each set.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{RESULTS}"))
    return any(evaluation.hashed for folder in folders for evaluation in read_evaluations(folder, items=False))


def _recount(where: str, evaluation: Evaluation) -> Iterator[Mismatch]:
    """What written answers add to each metric, counted again from the texts of the items.

    Inputs and probabilities are not among them: what is counted from those alone (`FROM_ELSEWHERE`) stays as it is.
    Where hashes stand for texts, exact matches alone can be counted again.
    """
    if evaluation.hashed:
        yield from _exact_matches(where, evaluation)
        return
    again, beside = MEASURES[evaluation.task].recount(evaluation.items), counted_again(evaluation)
    for place, (item, own, more) in enumerate(zip(evaluation.items, again, beside, strict=True), start=1):
        # Results of an earlier version lack some counts that are made today: what is not there is in no metric.
        counts = {**{name: more[name] for name in more if name in item.counts}, **own}
        for name in {**counts, **item.counts}:
            known = name in counts or name not in FROM_ELSEWHERE
            if known and not same_counts(item.counts, counts, name):
                reported, recomputed = item.counts.get(name), counts.get(name)
                yield Mismatch(where=f"{where} row {place}: {name}", reported=str(reported), recomputed=str(recomputed))


def _exact_matches(where: str, evaluation: Evaluation) -> Iterator[Mismatch]:
    for place, item in enumerate(evaluation.items, start=1):
        reported, again = item.counts.get("exact_match"), float(item.answer == item.gold)
        if reported is not None and reported[0] != again:
            yield Mismatch(where=f"{where} row {place}: exact_match", reported=str(reported[0]), recomputed=str(again))


def _numbers(evaluation: Evaluation, reported: Evaluation | None = None) -> Mapping[str, Any]:
    """What an evaluation reports about its items.

    Args:
        evaluation: As it was reported, or made again.
        reported: The one that was reported: metrics that it does not have are left out, as an older version knew
            fewer. None: all.
    """
    names = ("n", "metrics", "clean_metrics", "per_class", "per_field", "confusion")
    found: dict[str, Any] = {name: to_plain(getattr(evaluation, name)) for name in names}
    for name in ("metrics", "clean_metrics") if reported is not None else ():
        found[name] = {metric: value for metric, value in found[name].items() if metric in getattr(reported, name)}
    return found


def _compare_again(reported: Comparison, systems: Mapping[str, Evaluation]) -> Comparison:
    """The comparison that the items give, under the rules that the reported one states."""
    names = [difference.baseline for difference in reported.differences]
    missing = [name for name in (reported.candidate, *names) if name not in systems]
    if missing:
        raise MetierError(COMPARISON, f"names {', '.join(missing)}, whose items are not there", "", "Evaluate again.")
    section = EvaluationSection.model_validate(
        {
            "primary_metric": reported.primary_metric,
            "smallest_useful_gain": reported.smallest_useful_gain,
            "not_worse_margin": reported.not_worse_margin,
            "resamples": reported.resamples,
        }
    )
    again = compare(
        systems[reported.candidate],
        [systems[name] for name in names],
        section=section,
        openings=reported.openings,
        seed=reported.seed,
        discordances={row.baseline: row.discordance for row in reported.differences if row.discordance is not None},
    )
    again = _advised(again, reported, systems)
    if any(row.after_openings for row in reported.differences):
        return again
    # A comparison of an earlier version has no interval after several openings.
    without = [
        tuple(replace(row, after_openings=None) for row in rows)
        for rows in (again.differences, again.accuracy_differences)
    ]
    return replace(again, differences=without[0], accuracy_differences=without[1])


def _advised(again: Comparison, reported: Comparison, systems: Mapping[str, Evaluation]) -> Comparison:
    """The comparison made again with its advice at the reported price; one of an earlier version has none."""
    if reported.advice is None:
        return replace(again, advice=None)
    return with_advice(
        again, list(systems.values()), price_per_hour=reported.price_per_hour, currency=reported.currency
    )


def _gates_of(reported: Comparison) -> GatesSection:
    """The gates section that the reported gates came from."""
    given: dict[str, Any] = {"minimum": {}, "largest_gap": {}}
    for gate in reported.gates:
        kind, _, name = gate.gate.partition(".")
        if kind == "verdict":
            given["verdict"] = gate.wanted
            continue
        bound = float(gate.wanted.split()[0])
        if name:
            given[kind][name] = bound
        else:
            given[kind] = bound
    return GatesSection.model_validate(given)


def _verify_overfitting(root: Path) -> tuple[Mismatch, ...]:
    """Check the side-by-side of the sets against the items of the system that was compared on test."""
    reported = read_overfitting(root / "overfitting.json")
    judged = next((name for name in JUDGED if (root / name / COMPARISON).exists()), JUDGED[0])
    candidate = read_comparison(root / judged).candidate
    again = {}
    for name in reported.values:
        systems = evaluations_of(read_evaluations(root / name))
        if candidate in systems:
            again[name] = recompute(systems[candidate])
    return tuple(
        _differences("overfitting.json", to_plain(reported), to_plain(judge_overfitting(again, reported.metric)))
    )


def differing_numbers(where: str, one: Any, other: Any) -> tuple[Mismatch, ...]:
    """Every place in which two plain values differ; numbers that agree to `TOLERANCE` are the same.

    Args:
        where: What to call them.
        one: What was reported.
        other: What came out again.
    """
    return tuple(_differences(where, one, other))


def _differences(where: str, reported: Any, recomputed: Any) -> Iterator[Mismatch]:
    """Every leaf in which two plain values differ."""
    if isinstance(reported, dict) and isinstance(recomputed, dict):
        for key in {**reported, **recomputed}:
            yield from _differences(f"{where}.{key}", reported.get(key), recomputed.get(key))
    elif isinstance(reported, list) and isinstance(recomputed, list) and len(reported) == len(recomputed):
        for place, (one, other) in enumerate(zip(reported, recomputed, strict=True)):
            yield from _differences(f"{where}[{place}]", one, other)
    elif not _equal(reported, recomputed):
        yield Mismatch(where=where, reported=str(reported), recomputed=str(recomputed))


def _equal(one: Any, other: Any) -> bool:
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)
