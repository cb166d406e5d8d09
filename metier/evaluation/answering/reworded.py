"""A language model asked in other words: every input under one of several prompts, which one its id decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.records import Input
from metier.device import derive_seed
from metier.evaluation.answering.language_model import LabelScorer
from metier.evaluation.answering.scoring import Rule
from metier.evaluation.closer.perturbations import instruction_variants, option_orders
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions

WAYS = 3
"""Other prompts that inputs are dealt to: one alone might be unlucky, and each has to be computed."""


@dataclass(eq=False)
class Reworded:
    """One model under several prompts."""

    scorers: Sequence[LabelScorer]
    """The same model, each with a prompt of its own; at least one."""
    seed: int

    @property
    def name(self) -> str:
        """That of the model."""
        return self.scorers[0].name

    @property
    def kind(self) -> str:
        """What the model is."""
        return self.scorers[0].kind

    @property
    def parameters(self) -> int | None:
        """Of the model."""
        return self.scorers[0].parameters

    @property
    def bytes(self) -> int | None:
        """Of the model."""
        return self.scorers[0].bytes

    @property
    def trained_on(self) -> str:
        """What the model saw."""
        return self.scorers[0].trained_on

    @property
    def settings(self) -> Mapping[str, Any]:
        """The hashes of the prompts."""
        return {"prompts": [scorer.prompt.hash for scorer in self.scorers]}

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input, in order, each under the prompt that its id is dealt to."""
        dealt: list[list[Input]] = [[] for _ in self.scorers]
        for given in inputs:
            dealt[derive_seed(self.seed, "reworded", given.id) % len(self.scorers)].append(given)
        answers: dict[str, Answer] = {}
        for scorer, some in zip(self.scorers, dealt, strict=True):
            answers |= {answer.id: answer for answer in (scorer.answer(some, options) if some else ())}
        yield from (answers[given.id] for given in inputs)


def with_other_instructions(scorer: LabelScorer, seed: int) -> Reworded:
    """The model, its instruction said in other ways.

    Args:
        scorer: As it was asked.
        seed: Of the run.
    """
    prompt = scorer.prompt
    others = instruction_variants(prompt.instruction)[1 : WAYS + 1]
    return Reworded([replace(scorer, prompt=replace(prompt, instruction=words)) for words in others], seed)


def with_other_orders(scorer: LabelScorer, seed: int) -> Reworded | None:
    """The model, the labels of its prompt listed in other orders; None where the prompt lists none.

    Args:
        scorer: As it was asked.
        seed: Of the run.
    """
    prompt, rule = scorer.prompt, scorer.rule
    orders = option_orders(prompt.labels, WAYS + 1, seed=seed)[1:]
    if not prompt.list_labels or not orders:
        return None
    words = dict(zip(prompt.labels, prompt.label_texts, strict=True))
    scorers = []
    for order in orders:
        places = [prompt.labels.index(label) for label in order]
        other = replace(prompt, labels=order, label_texts=tuple(words[label] for label in order))
        turned = Rule(rule.name, rule.divisors[places], rule.offsets[places])
        scorers.append(replace(scorer, prompt=other, rule=turned))
    return Reworded(scorers, seed)
