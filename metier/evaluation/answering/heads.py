"""Systems that answer with a linear head on pooled features: the probe on a frozen encoder, and a tuned head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from metier.data.records import Choice, Input
from metier.engine.features import FeatureStore
from metier.engine.texts import pooled, text_batches
from metier.engine.trunk import TrunkCache, stored_states
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer, Progress, tell, timed_part
from metier.model.adapt import AdaptedModel
from metier.model.encode import Encoder
from metier.model.head import LinearHead, choose_head
from metier.team import current_team

ALL_BLOCKS = "all blocks"
"""What the depth of the last hidden state is called."""


@dataclass(eq=False)
class FeatureHead:
    """A linear head on frozen features, which are computed once and stored."""

    name: str
    kind: str
    store: FeatureStore
    encoder: Encoder
    head: LinearHead
    labels: tuple[str, ...]
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The most probable label of each input, with the log-probability of every label."""
        if not inputs:
            return
        encoded = [self.encoder.text(given.text) for given in inputs]
        features = self.store.features([each.ids for each in encoded], self.name)
        rows = self.head.log_probabilities(features)
        for given, each, row in zip(inputs, encoded, rows, strict=True):
            answer = _answer(given, row, self.labels, each.cut, len(each.ids))
            yield replace(answer, seconds=self.store.seconds(each.ids))


@dataclass(eq=False)
class TunedHead:
    """An adapted model with a classification head."""

    name: str
    kind: str
    model: AdaptedModel
    encoder: Encoder
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    budget: int = 4096
    observers: Sequence[Observer] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The most probable label of each input, with the log-probability of every label."""
        if not inputs:
            return
        encoded = [self.encoder.text(given.text) for given in inputs]
        rows = head_log_probabilities(
            self.model, [each.ids for each in encoded], budget=self.budget, observers=self.observers, title=self.name
        )
        for given, each, row in zip(inputs, encoded, rows, strict=True):
            yield _answer(given, row, self.model.labels, each.cut, len(each.ids))


def head_log_probabilities(
    model: AdaptedModel,
    texts: Sequence[np.ndarray[Any, np.dtype[np.int64]]],
    *,
    budget: int,
    observers: Sequence[Observer] = (),
    title: str = "",
    trunk: TrunkCache | None = None,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Normalised log-probabilities of the classes, shape (N, C); arguments as `head_scores`."""
    scores = head_scores(model, texts, budget=budget, observers=observers, title=title, trunk=trunk)
    rows: np.ndarray[Any, np.dtype[np.float64]] = torch.log_softmax(torch.from_numpy(scores), dim=1).numpy()
    return rows


def head_scores(
    model: AdaptedModel,
    texts: Sequence[np.ndarray[Any, np.dtype[np.int64]]],
    *,
    budget: int,
    observers: Sequence[Observer] = (),
    title: str = "",
    trunk: TrunkCache | None = None,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the head says of each class, shape (N, C), for texts given as token ids.

    All processes of a team call it with the same texts; each computes its share.

    Args:
        model: A model with a head.
        texts: N arrays of ids.
        budget: Tokens of one batch.
        observers: Told about progress, when there is a title.
        title: Name of the progress bar.
        trunk: Holds the boundary states of all texts; None: all blocks are computed.
    """
    assert model.head is not None
    team, total = current_team(), len(texts)
    texts = [texts[number] for number in team.share(total)]
    result = np.zeros((len(texts), len(model.labels)))
    done = 0
    device = model.network.device
    for batch in text_batches(texts, budget):
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=model.autocast):
            features = pooled(model.network, batch, model.base.kind, stored_states(trunk, texts, batch), observers)
        with torch.no_grad():
            rows = model.head(features).double()
        result[list(batch.numbers)] = rows.cpu().numpy()
        done += len(batch.numbers)
        if title:
            tell(observers, Progress(label=title, done=done, total=len(texts)))
    return team.put_together(result, total)


def build_probe(material: Material) -> FeatureHead:
    """The row `probe` of `SYSTEMS`: logistic regression on an encoder that nobody trained for this.

    How deep in the encoder the features are taken, and how strongly the regression is held back, validation chooses.
    """
    stores: Mapping[str, FeatureStore] = material.extras["probe_stores"]
    encoder: Encoder = material.extras["probe_encoder"]
    place = {label: number for number, label in enumerate(material.labels)}

    def ids(records: Sequence[Choice]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        return [encoder.text(record.text).ids for record in records]

    known = [record for record in material.validation if record.label in place]
    asked, held_ids = ids(material.train), ids(known)
    classes = [[place[record.label] for record in records] for records in (material.train, known)]
    found = {}
    for depth, store in stores.items():
        train = store.features(asked, f"probe: train after {depth}")
        held_out = store.features(held_ids, f"probe: validation after {depth}")
        with timed_part(material.observers, "solving"):
            found[depth] = choose_head((train, classes[0]), (held_out, classes[1]), len(material.labels))
    depth = min(found, key=lambda each: found[each].losses[found[each].strength])
    chosen = found[depth]
    parameters = int(material.extras["probe_parameters"]) + chosen.head.weight.size + chosen.head.bias.size
    where = "" if depth == ALL_BLOCKS else f" after {depth}"
    return FeatureHead(
        name="probe",
        kind=f"frozen features of {material.extras['probe_name']}{where}, logistic regression",
        store=stores[depth],
        encoder=encoder,
        head=chosen.head,
        labels=material.labels,
        parameters=parameters,
        bytes=parameters * 4,
        trained_on=f"{len(material.train)} examples",
        settings={
            "depth": depth,
            "C": chosen.strength,
            "chosen_on": f"validation loss, n = {len(known)}",
            "tried": {
                f"{each}, C={strength:g}": loss
                for each, head in found.items()
                for strength, loss in head.losses.items()
            },
        },
    )


def _answer(
    given: Input, row: np.ndarray[Any, np.dtype[np.float64]], labels: Sequence[str], cut: bool, tokens: int
) -> Answer:
    return Answer(
        id=given.id,
        label=labels[int(row.argmax())],
        label_logprobs=dict(zip(labels, map(float, row), strict=True)),
        tokens=tokens,
        reason="cut" if cut else None,
    )
