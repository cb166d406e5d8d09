"""Memory and time of a run that learns to write or to read on.

Prompts are read like any other pass; their shared beginning counts once. Answers are written one token
a step for many prompts together, at the speed of products of that many rows; they are taken to be as
long as the training answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from metier.engine.tree import shared_length
from metier.engine.trunk import CHUNK_TOKENS
from metier.planning.cost import (
    FACTOR,
    LOGIT_BYTES,
    PROGRAM_BYTES,
    REPORT_SECONDS,
    Learner,
    Seconds,
    assumptions,
    disk_bytes,
    fixed_stage,
    learning_bytes,
    loading_stage,
    pass_stage,
)
from metier.planning.count import Tokens, count_training
from metier.planning.results import MemoryEstimate, Plan, StageEstimate
from metier.planning.taught import Taught
from metier.recipe.sections import Recipe

TURN_TOKENS = 16
"""What a chat template puts around an example's two turns."""
SHORT_EXAMPLE = 256
"""Few-shot takes examples of at most this many tokens, where there are enough."""
UNTRAINED = ("zero_shot", "few_shot")
"""Baselines that a language model answers."""


@dataclass(frozen=True, kw_only=True)
class Author(Learner):
    """One model that writes or reads on, and how a run uses it."""

    taught: Taught
    base: str
    """Hash of the base model's weights."""
    writing_flops_per_second: float
    """While answers are written together."""
    records: dict[str, int]
    """Records by split."""

    @property
    def examples(self) -> int:
        """Training examples: records, or windows of passages."""
        return self.taught.examples

    @property
    def asked_in_training(self) -> int:
        """Validation records that are looked at during training."""
        return min(self.recipe.training.validation_examples, self.records["validation"])

    @property
    def example_tokens(self) -> float:
        """Mean distinct tokens of a training example, its shared beginning left out."""
        sample = [_distinct([sequence.ids for sequence in each]) for each in self.taught.sample]
        return max(1.0, sum(sample) / max(1, len(sample)) - self.taught.shared)

    def read(self, split: str, count: int, *, longer_start: int = 0, answers: bool = True) -> Tokens:
        """One pass over some prompts with their right answers below them, or over passages; for their loss.

        Args:
            split: Where the records come from.
            count: How many.
            longer_start: Tokens that examples add to the shared beginning.
            answers: Whether the right answers are read; otherwise only prompts are.
        """
        shared, asked = self.taught.shared, self.taught.asked[split]
        answer = self.taught.answer if answers else 0.0
        predicted = (answer or asked - 1) if answers else 1.0
        own = max(1.0, asked - shared) + answer
        return Tokens(
            computed=shared + longer_start + count * own, logical=count * (asked + longer_start + answer),
            targets=count * predicted, length=asked + longer_start + answer,
        )  # fmt: skip

    def write(self, stage: str, what: str, split: str, count: int, *, longer_start: int = 0) -> StageEstimate:
        """Answers written to some prompts, then the loss of the right ones."""
        asked = self.read(split, count, longer_start=longer_start, answers=False)
        right = self.read(split, count, longer_start=longer_start)
        new = count * self.taught.answer
        written = Tokens(computed=new, logical=new, targets=new, length=asked.length + self.taught.answer / 2)
        slow = replace(self, flops_per_second=self.writing_flops_per_second)
        parts = [pass_stage(self, stage, what, each) for each in (asked, right)]
        return _together([*parts, pass_stage(slow, stage, what, written)])


