"""The one opening of the test set: the promoted attempt against every baseline, on the same items."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.records import Record
from metier.device import derive_seed
from metier.engine.trunk import TrunkCache
from metier.evaluation.advice import at_price
from metier.evaluation.answering.tuned import HowAsked, tuned_system
from metier.evaluation.compare import compare
from metier.evaluation.files import read_evaluations, write_comparison, write_evaluation, write_overfitting
from metier.evaluation.gates import judge_gates
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Comparison, Evaluation
from metier.evaluation.significance.planned import planned_discordances
from metier.evaluation.systems import System
from metier.events import timed_part
from metier.model.saved import Saved, load_model, shared_depth
from metier.stages.asking_again import ask_again, ask_best_again, write_robustness
from metier.stages.attempt import Attempt
from metier.stages.baselines import baseline_systems, language_model_candidate
from metier.stages.choose import Chosen
from metier.stages.copies import ask_copies, ask_copies_of_base, write_swaps
from metier.stages.judge_answers import judge_written
from metier.stages.looking import Answered, keep_calibration, look_closer, own_vectors, stored_vectors
from metier.stages.opening import judged_records, judged_set, open_seal
from metier.stages.workshop import Workshop
from metier.store.files import write_json
from metier.store.fingerprint import fingerprint
from metier.store.stages import copy_folder


def promote(shop: Workshop, attempts: Sequence[Attempt], choice: Chosen, model: Path | None = None) -> None:
    """Make the chosen attempt's model the run's model, and write down why it was chosen.

    Args:
        shop: The run.
        attempts: All of its candidates.
        choice: The chosen one, and why.
        model: The folder of the model that is kept instead, trained the same way on more rows. None: the attempt's own.
    """
    chosen = choice.attempt
    copy_folder(model or shop.folder.attempt(chosen.number).model, shop.folder.model)
    shop.data.rules.write(shop.folder.input)
    metric = shop.recipe.evaluation.primary_metric
    # As it was measured, lower or higher better; None where validation could not say.
    scores = {attempt.name: attempt.validation.metrics[metric].value for attempt in attempts}
    about = {
        "name": chosen.name,
        "number": chosen.number,
        "metric": metric,
        "set": "validation",
        "n": chosen.validation.n,
        "scores": scores,
        "why": choice.why,
    }
    write_json(shop.folder.chosen, about, format="chosen")
    keep_calibration(shop, chosen)


def open_test_set(shop: Workshop, chosen: Attempt, run_id: str) -> Comparison:
    """Answer the test set with every baseline and the promoted model, compare, and write it all down.

    What was answered before a kill is not answered again, and the opening is counted once a run. With
    `evaluation.split: validation` all of this is about validation, and the test set stays closed.
    """
    team = shop.team
    openings = team.once(lambda: open_seal(shop, run_id))
    records, judged = judged_records(shop), judged_set(shop)
    folder = shop.folder.evaluation_of(judged).path
    done = {e.system: e for e in read_evaluations(folder)} if shop.folder.results(judged).exists() else {}
    done = {name: done[name] for name in team.agree(list(done))}
    trunk = shared_trunk(shop, chosen)

    def answered(system: System) -> Evaluation:
        if system.name not in done:
            done[system.name] = _answer(shop, system, records, judged)
            if team.is_first:
                write_evaluation(done[system.name], folder)
        return done[system.name]

    systems = baseline_systems(shop, trunk)
    evaluations = [answered(system) for system in systems]
    near = stored_vectors(shop, systems, records)
    with timed_part(shop.observers, "robustness"):
        beside = ask_best_again(shop, systems, evaluations, records)
    base = ask_copies_of_base(shop, systems, evaluations, records)
    del systems
    shop.release_models()  # never two models in memory: the promoted one is read from disk
    tuned = _tuned(shop, _load_promoted(shop), trunk)
    evaluations.append(answered(tuned))
    with timed_part(shop.observers, "looks"):
        looked = look_closer(
            shop,
            Answered(
                chosen=chosen, candidate=evaluations[-1], others=evaluations[:-1], records=records,
                near=near or own_vectors(shop, tuned, records),
            ),
        )  # fmt: skip
    with timed_part(shop.observers, "robustness"):
        write_robustness(shop, ask_again(shop, tuned, evaluations[-1], records), beside)
    comparison = compare(
        evaluations[-1], evaluations[:-1], section=shop.recipe.evaluation, openings=openings, seed=shop.recipe.seed,
        discordances=_planned(shop, chosen),
    )  # fmt: skip
    comparison = at_price(comparison, evaluations, shop.recipe.hardware)
    gates = judge_gates(shop.recipe.gates, comparison, evaluations[-1], looked)
    comparison = replace(comparison, gates=gates)
    if team.is_first:
        write_comparison(comparison, folder)
        _ask_the_judge(shop, evaluations, comparison, folder)
    _side_by_side(shop, chosen, tuned, evaluations[-1])
    if shop.recipe.data.bias.counterfactuals:
        write_swaps(shop, judged, ask_copies(shop, tuned, evaluations[-1], records), base)
    gc.collect()
    return comparison


def _planned(shop: Workshop, chosen: Attempt) -> dict[str, float]:
    """By baseline how often it and the promoted attempt differed on validation, before the set was opened."""
    folder = shop.folder.evaluation_of("selection").path
    return planned_discordances(chosen.validation, read_evaluations(folder))


def _ask_the_judge(shop: Workshop, found: Sequence[Evaluation], comparison: Comparison, folder: Path) -> None:
    """A judge model on the promoted model's answers beside those of the best baseline, where the recipe names one."""
    best = next((each for each in found if each.system == comparison.best_baseline), None)
    if best is not None:
        judge_written(shop, found[-1:], best, folder)


