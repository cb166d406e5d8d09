"""`evaluation.seeds`: the promoted way trained with other seeds too, for what is said about the recipe.

Verdict and gates stay about the model that is kept. The others answer the set that it answered; nothing is chosen by
that, so it is no opening of its own. Frozen lower blocks do not know seeds: all trainings read one trunk cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from metier.evaluation.evidence import SeedStatement
from metier.evaluation.files import read_comparison, read_evaluations, write_evaluation
from metier.evaluation.looks import read_look, write_look
from metier.evaluation.results import Evaluation
from metier.evaluation.retrained import SEED_SYSTEM
from metier.evaluation.significance.seeds import state_seeds
from metier.events import Notice, tell
from metier.stages.again import promoted, train_again, with_same_layers
from metier.stages.attempt import Attempt
from metier.stages.opening import judged_set
from metier.stages.test_set import answer_test_set
from metier.stages.workshop import Workshop
from metier.store.trained_again import SEEDS, drop_weights, seed_attempt


def measure_seeds(shop: Workshop, attempts: Sequence[Attempt], key_of: Callable[[str], str]) -> None:
    """Train with the other seeds, let each model answer, and say what varies.

    Args:
        shop: A run whose promoted model has answered the set that the verdict is about.
        attempts: Its candidates.
        key_of: From a candidate's name to the fingerprint of all that its attempt read.
    """
    team, place = shop.team, shop.folder.evaluation_of(judged_set(shop)).path
    if team.once(lambda: read_look(SeedStatement, place) is not None):
        return
    chosen = promoted(shop, attempts)
    way = with_same_layers(shop, chosen)
    seeds = [way.seed + number for number in range(shop.recipe.evaluation.seeds)]
    answered = team.once(lambda: [each.system for each in _answered(shop)])
    for number, seed in enumerate(seeds[1:], start=2):
        name = SEED_SYSTEM.format(number=number)
        if name in answered:
            continue
        folder = seed_attempt(shop.folder, number)
        train_again(shop, name, way.model_copy(update={"seed": seed}), folder, [key_of(chosen.name)])
        evaluation = answer_test_set(shop, chosen, folder.model)
        if team.is_first:
            write_evaluation(replace(evaluation, system=name), shop.folder.evaluation_of(SEEDS).path)
            drop_weights(folder.path)
    statement = team.once(lambda: _state(shop, seeds))
    tell(shop.observers, Notice(topic="seeds", message=statement))


def _answered(shop: Workshop) -> list[Evaluation]:
    """What seeds were answered, the promoted model's answers first, which are put beside the others."""
    place, judged = shop.folder.evaluation_of(SEEDS), shop.folder.evaluation_of(judged_set(shop)).path
    if not place.results.exists():
        # As it was written: under `privacy: strict` answers are hashes there.
        first = read_evaluations(judged, systems={read_comparison(judged).candidate})[0]
        write_evaluation(replace(first, system=SEED_SYSTEM.format(number=1)), place.path)
    return read_evaluations(place.path)


def _state(shop: Workshop, seeds: Sequence[int]) -> str:
    """Write the statement down; its sentence."""
    place = shop.folder.evaluation_of(judged_set(shop)).path
    comparison = read_comparison(place)
    best = comparison.best_baseline
    against = read_evaluations(place, systems={best})[0] if best is not None else None
    statement = state_seeds(
        _answered(shop), metric=comparison.primary_metric, seeds=seeds, against=against,
        candidates=len(shop.candidates),
    )  # fmt: skip
    write_look(statement, place)
    return statement.sentence