def plan_writing(
    recipe: Recipe, candidates: Sequence[Author], base: Author, seconds: Seconds, available: int | None
) -> Plan:
    """Estimate a whole run of models that write.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        base: The candidate whose model the baselines use.
        seconds: What was measured; `tfidf` is what judging by retrieval took.
        available: Free bytes of memory; None where they are not known.
    """
    systems, evaluation = recipe.evaluation.systems, recipe.evaluation
    some = min(evaluation.selection_examples, base.records["validation"])
    shots = _shots(base, recipe)
    tried = len(evaluation.few_shot.k) * evaluation.few_shot.seeds
    stages = _beginning(seconds, len(candidates))
    if "nearest_answer" in systems and seconds.tfidf:
        stages.append(fixed_stage("baselines", "nearest_answer", seconds.tfidf))
    if "zero_shot" in systems:
        stages.append(base.write("baselines", f"zero_shot: {_answers(some)} of validation", "validation", some))
    if "few_shot" in systems:
        one = base.write("baselines", "", "validation", some, longer_start=shots)
        times = f", {tried} ways" if tried > 1 else ""
        what = f"few_shot: {_answers(some)} of validation{times}"
        stages.append(replace(_together([one] * tried), what=what))
    for candidate in candidates:
        stage = f"attempt {candidate.name}"
        stages += _training(candidate, stage)
        stages.append(candidate.write(stage, f"{_answers(some)} of validation", "validation", some))
    test = base.records["test"]
    for name in (name for name in UNTRAINED if name in systems):
        start = shots if name == "few_shot" else 0
        stages.append(base.write("test", f"{name}: {_answers(test)}", "test", test, longer_start=start))
    stages.append(_dearest([_tuned(candidate, recipe) for candidate in candidates]))
    most = base.taught.about.max_new_tokens
    said = f"answers are as long as the training answers ({base.taught.answer:.0f} tokens), though a base model that "
    said += f"does not stop writes {most} tokens"
    return _plan(stages, candidates, available, (*assumptions(candidates), said))


def plan_reading(
    recipe: Recipe, candidates: Sequence[Author], base: Author, seconds: Seconds, available: int | None
) -> Plan:
    """Estimate a whole run of models that read on.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        base: The candidate whose model the baselines use.
        seconds: What was measured.
        available: Free bytes of memory; None where they are not known.
    """
    stages = _beginning(seconds, len(candidates))
    validation, test = base.records["validation"], base.records["test"]
    some = min(recipe.evaluation.selection_examples, validation)
    asked = "zero_shot" in recipe.evaluation.systems
    if asked:
        what = f"zero_shot: {some:,} validation texts"
        stages.append(pass_stage(base, "baselines", what, base.read("validation", some)))
    for candidate in candidates:
        stage = f"attempt {candidate.name}"
        stages += _training(candidate, stage)
        stages.append(pass_stage(candidate, stage, "the validation texts", candidate.read("validation", validation)))
    if asked:
        stages.append(pass_stage(base, "test", "zero_shot", base.read("test", test)))
    tuned = []
    for candidate in candidates:
        sample = min(recipe.evaluation.train_examples, candidate.records["train"])
        what = "tuned, on test and a sample of train"
        parts = [candidate.read("test", test), candidate.read("train", sample)]
        tuned.append(_together([pass_stage(candidate, "test", what, each) for each in parts]))
    stages.append(_dearest(tuned))
    return _plan(stages, candidates, available, assumptions(candidates))


def _beginning(seconds: Seconds, candidates: int) -> list[StageEstimate]:
    return [fixed_stage("data", "reading and preparing", seconds.data), loading_stage(seconds, candidates)]


def _training(author: Author, stage: str) -> Iterator[StageEstimate]:
    """What is computed once, training, and the losses of a sample during it."""
    section, sample = author.recipe.training, author.asked_in_training
    held_out = author.read("validation", sample)
    if author.depth:
        what = f"lower {author.depth} blocks, computed once"
        own = author.examples * author.example_tokens
        chunks = own / max(1, CHUNK_TOKENS - author.taught.shared)
        tokens = Tokens(computed=own + chunks * author.taught.shared, logical=own, length=held_out.length)
        once = [
            pass_stage(author, stage, what, each, forward=author.depth)
            for each in (tokens, replace(held_out, targets=0.0))
        ]
        yield _together(once)
    yield author.training_stage(stage, count_training(author.taught.sample, section, author.sampler().stream))
    times = author.validations()
    what = f"{times} validation{'s' * (times > 1)} during training"
    yield pass_stage(author, stage, what, held_out.times(times), forward=author.shape.layers - author.depth)


def _tuned(author: Author, recipe: Recipe) -> StageEstimate:
    """The trained model on the test set and on a sample of train."""
    sample = min(recipe.evaluation.train_examples, author.records["train"])
    what = "tuned, on test and a sample of train"
    return _together(
        [author.write("test", what, "test", author.records["test"]), author.write("test", what, "train", sample)]
    )


