"""Examples in a prompt: drawn at random for all inputs alike, or for each input those most like it.

Random examples stand at the same place before every input, so that the engine computes them once. Nearest examples
differ by input and are computed for each: what they cost is why few are tried on a part of validation first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from metier.data.records import Choice, Input
from metier.device import derive_seed
from metier.errors import DataError
from metier.evaluation.answering.text_index import NearestExamples
from metier.evaluation.systems import Material
from metier.events import Notice, tell
from metier.model.encode import Encoder

Shots = tuple[tuple[str, str], ...]
"""Examples as what is asked and what is answered."""
ShotsFor = Callable[[Sequence[Input]], list[Shots]]
"""From inputs to the examples of each, the most alike last: next to the question."""
SHOT_TOKENS = 96
"""Few-shot examples of labels are drawn among texts of at most this many tokens, where there are enough; a nearest
example that is longer is cut to them."""
TURN_TOKENS = 16
"""Room for an example's answer and for what a chat template puts around it."""
FIRST_PART = 3
"""Ways with nearest examples are first tried on one part in so many of the selection records; the best goes on."""
LEAST_FIRST = 8
"""No first part is smaller: below that, chance decides."""

W = TypeVar("W")


@dataclass(frozen=True)
class NearestLabelled:
    """For each input its nearest training texts with their labels, each cut to its share of the room."""

    examples: NearestExamples
    encoder: Encoder
    k: int
    most: int
    """Tokens of one example's text."""

    def __call__(self, inputs: Sequence[Input]) -> list[Shots]:
        """The examples of each input, the most alike last."""
        return [
            tuple((self.encoder.cut(record.text, self.most), record.gold) for record in reversed(shown))
            for shown in self._records(inputs)
        ]

    def cuts(self, inputs: Sequence[Input]) -> bool:
        """Whether any example of these inputs is cut."""
        texts = {record.text for shown in self._records(inputs) for record in shown}
        return any(self.encoder.cut(text, self.most) != text for text in texts)

    def _records(self, inputs: Sequence[Input]) -> list[list[Any]]:
        near = self.examples.places(inputs, self.k)
        return [[self.examples.records[place] for place in places] for places in near]


def share_of(room: int, k: int) -> int:
    """Tokens that each of `k` examples may have in `room` tokens, and no more than `SHOT_TOKENS`."""
    return max(1, min(SHOT_TOKENS, room // k - TURN_TOKENS))


def draw_shots(material: Material, encoder: Encoder, k: int, draw: int) -> list[tuple[str, str]]:
    """`k` training examples as text and label: labels in turn, in an order that is a function of the seed."""
    rng = np.random.default_rng(derive_seed(material.seed, "few_shot", k, draw))
    order: list[Choice] = [material.train[int(number)] for number in rng.permutation(len(material.train))]
    short = [record for record in order if len(encoder.tokenizer(record.text)["input_ids"]) <= SHOT_TOKENS]
    pool = short if len(short) >= k else order
    labels = [material.labels[int(number)] for number in rng.permutation(len(material.labels))]
    by_label = {label: [record for record in pool if record.label == label] for label in labels}
    shots: list[tuple[str, str]] = []
    while len(shots) < k and any(by_label.values()):
        for label in labels:
            if by_label[label] and len(shots) < k:
                shots.append((by_label[label].pop().text, label))
    return shots


def fit_shots(shots: Sequence[tuple[str, str]], encoder: Encoder, room: int) -> list[tuple[str, str]]:
    """The examples, each cut to an equal share of `room` tokens where together they are longer than that."""
    lengths = [len(encoder.tokenizer(text)["input_ids"]) + TURN_TOKENS for text, _ in shots]
    if sum(lengths) <= room:
        return list(shots)
    share = max(1, room // len(shots) - TURN_TOKENS)
    return [(encoder.cut(text, share), label) for text, label in shots]


def nearest_examples(material: Material, records: Sequence[Any]) -> NearestExamples | None:
    """Training records to be found by likeness; None, told once, where they cannot be and random ones are tried too.

    Args:
        material: What is wanted.
        records: Those that may be shown.

    Raises:
        DataError: They cannot be compared, and nothing else is to be tried.
    """
    try:
        return NearestExamples(records)
    except DataError as fault:
        if list(material.section.few_shot.selection) == ["nearest"]:
            raise
        message = f"few_shot: nearest examples are not tried: {fault.where} {fault.found}."
        tell(material.observers, Notice(topic="baselines", message=message))
        return None


def first_part(records: int, ways: int) -> int:
    """Selection records on which several costly ways are tried before the best goes on to all.

    Args:
        records: All of them.
        ways: How many ways there are; one alone needs no first part.
    """
    return records if ways < 2 else min(records, max(LEAST_FIRST, -(-records // FIRST_PART)))
