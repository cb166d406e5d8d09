"""Systems that answer any number of labels with a linear head: the probe on a frozen encoder, and a tuned head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metier.data.records import Input, Labelling
from metier.engine.features import FeatureStore
from metier.evaluation.answering.heads import head_scores
from metier.evaluation.answering.set_rules import SetRule, choose_set_rule, indicators, sets_of
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer, timed_part
from metier.model.adapt import AdaptedModel
from metier.model.encode import EncodedPrompt, Encoder
from metier.model.head import LinearHead
from metier.model.set_head import choose_set_head, label_chances, set_scores


@dataclass(eq=False)
class FeatureSets:
    """A linear head for several labels on frozen features, which are computed once and stored."""

    name: str
    kind: str
    store: FeatureStore
    encoder: Encoder
    head: LinearHead
    rule: SetRule
    labels: tuple[str, ...]
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The labels that reach the threshold."""
        if not inputs:
            return
        encoded = [self.encoder.text(given.text) for given in inputs]
        chances = label_chances(set_scores(self.head, self.store.features([each.ids for each in encoded], self.name)))
        for given, each, text in zip(inputs, encoded, self.rule.texts(chances, self.labels), strict=True):
            yield replace(_answer(given, each, text), seconds=self.store.seconds(each.ids))


@dataclass(eq=False)
class TunedSets:
    """An adapted model with a head for several labels."""

    name: str
    kind: str
    model: AdaptedModel
    encoder: Encoder
    rule: SetRule
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    budget: int = 4096
    observers: Sequence[Observer] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The labels that reach the threshold."""
        if not inputs:
            return
        encoded = [self.encoder.text(given.text) for given in inputs]
        scores = head_scores(
            self.model, [each.ids for each in encoded], budget=self.budget, observers=self.observers, title=self.name
        )
        texts = self.rule.texts(label_chances(scores), self.model.labels)
        for given, each, text in zip(inputs, encoded, texts, strict=True):
            yield _answer(given, each, text)


def _answer(given: Input, encoded: EncodedPrompt, text: str) -> Answer:
    return Answer(id=given.id, label=text, tokens=len(encoded.ids), reason="cut" if encoded.cut else None)


def build_probe(material: Material) -> FeatureSets:
    """The row `probe` of `LABEL_SET_SYSTEMS`: logistic regressions on an encoder that nobody trained for this."""
    store: FeatureStore = material.extras["probe_store"]
    encoder: Encoder = material.extras["probe_encoder"]
    labels, metric = material.labels, material.section.primary_metric

    def features(records: Sequence[Labelling], title: str) -> np.ndarray[Any, np.dtype[Any]]:
        return store.features([encoder.text(record.text).ids for record in records], title)

    sets, golds = sets_of(material.train), sets_of(material.validation)
    held_out = features(material.validation, "probe: features of validation")
    train = (features(material.train, "probe: features of train"), indicators(sets, labels))
    with timed_part(material.observers, "solving"):
        chosen = choose_set_head(train, (held_out, indicators(golds, labels)))
    chances = label_chances(set_scores(chosen.head, held_out))
    rule = choose_set_rule(chances, golds, labels, metric, never_none=all(sets))
    parameters = int(material.extras["probe_parameters"]) + chosen.head.weight.size + chosen.head.bias.size
    return FeatureSets(
        name="probe",
        kind=f"frozen features of {material.extras['probe_name']}, a logistic regression for each label",
        store=store,
        encoder=encoder,
        head=chosen.head,
        rule=rule.rule,
        labels=labels,
        parameters=parameters,
        bytes=parameters * 4,
        trained_on=f"{len(material.train)} examples",
        settings={
            "C": chosen.strength,
            "threshold": rule.rule.threshold,
            "chosen_on": f"validation loss, and {metric} for the threshold, n = {len(golds)}",
            "tried": {f"C={strength:g}": loss for strength, loss in chosen.losses.items()},
        },
    )
