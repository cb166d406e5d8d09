"""Learning to choose among labels: in words, or with a head on features."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from metier.data.records import Choice
from metier.data.splits import choices
from metier.engine.forward import TreeRunner
from metier.engine.score import score_labels
from metier.engine.tree import TokenSequence
from metier.evaluation.answering.heads import head_log_probabilities
from metier.evaluation.answering.language_model import store_label_trees
from metier.evaluation.answering.scoring import choose_rule, judge, make_rule
from metier.events import timed_part
from metier.model.encode import EncodedPrompt
from metier.model.head import choose_head
from metier.model.prompt import PromptFormat
from metier.stages.bench import Bench, Learned, fitting_records, train
from metier.training.history import History, ValidationRow
from metier.training.objective import HeadObjective, LanguageObjective, class_weights


def learn_labels(bench: Bench) -> Learned:
    """Train a model that answers with a label."""
    return _learn_in_words(bench) if bench.model.head is None else _learn_a_head(bench)


def _sample(bench: Bench) -> list[Choice]:
    """The validation records that are looked at during training."""
    known = [record for record in choices(bench.shop.validation) if record.label in bench.shop.data.labels]
    return known[: bench.recipe.training.validation_examples]


def _learn_in_words(bench: Bench) -> Learned:
    """Train a model that answers in words, then choose its scoring rule on validation."""
    shop, recipe, model, prompt = bench.shop, bench.recipe, bench.model, bench.prompt
    assert isinstance(prompt, PromptFormat)
    answers = dict(zip(prompt.labels, bench.encoder.answers(prompt), strict=True))
    asked = [bench.encoder.prompt(prompt, record.text) for record in shop.taught]
    records, encoded, places = _fitting(bench, asked)
    sequences = [
        TokenSequence.of(each.ids.tolist(), answers[record.label].tolist())
        for each, record in zip(encoded, records, strict=True)
    ]
    runner = TreeRunner(model.network, bench.trunk, shop.observers, autocast=model.autocast)
    if bench.trunk is not None and runner.probe(sequences[:2]):
        bench.trunk.build(model.network, sequences, f"{bench.name}: trunk of train")
    by_label = class_weights(recipe.training.class_weights, [record.label for record in records])
    objective = LanguageObjective(runner, [(each,) for each in sequences], bench.weighed(by_label, places))
    sample = _sample(bench)
    prompts = [bench.encoder.prompt(prompt, record.text).ids for record in sample]
    label_ids = bench.encoder.answers(prompt)
    golds = [record.label for record in sample]
    budget, metric = recipe.training.tokens_per_microbatch, bench.metric
    store_label_trees(runner, prompts, label_ids, f"{bench.name}: trunk of validation")

    def validate() -> Mapping[str, float]:
        sums, _ = score_labels(runner, prompts, label_ids, budget=budget)
        rule = make_rule("sum", prompt.label_texts, sums)
        return judge(rule.log_probabilities(sums), golds, prompt.labels, metric)

    history = train(bench, objective, validate, runner.trunk)
    sums, _ = score_labels(runner, prompts, label_ids, budget=budget)
    rules = recipe.evaluation.scoring_rules
    chosen = choose_rule(rules, prompt.label_texts, sums, golds, prompt.labels, metric)
    return Learned(history=history, rule={**chosen.rule.to_plain(), "tried": chosen.tried})


def _learn_a_head(bench: Bench) -> Learned:
    """Solve the head on frozen features, then train it with the layers unless only the head may learn."""
    shop, recipe, model = bench.shop, bench.recipe, bench.model
    started = time.perf_counter()
    place = {label: number for number, label in enumerate(model.labels)}
    sample = _sample(bench)
    records, texts, places = _fitting(bench, [bench.encoder.text(record.text) for record in shop.taught])
    ids = [text.ids for text in texts]
    sample_ids = [bench.encoder.text(record.text).ids for record in sample]
    labels = [record.label for record in records]
    classes, golds = [place[label] for label in labels], [record.label for record in sample]
    by_label = class_weights(recipe.training.class_weights, labels)
    own = None if shop.own_weights is None else bench.weighed([1.0] * len(labels), places)
    store = shop.features(model.base)
    features = store.features(ids, f"{bench.name}: features of train")
    held_out = store.features(sample_ids, f"{bench.name}: features of validation")
    by_class = {place[label]: weight for label, weight in zip(labels, by_label, strict=True)}
    apart = {record.id for record in sample}
    with timed_part(shop.observers, "solving"):
        chosen = choose_head(
            (features, classes), (held_out, [place[gold] for gold in golds]), len(place), by_class, own,
            seen=[record.id in apart for record in records],
        )  # fmt: skip
    assert model.head is not None
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(chosen.head.weight))
        model.head.bias.copy_(torch.from_numpy(chosen.head.bias))
    metric, budget = bench.metric, recipe.training.tokens_per_microbatch
    if recipe.adaptation.method == "head":
        judged = judge(chosen.head.log_probabilities(held_out), golds, model.labels, metric)
        return Learned(history=closed_form(len(ids), judged, time.perf_counter() - started))
    if bench.trunk is not None:
        frozen = [TokenSequence(row, np.zeros(len(row), dtype=np.bool_)) for row in (*ids, *sample_ids)]
        bench.trunk.build(model.network, frozen, f"{bench.name}: trunk of train and validation")
    objective = HeadObjective(
        model.network, model.base.kind, model.head, ids, classes, bench.weighed(by_label, places), model.autocast,
        bench.trunk, bench.shop.observers,
    )  # fmt: skip

    def validate() -> Mapping[str, float]:
        rows = head_log_probabilities(model, sample_ids, budget=budget, trunk=bench.trunk)
        return judge(rows, golds, model.labels, metric)

    return Learned(history=train(bench, objective, validate, bench.trunk))


def _fitting(bench: Bench, encoded: Sequence[EncodedPrompt]) -> tuple[list[Choice], list[EncodedPrompt], list[int]]:
    """The training records that are used, by the policy for long texts, and their places among all."""
    places = fitting_records(bench, [each.cut for each in encoded])
    records = choices(bench.shop.taught)
    return [records[place] for place in places], [encoded[place] for place in places], places


def closed_form(examples: int, metrics: Mapping[str, float], seconds: float) -> History:
    """The history of a head that was solved and not trained.

    Args:
        examples: Training records that it was solved on.
        metrics: How it did on validation.
        seconds: What it took.
    """
    row = ValidationRow(step=0, epoch=0.0, metrics=metrics, best=True)
    return History(
        steps=(), validations=(row,), best_step=0, stopped="closed form", seconds=seconds, examples=examples,
        tokens_computed=0, tokens_logical=0,
    )  # fmt: skip
