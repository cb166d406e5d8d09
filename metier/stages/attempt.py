"""One candidate: adapted, trained, judged on validation, saved. Never sees the test set."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metier.data.records import Choice
from metier.engine.forward import TreeRunner
from metier.engine.score import score_labels
from metier.engine.tree import TokenSequence
from metier.engine.trunk import TrunkCache
from metier.errors import DataError
from metier.evaluation.evaluate import evaluate_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.heads import head_log_probabilities
from metier.evaluation.language_model import store_label_trees
from metier.evaluation.results import Evaluation
from metier.evaluation.scoring import choose_rule, judge, make_rule
from metier.evaluation.tuned import HowAsked, tuned_system
from metier.events import Notice, tell
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.encode import EncodedPrompt, Encoder
from metier.model.head import choose_head
from metier.model.prompt import PromptFormat
from metier.model.saved import save_model
from metier.recipe.dump import dump_recipe
from metier.recipe.sections import Recipe
from metier.stages.lock import write_attempt_lock
from metier.stages.workshop import Workshop
from metier.store.files import write_json, write_text
from metier.store.run_folder import AttemptFolder
from metier.store.values import to_plain
from metier.training.history import History, ValidationRow
from metier.training.objective import HeadObjective, LanguageObjective, Objective, class_weights
from metier.training.train import Validate, train_model

SHOWN_ROWS = 10
"""Row numbers that a notice names."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A finished attempt: which candidate, and how it did on validation."""

    name: str
    number: int
    recipe: Recipe
    validation: Evaluation

    def score(self, metric: str) -> float:
        """Its primary metric on validation."""
        return self.validation.metrics[metric].value or 0.0


@dataclass(eq=False)
class _Bench:
    """What the steps of one attempt share."""

    shop: Workshop
    name: str
    recipe: Recipe
    folder: AttemptFolder
    model: AdaptedModel
    encoder: Encoder
    prompt: PromptFormat
    trunk: TrunkCache | None

    @property
    def sample(self) -> list[Choice]:
        """The validation records that are looked at during training."""
        known = [record for record in self.shop.validation if record.label in self.shop.data.labels]
        return known[: self.recipe.training.validation_examples]


def run_attempt(shop: Workshop, name: str, recipe: Recipe, number: int) -> Attempt:
    """Train one candidate and judge it on validation; a training that was killed goes on."""
    folder = shop.folder.attempt(number)
    write_text(folder.recipe, dump_recipe(recipe))
    bench = _set_up(shop, name, recipe, folder)
    write_attempt_lock(shop, folder, bench.model, recipe.seed)
    history, rule = _learn_in_words(bench) if bench.model.head is None else _learn_a_head(bench)
    write_text(folder.history, "".join(_line(row) for row in to_plain(history.steps)))
    write_json(folder.history_summary, to_plain(history), format="history")
    evaluation = _judge(bench, history, rule)
    save_model(
        bench.model, folder.model, prompt=bench.prompt, max_length=bench.encoder.max_length,
        too_long=bench.encoder.too_long, rule=rule, examples=history.examples,
    )  # fmt: skip
    if not bench.model.plan.weights:
        bench.model.detach()
    return Attempt(name=name, number=number, recipe=recipe, validation=evaluation)


def read_attempt(shop: Workshop, name: str, recipe: Recipe, number: int) -> Attempt:
    """An attempt that was finished before."""
    found = read_evaluations(shop.folder.attempt(number).evaluation / "validation")
    return Attempt(name=name, number=number, recipe=recipe, validation=found[0])


def _set_up(shop: Workshop, name: str, recipe: Recipe, folder: AttemptFolder) -> _Bench:
    changes_weights = recipe.adaptation.method in ("full", "freeze")
    base = shop.consumed(recipe.model) if changes_weights else shop.base(recipe.model)
    autocast = shop.hardware.dtype == "bfloat16"
    model = adapt_model(recipe.adaptation, base, seed=recipe.seed, labels=shop.data.labels, autocast=autocast)
    depth = model.plan.trunk_layers
    wants_trunk = 0 < depth < base.layers
    trunk = shop.trunk(base, depth, causal=base.kind == "decoder") if wants_trunk else None
    return _Bench(shop, name, recipe, folder, model, shop.encoder(base, recipe), shop.prompt(recipe), trunk)


def _learn_in_words(bench: _Bench) -> tuple[History, dict[str, Any]]:
    """Train a model that answers in words, then choose its scoring rule on validation."""
    shop, recipe, model = bench.shop, bench.recipe, bench.model
    answers = dict(zip(bench.prompt.labels, bench.encoder.answers(bench.prompt), strict=True))
    records, encoded = _fitting(bench, [bench.encoder.prompt(bench.prompt, record.text) for record in shop.train])
    sequences = [
        TokenSequence.of(each.ids.tolist(), answers[record.label].tolist())
        for each, record in zip(encoded, records, strict=True)
    ]
    runner = TreeRunner(model.network, bench.trunk, shop.observers, autocast=model.autocast)
    if bench.trunk is not None and runner.probe(sequences[:2]):
        bench.trunk.build(model.network, sequences, f"{bench.name}: trunk of train")
    weights = class_weights(recipe.training.class_weights, [record.label for record in records])
    objective = LanguageObjective(runner, sequences, weights)
    prompts = [bench.encoder.prompt(bench.prompt, record.text).ids for record in bench.sample]
    label_ids = bench.encoder.answers(bench.prompt)
    golds = [record.label for record in bench.sample]
    budget, metric = recipe.training.tokens_per_microbatch, recipe.evaluation.primary_metric
    store_label_trees(runner, prompts, label_ids, f"{bench.name}: trunk of validation")

    def validate() -> Mapping[str, float]:
        sums, _ = score_labels(runner, prompts, label_ids, budget=budget)
        rule = make_rule("sum", bench.prompt.label_texts, sums)
        return judge(rule.log_probabilities(sums), golds, bench.prompt.labels, metric)

    history = _train(bench, objective, validate)
    sums, _ = score_labels(runner, prompts, label_ids, budget=budget)
    rules = recipe.evaluation.scoring_rules
    chosen = choose_rule(rules, bench.prompt.label_texts, sums, golds, bench.prompt.labels, metric)
    return history, {**chosen.rule.to_plain(), "tried": chosen.tried}