def answer_test_set(shop: Workshop, like: Attempt, model: Path) -> Evaluation:
    """Let a model on disk answer the test set, which is open already; it is asked as the promoted one was.

    Args:
        shop: The run; the model learned from its train.
        like: The promoted attempt: the model has its base and its lower blocks.
        model: The model's folder.
    """
    trunk = shared_trunk(shop, like)
    shop.release_models()
    saved = load_model(model, shop.hardware, shop.observers)
    return _answer(shop, _tuned(shop, saved, trunk), judged_records(shop), judged_set(shop))


def _load_promoted(shop: Workshop) -> Saved:
    """The promoted model as it lies on disk: what is tested is what is shipped."""
    return load_model(shop.folder.model, shop.hardware, shop.observers)


def _tuned(shop: Workshop, saved: Saved, trunk: TrunkCache | None) -> System:
    return tuned_system(
        saved.model, replace(HowAsked.of(saved), seed=shop.recipe.seed), trained_on=f"{saved.examples} examples",
        trunk=trunk, observers=shop.observers,
    )  # fmt: skip


def shared_trunk(shop: Workshop, chosen: Attempt) -> TrunkCache | None:
    """Boundary states that zero_shot and the tuned model both read, where both are the same language model.

    Args:
        shop: The run; its model is promoted.
        chosen: The promoted attempt.
    """
    depth = shared_depth(shop.folder.model) if shop.recipe.task == "classification" else 0
    if not depth or not {"zero_shot", "few_shot"} & set(shop.recipe.evaluation.systems):
        return None
    asked = language_model_candidate(shop).model
    return shop.trunk(shop.base(asked), depth, causal=True) if asked == chosen.recipe.model else None


def _answer(shop: Workshop, system: System, records: Sequence[Record], set_name: str) -> Evaluation:
    return shop.judged(system, set_name, records, shop.recipe.evaluation)


def _side_by_side(shop: Workshop, chosen: Attempt, tuned: System, judged: Evaluation) -> None:
    """The promoted model on a sample of train, on validation and, unless that stays closed, on test."""
    order = sorted(shop.train, key=lambda record: derive_seed(shop.recipe.seed, "train sample", record.id))
    train = _answer(shop, tuned, order[: shop.recipe.evaluation.train_examples], "train")
    if not shop.team.is_first:
        return
    write_evaluation(train, shop.folder.evaluation_of("train").path)
    sets = {"train": train, "validation": judged}
    if judged.set == "test":
        sets |= {"validation": replace(chosen.validation, system="tuned"), "test": judged}
        write_evaluation(sets["validation"], shop.folder.evaluation_of("validation").path)
    write_overfitting(judge_overfitting(sets, shop.recipe.evaluation.primary_metric), shop.folder.overfitting)


def run_identity(shop: Workshop, recipe_hash: str) -> str:
    """What the seal counts as one opening: this recipe on this data in this folder."""
    return fingerprint([recipe_hash, shop.data.card.fingerprint, str(shop.folder.path.resolve())])[:32]
