"""One candidate: adapted, trained, judged on validation, saved. Never sees the test set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metier.evaluation.answering.tuned import HowAsked, tuned_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.measures import score_of
from metier.evaluation.results import Evaluation
from metier.model.adapt import adapt_model
from metier.model.prompt import PromptFormat
from metier.model.saved import save_model
from metier.recipe.dump import dump_recipe
from metier.recipe.sections import Recipe
from metier.recipe.tasks import WRITES
from metier.stages.bench import Bench, Learned
from metier.stages.labelling import learn_labels
from metier.stages.layers import settle_layers
from metier.stages.lock import write_attempt_lock
from metier.stages.set_labelling import learn_label_sets
from metier.stages.workshop import Workshop
from metier.stages.writing import learn_passages, learn_to_write
from metier.store.ablation_folder import record_weights
from metier.store.files import write_json, write_text
from metier.store.run_folder import AttemptFolder
from metier.store.values import to_plain
from metier.training.history import History

LEARNING: Mapping[str, Callable[[Bench], Learned]] = {
    "classification": learn_labels,
    **dict.fromkeys(WRITES, learn_to_write),
    "multilabel": learn_label_sets,
    "extraction": learn_to_write,
    "text": learn_passages,
}
"""Task -> how it is learned."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A finished attempt: which candidate, and how it did on validation."""

    name: str
    number: int
    recipe: Recipe
    validation: Evaluation

    def score(self, metric: str) -> float:
        """Its primary metric on validation, signed so that higher is better."""
        return score_of(self.validation, metric)


def run_attempt(shop: Workshop, name: str, recipe: Recipe, number: int) -> Attempt:
    """Train one candidate and judge it on validation; a training that was killed goes on."""
    evaluation = train_into(shop, name, recipe, shop.folder.attempt(number))
    return Attempt(name=name, number=number, recipe=recipe, validation=evaluation)


def train_into(shop: Workshop, name: str, recipe: Recipe, folder: AttemptFolder) -> Evaluation:
    """Train in a way that a recipe says, and judge it on validation; a training that was killed goes on.

    Args:
        shop: The run.
        name: What it is called in messages and results.
        recipe: One candidate's.
        folder: Where it is written.
    """
    team = shop.team
    team.once(lambda: write_text(folder.recipe, dump_recipe(recipe)))
    way, layers = settle_layers(shop, name, recipe)
    bench = _set_up(shop, name, way, folder)
    team.once(lambda: write_attempt_lock(shop, folder, bench.model, recipe.seed, layers))
    team.once(lambda: _write_weights(shop, folder))
    learned = LEARNING[recipe.task](bench)
    team.once(lambda: _write_history(folder, learned.history))
    evaluation = _judge(bench, learned)
    team.once(lambda: _save(bench, learned))
    if not bench.model.plan.weights:
        bench.model.detach()
    return evaluation


def _write_weights(shop: Workshop, folder: AttemptFolder) -> None:
    """What each record weighs by itself, where that is not the same for all; records by id, no text."""
    if shop.own_weights is not None:
        pairs = zip(shop.taught, shop.own_weights, strict=True)
        rows = ({"id": record.id, "source": record.source, "row": record.row, "weight": w} for record, w in pairs)
        write_text(record_weights(folder), "".join(_line(row) for row in rows))


def _write_history(folder: AttemptFolder, history: History) -> None:
    write_text(folder.history, "".join(_line(row) for row in to_plain(history.steps)))
    write_json(folder.history_summary, to_plain(history), format="history")


def _save(bench: Bench, learned: Learned) -> None:
    if bench.prompt is not None and bench.prompt.shots:
        bench.shop.policy.refuse("prompt", "examples in the prompt of a trained model")
    save_model(
        bench.model, bench.folder.model, prompt=bench.prompt, max_length=bench.encoder.max_length,
        too_long=bench.encoder.too_long, rule=learned.rule, examples=learned.history.examples,
        task=bench.recipe.task, generation=learned.generation,
    )  # fmt: skip


def read_attempt(shop: Workshop, name: str, recipe: Recipe, number: int) -> Attempt:
    """An attempt that was finished before."""
    found = read_evaluations(shop.folder.attempt(number).evaluation / "validation")
    return Attempt(name=name, number=number, recipe=recipe, validation=found[0])


def _set_up(shop: Workshop, name: str, recipe: Recipe, folder: AttemptFolder) -> Bench:
    changes_weights = recipe.adaptation.method in ("full", "freeze")
    base = shop.consumed(recipe.model) if changes_weights else shop.base(recipe.model)
    autocast = shop.hardware.dtype == "bfloat16"
    model = adapt_model(recipe.adaptation, base, seed=recipe.seed, labels=shop.data.labels, autocast=autocast)
    depth = model.plan.trunk_layers
    wants_trunk = 0 < depth < base.layers
    trunk = shop.trunk(base, depth, causal=base.kind == "decoder") if wants_trunk else None
    return Bench(shop, name, recipe, folder, model, shop.encoder(base, recipe), shop.asked(recipe), trunk)


def _judge(bench: Bench, learned: Learned) -> Evaluation:
    """The trained model on the whole validation split; one that writes, on as much of it as baselines are set up on."""
    shop, rule = bench.shop, learned.rule
    system = tuned_system(
        bench.model,
        HowAsked(bench.encoder, bench.prompt, rule, learned.generation, shop.recipe.seed, bench.recipe.task),
        trained_on=f"{learned.history.examples} examples",
        # Only label trees are stored beforehand; what is written cannot be.
        trunk=bench.trunk if isinstance(bench.prompt, PromptFormat) else None,
        observers=shop.observers,
        settings={"candidate": bench.name, "best_step": learned.history.best_step, "stopped": learned.history.stopped}
        | ({"tried": rule["tried"]} if rule else {}),
    )  # fmt: skip
    evaluation = shop.judged(system, "validation", shop.judged_validation, bench.recipe.evaluation)
    shop.team.once(lambda: write_evaluation(evaluation, bench.folder.evaluation / "validation"))
    return evaluation


def _line(row: object) -> str:
    return json.dumps(row, sort_keys=True) + "\n"
