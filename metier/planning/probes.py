"""Passes of a run as they are measured on a shortened model: the run's own code over the run's own texts.

A probe gets a model and gives a piece of work; the work runs once a call and says how many tokens it computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from metier.engine.forward import TreeRunner
from metier.engine.generate import generate
from metier.engine.sampling import Decoding
from metier.engine.score import score_labels, target_log_probabilities
from metier.engine.texts import pooled, text_batches
from metier.engine.tree import Ints, TokenSequence
from metier.model.adapt import AdaptedModel
from metier.model.base import BaseModel
from metier.recipe.sections import TrainingSection
from metier.training.objective import HeadObjective, LanguageObjective, Objective

FEATURE_BUDGET = 4096
"""Tokens of a batch of features, padding included, as the feature store has them."""
TEXTS = 64
"""Most texts of a probe."""
PARTS = 2
"""Micro-batches of an optimiser step that are measured."""
STEPS = 48
"""Tokens that are written to measure a step: from here on even bfloat16 packs its weights."""
ROWS = 32
"""Most answers that are written together while that is measured."""


@dataclass(frozen=True)
class Short:
    """A shortened model as a probe gets it."""

    base: BaseModel
    model: AdaptedModel | None
    """With what learns in it; None for the model of a baseline."""

    @property
    def runner(self) -> TreeRunner:
        """Runs it over token trees; on its first tree it finds out, as in a run, what this family allows."""
        cast = self.model is not None and self.model.autocast
        return TreeRunner(self.base.network, None, (), autocast=cast)


@dataclass(frozen=True)
class Passed:
    """What one run of a piece of work computed."""

    tokens: float
    largest: float
    """Tokens of its largest pass."""


Work = Callable[[], Passed]
"""Runs once."""
Probe = Callable[[Short], Work]


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What is measured of one candidate or baseline."""

    by_kind: Mapping[str, Probe]
    """Kind of pass, as `Rates.paces` names it, and how it is run."""
    lengths: Mapping[str, float] = field(default_factory=dict)
    """Mean length of the texts of each kind."""
    about: Sequence[object] = ()
    """What the probes read, as plain values: part of the key under which their results are kept."""


def train_words(examples: Sequence[Sequence[TokenSequence]], section: TrainingSection) -> Probe:
    """Forward and backward passes of an optimiser step of a model that answers in words.

    Args:
        examples: As the training objective gets them.
        section: Batch and budget.
    """

    def probe(short: Short) -> Work:
        objective = LanguageObjective(short.runner, examples, [1.0] * len(examples))
        return _step(objective, section)

    return probe


def train_head(texts: Sequence[Ints], classes: int, section: TrainingSection) -> Probe:
    """The same of a model with a classification head.

    Args:
        texts: Training texts as token ids.
        classes: Number of labels.
        section: Batch and budget.
    """

    def probe(short: Short) -> Work:
        model = short.model
        assert model is not None and model.head is not None
        gold = [number % classes for number in range(len(texts))]
        objective = HeadObjective(
            model.network, model.base.kind, model.head, texts, gold, [1.0] * len(texts), model.autocast
        )
        return _step(objective, section)

    return probe


def _step(objective: Objective, section: TrainingSection) -> Work:
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    numbers = list(range(min(batch, len(objective))))

    def work() -> Passed:
        tokens = []
        for part in objective.parts(numbers, section.tokens_per_microbatch):
            part.loss.backward()  # type: ignore[no-untyped-call]
            tokens.append(part.computed)
            if len(tokens) == PARTS:
                break
        return Passed(max(1, sum(tokens)), max(tokens, default=1))

    return work


def score(prompts: Sequence[Ints], labels: Sequence[Ints], budget: int) -> Probe:
    """All labels under prompts.

    Args:
        prompts: As token ids.
        labels: As token ids.
        budget: Distinct tokens of a pass.
    """

    def probe(short: Short) -> Work:
        runner = short.runner

        def work() -> Passed:
            tokens = score_labels(runner, prompts, labels, budget=budget)[1]
            return Passed(tokens, min(tokens, budget))

        return work

    return probe


def features(texts: Sequence[Ints]) -> Probe:
    """One vector for each text.

    Args:
        texts: As token ids.
    """

    def probe(short: Short) -> Work:
        def work() -> Passed:
            batches = text_batches(texts, FEATURE_BUDGET)
            with torch.no_grad():
                for batch in batches:
                    pooled(short.base.network, batch, short.base.kind)
            return Passed(sum(map(len, texts)), max(batch.tokens for batch in batches))

        return work

    return probe


def read(sequences: Sequence[TokenSequence], budget: int, tokens: int) -> Probe:
    """The loss of right answers or passages.

    Args:
        sequences: With targets.
        budget: Distinct tokens of a pass.
        tokens: Distinct tokens in all.
    """

    def probe(short: Short) -> Work:
        runner = short.runner

        def work() -> Passed:
            target_log_probabilities(runner, sequences, budget=budget)
            return Passed(tokens, min(tokens, budget))

        return work

    return probe


def write(prompts: Sequence[Ints], steps: int, budget: int, tokens: int) -> Probe:
    """Answers of `steps` tokens to prompts that are written together; one token is chosen while prompts are read.

    Args:
        prompts: As token ids.
        steps: Tokens of each answer.
        budget: Distinct tokens of a pass over prompts.
        tokens: Distinct tokens of the prompts.
    """

    def probe(short: Short) -> Work:
        runner = short.runner
        decoding = Decoding(max_new_tokens=steps, stop_ids=frozenset(), batch_size=len(prompts))

        def work() -> Passed:
            generate(runner, prompts, decoding, budget=budget)
            return Passed(tokens if steps == 1 else len(prompts) * (steps - 1), min(tokens, budget))

        return work

    return probe
