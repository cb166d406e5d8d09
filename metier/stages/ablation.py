"""`data.ablation`: the promoted way trained once more on train as it was read, so that cleaning has to show its worth.

All else is the same: base model, layers, seed, the optimiser steps that are planned, the steps at which validation
looks, the longest answer, validation and test. The test set is open already, for the promoted model; this is no
opening of its own, as nothing is chosen by it. Boundary states of texts that stand in both are taken from the trunk
cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.data.splits import Split, answers_of
from metier.errors import RunFolderError
from metier.evaluation.ablation import (
    CLEANED,
    RAW,
    SET,
    Trained,
    as_pair,
    compare_pair,
    nothing_changed,
    tell_ablation,
)
from metier.evaluation.files import (
    read_ablation,
    read_comparison,
    read_evaluations,
    write_ablation,
    write_comparison,
    write_evaluation,
)
from metier.recipe.sections import Recipe, TrainingSection
from metier.recipe.tasks import WRITES
from metier.stages.attempt import Attempt, train_into
from metier.stages.opening import judged_set
from metier.stages.test_set import answer_test_set
from metier.stages.workshop import Workshop
from metier.store.ablation_folder import raw_attempt
from metier.store.files import read_json
from metier.store.fingerprint import fingerprint
from metier.store.run_folder import AttemptFolder
from metier.store.stages import keep_stage, take_stage
from metier.store.values import from_plain
from metier.training.history import History
from metier.training.sampler import Sampler

STAGE_VERSION = 1
"""Raise it when the same recipe would give another raw model: stored ones are then not taken."""
PLANNED = "planned"


def measure_ablation(shop: Workshop, attempts: Sequence[Attempt], key_of: Callable[[str], str]) -> None:
    """Train on train as it was read, answer the test set, compare with the promoted model, and write it all down.

    Args:
        shop: A run whose promoted model has answered the test set.
        attempts: Its candidates.
        key_of: From a candidate's name to the fingerprint of all that its attempt read.

    Raises:
        RunFolderError: The data folder holds no train as it was read.
    """
    team, place = shop.team, shop.folder.evaluation_of(SET).path
    if team.once(lambda: read_ablation(place) is not None):
        return
    if shop.data.raw is None:
        found = "has no train as it was read, which data.ablation asks for"
        raise RunFolderError(str(shop.folder.data), found, "", "Run the recipe again, into another folder.")
    if not shop.remedies and team.once(lambda: _same_records(shop.data)):
        if team.is_first:
            write_ablation(nothing_changed(shop.recipe.evaluation.primary_metric, len(shop.train)), place)
        return
    chosen = _promoted(shop, attempts)
    folder = raw_attempt(shop.folder)
    raw = shop.over(_raw_data(shop.data, shop.data.raw))
    _train(raw, same_way(shop, chosen, raw.data.labels), folder, key_of(chosen.name))
    _answer(raw, chosen, folder)
    if team.is_first:
        _judge(shop, chosen, folder)


def same_way(shop: Workshop, chosen: Attempt, labels: Sequence[str]) -> Recipe:
    """The promoted candidate's recipe with what its training settled by itself written out, to be done again.

    Args:
        shop: The run.
        chosen: The promoted attempt.
        labels: Those of train as it was read: one without a weight in the recipe weighs 1.
    """
    recipe, folder = chosen.recipe, shop.folder.attempt(chosen.number)
    adaptation = recipe.adaptation
    if adaptation.layers == "auto":
        layers = read_json(folder.lock, format="attempt_lock")["layers"]["used"]
        adaptation = adaptation.model_copy(update={"layers": layers})
    training = _with_steps(recipe.training, _history(folder), shop.batch_processes)
    if isinstance(training.class_weights, dict):
        weights = {**dict.fromkeys(labels, 1.0), **training.class_weights}
        training = training.model_copy(update={"class_weights": weights})
    longest = chosen.validation.settings.get("max_new_tokens", recipe.generation.max_new_tokens)
    return recipe.model_copy(
        update={
            "adaptation": adaptation,
            "training": training,
            "generation": recipe.generation.model_copy(update={"max_new_tokens": longest}),
        }
    )


def _with_steps(section: TrainingSection, history: History, processes: int) -> TrainingSection:
    """The section with the optimiser steps and the validations that were planned for another number of records."""
    sampler = _sampler(section, history, processes)
    every = section.eval_steps or sampler.steps_per_epoch
    return section.model_copy(update={"max_steps": sampler.steps, "eval_steps": every})


def _sampler(section: TrainingSection, history: History, processes: int) -> Sampler:
    whole = {"gradient_accumulation_steps": section.gradient_accumulation_steps * processes}
    return Sampler.of(section.model_copy(update=whole), history.examples, 0)


def _raw_data(data: PreparedData, raw: Split) -> PreparedData:
    """The prepared data with train as it was read in the place of train."""
    counts = Counter(record.stratum for record in raw.records())
    labels = {label: counts[label] for label in sorted(counts) if label}
    train = replace(
        data.card.splits["train"], rows=len(raw), label_counts=labels, fingerprint=raw.fingerprint, flags={}
    )
    card = replace(data.card, labels=tuple(labels), splits={**data.card.splits, "train": train})
    return replace(data, card=card, train=raw, raw=None, copies=None)


def _same_records(data: PreparedData) -> bool:
    """Whether the same is learned from both; ids, places and doubts are not learned from."""
    assert data.raw is not None
    return list(_said(data.train.records())) == list(_said(data.raw.records()))


def _said(records: Iterable[Record]) -> Iterator[tuple[str, ...]]:
    return ((record.text, *answers_of(record)) for record in records)


def _train(raw: Workshop, recipe: Recipe, folder: AttemptFolder, key: str) -> None:
    """The raw model: read back, taken from the cache, or trained; a training that was killed goes on."""
    parts = [recipe.training, recipe.adaptation, recipe.generation]
    key = fingerprint(
        [STAGE_VERSION, SET, key, raw.data.train.fingerprint, *(part.model_dump(mode="json") for part in parts)]
    )
    team = raw.team
    if team.once(lambda: folder.summary.exists() or (not folder.path.exists() and take_stage(key, folder.path))):
        return
    train_into(raw, RAW, recipe, folder)
    team.once(lambda: keep_stage(key, folder.path))


def _answer(raw: Workshop, chosen: Attempt, folder: AttemptFolder) -> None:
    """Let the raw model answer the test set, unless it did."""
    results = folder.results(judged_set(raw))
    if raw.team.once(results.exists):
        return
    evaluation = answer_test_set(raw, chosen, folder.model)
    if raw.team.is_first:
        write_evaluation(evaluation, results.parent)


def _judge(shop: Workshop, chosen: Attempt, folder: AttemptFolder) -> None:
    """Compare the two and write it down; what says that all is done comes last."""
    place, judged = shop.folder.evaluation_of(SET).path, judged_set(shop)
    test = shop.folder.evaluation_of(judged).path
    against = read_comparison(test)
    # Both as they were written: under `privacy: strict` answers are hashes there.
    cleaned = read_evaluations(test, systems={against.candidate})[0]
    pair = as_pair(cleaned, read_evaluations(folder.results(judged).parent)[0])
    for evaluation in pair:
        write_evaluation(evaluation, place)
    comparison = compare_pair(pair, shop.recipe.evaluation, openings=against.openings, seed=shop.recipe.seed)
    write_comparison(comparison, place)
    write_ablation(tell_ablation(comparison, _trained(shop, chosen, folder)), place)


def _trained(shop: Workshop, chosen: Attempt, folder: AttemptFolder) -> Trained:
    """What the two trainings were, and what their comparison says and does not say."""
    histories = {CLEANED: _history(shop.folder.attempt(chosen.number)), RAW: _history(folder)}
    steps = {name: _steps(history) for name, history in histories.items()}
    planned = _sampler(chosen.recipe.training, histories[CLEANED], shop.batch_processes).steps
    notes = [
        f"One training each, with seed {chosen.recipe.seed}: this is about these two models, and other seeds would "
        "give other differences.",
        "Rows whose text, nearly the same text or group is also in test or validation are in neither, where the "
        "recipe does not allow leaks: leakage would flatter the rows as they were read.",
        "Validation and test are the same for both, with the repairs that every input gets.",
    ]
    if len(set(steps.values())) > 1:
        notes.append(f"Early stopping ended a training before its {planned:,} planned steps.")
    if shop.recipe.task in WRITES:
        notes.append("Texts of conversations have their repairs in both.")
    if shop.remedies:
        notes.append("Cleaning is here with the remedies of data.bias: weights, copies, or both.")
    return Trained(
        records={name: history.examples for name, history in histories.items()},
        steps={**steps, PLANNED: planned} if any(steps.values()) else {}, notes=tuple(notes),
    )  # fmt: skip


def _steps(history: History) -> int:
    return max((*(row.step for row in history.steps), *(row.step for row in history.validations)), default=0)


def _history(folder: AttemptFolder) -> History:
    path = folder.history_summary
    return from_plain(History, read_json(path, format="history"), where=str(path))


def _promoted(shop: Workshop, attempts: Sequence[Attempt]) -> Attempt:
    number = shop.team.once(lambda: int(read_json(shop.folder.chosen, format="chosen")["number"]))
    return next(attempt for attempt in attempts if attempt.number == number)
