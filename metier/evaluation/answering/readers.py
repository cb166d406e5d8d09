"""Systems that read on: how probable a language model finds passages, base and tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.records import Input, Record
from metier.engine.forward import TreeRunner
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer
from metier.model.encode import Encoder
from metier.model.passages import passage_sequences


@dataclass(eq=False)
class Reader:
    """A language model over passages: it answers nothing, and gives every passage a probability."""

    name: str
    kind: str
    runner: TreeRunner
    encoder: Encoder
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    budget: int = 2048
    observers: Sequence[Observer] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """No answers: a passage asks nothing."""
        for given in inputs:
            yield Answer(id=given.id, label=None, stop="none")

    def target_logprobs(self, records: Sequence[Record]) -> list[tuple[float, int] | None]:
        """Log-probability of each passage and its predicted tokens, end of text included."""
        cut = [passage_sequences(self.encoder, record.text) for record in records]
        flat = [TokenSequence(ids, targets) for windows in cut for ids, targets in windows]
        scored = iter(
            target_log_probabilities(
                self.runner, flat, budget=self.budget, observers=self.observers, title=f"{self.name}: passages"
            )
        )
        found: list[tuple[float, int] | None] = []
        for windows in cut:
            parts = [next(scored) for _ in windows]
            found.append((sum(part for part, _ in parts), sum(tokens for _, tokens in parts)) if parts else None)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadingGround:
    """A base language model over passages."""

    name: str
    runner: TreeRunner
    encoder: Encoder
    parameters: int
    bytes: int
    budget: int


def build_reading_zero_shot(material: Material) -> Reader:
    """The base model as it is."""
    ground: ReadingGround = material.extras["ground"]
    return Reader(
        name="zero_shot", kind="base model", runner=ground.runner, encoder=ground.encoder,
        parameters=ground.parameters, bytes=ground.bytes, trained_on="no examples", settings={"model": ground.name},
        budget=ground.budget, observers=material.observers,
    )  # fmt: skip
