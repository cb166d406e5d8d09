"""Learning any number of labels for a text: in writing, as a list, or with a head on features."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from metier.engine.tree import TokenSequence
from metier.evaluation.answering.heads import head_scores
from metier.evaluation.answering.set_rules import Floats, choose_set_rule, indicators, sets_of
from metier.events import timed_part
from metier.model.set_head import choose_set_head, label_chances, set_loss, set_scores
from metier.stages.bench import Bench, Learned, fitting_records, train
from metier.stages.labelling import closed_form
from metier.stages.writing import learn_to_write
from metier.training.objective import HeadObjective


def learn_label_sets(bench: Bench) -> Learned:
    """Train a model that answers with any number of labels."""
    return learn_to_write(bench) if bench.model.head is None else _learn_a_head(bench)


def _learn_a_head(bench: Bench) -> Learned:
    """Solve the head on frozen features, then train it with the layers unless only the head may learn.

    The threshold from which on a label is answered is chosen at the end, on all of validation.
    """
    shop, recipe, model = bench.shop, bench.recipe, bench.model
    assert model.head is not None
    started = time.perf_counter()
    texts = [bench.encoder.text(record.text) for record in shop.taught]
    places = fitting_records(bench, [each.cut for each in texts])
    ids, records = [texts[place].ids for place in places], [shop.taught[place] for place in places]
    held = shop.validation
    held_ids = [bench.encoder.text(record.text).ids for record in held]
    gold, wanted = indicators(sets_of(records), model.labels), indicators(sets_of(held), model.labels)
    own = None if shop.own_weights is None else np.array(bench.weighed([1.0] * len(places), places))
    store = shop.features(model.base)
    features = store.features(ids, f"{bench.name}: features of train")
    held_features = store.features(held_ids, f"{bench.name}: features of validation")
    with timed_part(shop.observers, "solving"):
        apart = {record.id for record in held}
    chosen = choose_set_head(
        (features, gold), (held_features, wanted), own, seen=[record.id in apart for record in records]
    )
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(chosen.head.weight))
        model.head.bias.copy_(torch.from_numpy(chosen.head.bias))
    if recipe.adaptation.method == "head":
        scores = set_scores(chosen.head, held_features)
        rule, judged = _judged(bench, scores, wanted)
        return Learned(history=closed_form(len(ids), judged, time.perf_counter() - started), rule=rule)
    budget = recipe.training.tokens_per_microbatch
    sample = held_ids[: recipe.training.validation_examples]
    if bench.trunk is not None:
        frozen = [TokenSequence(row, np.zeros(len(row), dtype=np.bool_)) for row in (*ids, *held_ids)]
        bench.trunk.build(model.network, frozen, f"{bench.name}: trunk of train and validation")
    objective = HeadObjective(
        model.network, model.base.kind, model.head, ids, gold.astype(np.float32).tolist(),
        bench.weighed([1.0] * len(ids), places), model.autocast, bench.trunk, bench.shop.observers,
    )  # fmt: skip

    def validate() -> Mapping[str, float]:
        scores = head_scores(model, sample, budget=budget, trunk=bench.trunk)
        return _judged(bench, scores, wanted[: len(sample)])[1]

    history = train(bench, objective, validate, bench.trunk)
    return Learned(history=history, rule=_judged(bench, head_scores(model, held_ids, budget=budget), wanted)[0])


def _judged(bench: Bench, scores: Floats, wanted: Floats) -> tuple[Mapping[str, Any], Mapping[str, float]]:
    """The rule that is best for some scores, and what there is to say about them: the metric under it, and the loss."""
    chances, labels = label_chances(scores), bench.model.labels
    golds = sets_of(bench.shop.validation[: len(wanted)])
    never_none = all(record.labels for record in bench.shop.taught)
    chosen = choose_set_rule(chances, golds, labels, bench.metric, never_none=never_none)
    rule = {**chosen.rule.to_plain(), "tried": chosen.tried}
    return rule, {bench.metric: chosen.score, "loss": set_loss(scores, wanted)}