def _learn_a_head(bench: _Bench) -> tuple[History, None]:
    """Solve the head on frozen features, then train it with the layers unless only the head may learn."""
    shop, recipe, model = bench.shop, bench.recipe, bench.model
    started = time.perf_counter()
    place = {label: number for number, label in enumerate(model.labels)}
    records, texts = _fitting(bench, [bench.encoder.text(record.text) for record in shop.train])
    ids = [text.ids for text in texts]
    sample_ids = [bench.encoder.text(record.text).ids for record in bench.sample]
    labels = [record.label for record in records]
    classes, golds = [place[label] for label in labels], [record.label for record in bench.sample]
    weights = class_weights(recipe.training.class_weights, labels)
    store = shop.features(model.base)
    features = store.features(ids, f"{bench.name}: features of train")
    held_out = store.features(sample_ids, f"{bench.name}: features of validation")
    by_class = {place[label]: weight for label, weight in zip(labels, weights, strict=True)}
    chosen = choose_head((features, classes), (held_out, [place[gold] for gold in golds]), len(place), by_class)
    assert model.head is not None
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(chosen.head.weight))
        model.head.bias.copy_(torch.from_numpy(chosen.head.bias))
    metric = recipe.evaluation.primary_metric
    budget = recipe.training.tokens_per_microbatch
    if recipe.adaptation.method == "head":
        judged = judge(chosen.head.log_probabilities(held_out), golds, model.labels, metric)
        return _closed_form(len(ids), judged, time.perf_counter() - started), None
    if bench.trunk is not None:
        frozen = [TokenSequence(row, np.zeros(len(row), dtype=np.bool_)) for row in ids]
        bench.trunk.build(model.network, frozen, f"{bench.name}: trunk of train")
    objective = HeadObjective(
        model.network, model.base.kind, model.head, ids, classes, weights, model.autocast, bench.trunk
    )

    def validate() -> Mapping[str, float]:
        rows = head_log_probabilities(model, sample_ids, budget=budget)
        return judge(rows, golds, model.labels, metric)

    return _train(bench, objective, validate), None


def _train(bench: _Bench, objective: Objective, validate: Validate) -> History:
    return train_model(
        bench.recipe.training, bench.model, objective, seed=bench.recipe.seed, folder=bench.folder.checkpoints,
        validate=validate, observers=bench.shop.observers,
    )  # fmt: skip


def _judge(bench: _Bench, history: History, rule: Mapping[str, Any] | None) -> Evaluation:
    """The trained model on the whole validation split."""
    shop = bench.shop
    system = tuned_system(
        bench.model, HowAsked(bench.encoder, bench.prompt, rule), trained_on=f"{history.examples} examples",
        trunk=bench.trunk, observers=shop.observers,
        settings={"candidate": bench.name, "best_step": history.best_step, "stopped": history.stopped}
        | ({"tried": rule["tried"]} if rule else {}),
    )  # fmt: skip
    evaluation = evaluate_system(
        system, shop.validation, set_name="validation", labels=shop.data.labels, section=bench.recipe.evaluation,
        seed=shop.recipe.seed, observers=shop.observers,
    )  # fmt: skip
    write_evaluation(evaluation, bench.folder.evaluation / "validation")
    return evaluation


def _closed_form(examples: int, metrics: Mapping[str, float], seconds: float) -> History:
    row = ValidationRow(step=0, epoch=0.0, metrics=metrics, best=True)
    return History(
        steps=(), validations=(row,), best_step=0, stopped="closed form", seconds=seconds, examples=examples,
        tokens_computed=0, tokens_logical=0,
    )  # fmt: skip


def _fitting(bench: _Bench, encoded: Sequence[EncodedPrompt]) -> tuple[list[Choice], list[EncodedPrompt]]:
    """The training records that are used, by the policy for long texts, which is told with row numbers.

    Raises:
        DataError: the policy rejects every record.
    """
    shop, policy = bench.shop, bench.recipe.data.too_long
    pairs = list(zip(shop.train, encoded, strict=True))
    long = [record for record, each in pairs if each.cut]
    if not long:
        return list(shop.train), list(encoded)
    rows = ", ".join(str(record.row) for record in long[:SHOWN_ROWS]) + (", …" if len(long) > SHOWN_ROWS else "")
    done = "were left out" if policy == "reject" else "were cut"
    message = (
        f"{bench.name}: {len(long)} of {len(pairs)} training texts are longer than {bench.encoder.max_length} tokens "
        f"allow and {done} (data.too_long: {policy}; rows {rows})."
    )
    tell(shop.observers, Notice(topic="length", message=message))
    if policy == "reject":
        pairs = [(record, each) for record, each in pairs if not each.cut]
    if not pairs:
        raise DataError(
            "data.too_long", f"reject leaves none of {len(long)} training texts", "texts that fit",
            f"Raise training.max_length (now {bench.recipe.training.max_length}), or cut them.",
        )  # fmt: skip
    return [record for record, _ in pairs], [each for _, each in pairs]


def _line(row: object) -> str:
    return json.dumps(row, sort_keys=True) + "\n"