def _plan(
    stages: Sequence[StageEstimate], candidates: Sequence[Author], available: int | None, said: tuple[str, ...]
) -> Plan:
    stages = [*stages, fixed_stage("report", "page, card and figures", REPORT_SECONDS)]
    memory = _memory(candidates)
    return Plan(
        stages=tuple(stages), seconds=sum(stage.seconds for stage in stages), factor=FACTOR, memory=memory,
        memory_bytes=memory.total, memory_available=available,
        cache_bytes=sum(_boundary_bytes(author) for author in candidates), disk_bytes=disk_bytes(candidates),
        flops_per_second=candidates[0].flops_per_second, assumptions=said,
    )  # fmt: skip


def _memory(candidates: Sequence[Author]) -> MemoryEstimate:
    """The dearest candidate's training or writing, while the base models that others need are loaded."""
    loaded = {author.base: author.shape.weight_bytes for author in candidates}
    return MemoryEstimate(
        program=PROGRAM_BYTES,
        weights=sum(loaded.values()) + max(author.shape.weight_bytes for author in candidates),
        learning=max(learning_bytes(author) for author in candidates),
        activations=max(_activations(author) for author in candidates),
        logits=max(_logits(author) for author in candidates),
        trunk=max(_boundary_bytes(author) for author in candidates),
        keys_values=max(_keys_values(author) for author in candidates),
    )


def _microbatch(author: Author) -> float:
    """Tokens of one forward and backward pass: as many as the budget, or one long sequence."""
    section = author.recipe.training
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    longest = max((len(sequence.ids) for each in author.taught.sample for sequence in each), default=1)
    return max(longest, min(section.tokens_per_microbatch, batch * (author.example_tokens + author.taught.shared)))


def _activations(author: Author) -> int:
    """What the blocks with a backward pass keep of one micro-batch."""
    blocks = author.shape.layers - author.depth
    return round(_microbatch(author) * blocks * author.shape.block_cells * author.shape.number_bytes)


def _logits(author: Author) -> int:
    """Scores over the whole vocabulary at every learned token of a micro-batch."""
    learned = sum(int(sequence.targets.sum()) for each in author.taught.sample for sequence in each)
    tokens = len(author.taught.sample) * (author.example_tokens + author.taught.shared)
    share = min(1.0, learned / max(1.0, tokens))
    cell = author.shape.number_bytes + LOGIT_BYTES
    return round(_microbatch(author) * share * author.shape.vocabulary * cell)


def _keys_values(author: Author) -> int:
    """Keys and values of all prompts and answers that are written together."""
    most = author.taught.about.max_new_tokens
    if most is None:
        return 0
    tokens = author.recipe.generation.batch_size * (max(author.taught.asked.values()) + most)
    return round(tokens * author.shape.layers * author.shape.attention_cells * author.shape.number_bytes)


def _boundary_bytes(author: Author) -> int:
    if not author.depth:
        return 0
    tokens = author.examples * author.example_tokens + author.read("validation", author.asked_in_training).computed
    return round(tokens * author.shape.hidden * author.shape.number_bytes)


def _shots(author: Author, recipe: Recipe) -> int:
    """Tokens of the most examples that few-shot puts before a prompt."""
    own = author.taught.asked["train"] - author.taught.shared + author.taught.answer
    return round(max(recipe.evaluation.few_shot.k) * (min(own, SHORT_EXAMPLE) + TURN_TOKENS))


def _together(parts: Sequence[StageEstimate]) -> StageEstimate:
    return replace(
        parts[0], tokens=sum(each.tokens for each in parts), logical_tokens=sum(each.logical_tokens for each in parts),
        flops=sum(each.flops for each in parts), seconds=sum(each.seconds for each in parts),
    )  # fmt: skip


def _dearest(stages: Sequence[StageEstimate]) -> StageEstimate:
    """Nobody knows yet which candidate it will be."""
    return max(stages, key=lambda stage: stage.seconds)


def _distinct(sequences: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> int:
    shared = sum(shared_length(before, after) for before, after in pairwise(sequences))
    return sum(map(len, sequences)) - shared


def _answers(count: int) -> str:
    return f"{count:,} answers"
