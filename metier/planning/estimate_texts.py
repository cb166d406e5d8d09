"""Memory and time of a run that learns to write or to read on.

Prompts are read like any other pass; their shared beginning counts once. Answers are written one token
a step for many prompts together, at the pace of that; they are taken to be as long as the training answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from metier.engine.tree import shared_length
from metier.engine.trunk import CHUNK_TOKENS
from metier.planning.ablation import TUNED
from metier.planning.cost import (
    REPORT_SECONDS,
    Learner,
    Seconds,
    Work,
    assumptions,
    chosen_moments,
    disk_bytes,
    first_part,
    fixed_stage,
    learning_bytes,
    loading_stages,
    microbatch,
    pass_stage,
)
from metier.planning.count import Tokens, count_training
from metier.planning.outlook import MemoryEstimate, Plan, StageEstimate
from metier.planning.taught import Taught
from metier.planning.whole import Found, Ground, put_together
from metier.recipe.sections import Recipe

READ, PROMPT, WRITE = Work(kind="read"), Work(kind="prompt"), Work(kind="write")
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

    def read(
        self, split: str, count: int, *, longer_start: int = 0, longer_each: int = 0, answers: bool = True
    ) -> Tokens:
        """One pass over some prompts with their right answers below them, or over passages; for their loss.

        Args:
            split: Where the records come from.
            count: How many.
            longer_start: Tokens that examples add to the shared beginning.
            longer_each: Tokens that examples add to each prompt.
            answers: Whether the right answers are read; otherwise only prompts are.
        """
        shared, asked = self.taught.shared, self.taught.asked[split]
        answer = self.taught.answer if answers else 0.0
        predicted = (answer or asked - 1) if answers else 1.0
        own = max(1.0, asked - shared) + longer_each + answer
        length = asked + longer_start + longer_each + answer
        return Tokens(
            computed=shared + longer_start + count * own, logical=count * length, targets=count * predicted,
            length=length,
        )  # fmt: skip

    def write(
        self, stage: str, what: str, split: str, count: int, *, longer: tuple[int, int] = (0, 0), part: str = ""
    ) -> StageEstimate:
        """Answers written to some prompts, then the loss of the right ones.

        Args:
            stage: Part of the run.
            what: The work, in words.
            split: Where the records come from.
            count: How many.
            longer: Tokens that examples add to the shared beginning, and to each prompt.
            part: Part of the run; empty where the stage says it.
        """
        asked = self.read(split, count, longer_start=longer[0], longer_each=longer[1], answers=False)
        right = self.read(split, count, longer_start=longer[0], longer_each=longer[1])
        new = count * self.taught.answer
        written = Tokens(computed=new, logical=new, targets=new, length=asked.length + self.taught.answer / 2)
        parts = ((asked, PROMPT), (right, READ), (written, WRITE))
        return _together([pass_stage(self, stage, what, tokens, replace(work, part=part)) for tokens, work in parts])


def plan_writing(recipe: Recipe, candidates: Sequence[Author], base: Author, seconds: Seconds, ground: Ground) -> Plan:
    """Estimate a whole run of models that write.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        base: The candidate whose model the baselines use.
        seconds: What was measured; `tfidf` is what judging by retrieval took.
        ground: What the machine says.
    """
    systems, evaluation = recipe.evaluation.systems, recipe.evaluation
    some = min(evaluation.selection_examples, base.records["validation"])
    shots = _shots(base, recipe)
    nearest = "nearest" in evaluation.few_shot.selection
    stages = _beginning(seconds, len(candidates))
    if "nearest_answer" in systems and seconds.tfidf:
        stages.append(fixed_stage("baselines", "nearest_answer", seconds.tfidf))
    if "zero_shot" in systems:
        stages.append(base.write("baselines", f"zero_shot: {_answers(some)} of validation", "validation", some))
    if "few_shot" in systems:
        stages += _few_shot(base, recipe, some, shots)
    for candidate in candidates:
        stage = f"attempt {candidate.name}"
        stages += _training(candidate, stage)
        what = f"{_answers(some)} of validation"
        stages.append(candidate.write(stage, what, "validation", some, part="validation"))
    test = base.records["test"]
    for name in (name for name in UNTRAINED if name in systems):
        longer = (0, 0) if name != "few_shot" else (0, shots) if nearest else (shots, 0)
        stages.append(base.write("test", f"{name}: {_answers(test)}", "test", test, longer=longer))
    stages.append(_dearest([_tuned(candidate, recipe) for candidate in candidates]))
    most = base.taught.about.max_new_tokens
    said = f"answers are as long as the training answers ({base.taught.answer:.0f} tokens), though a base model that "
    said += f"does not stop writes {most} tokens"
    return _plan(recipe, stages, candidates, seconds, ground, (*assumptions(candidates), said))


def _few_shot(base: Author, recipe: Recipe, some: int, shots: int) -> Iterator[StageEstimate]:
    """Examples at random, computed once for all inputs, and nearest ones, computed for each: some on a first part."""
    few = recipe.evaluation.few_shot
    if "random" in few.selection:
        tried = len(few.k) * few.seeds
        one = base.write("baselines", "", "validation", some, longer=(shots, 0))
        times = f", {tried} ways" if tried > 1 else ""
        yield replace(_together([one] * tried), what=f"few_shot: {_answers(some)} of validation{times}")
    if "nearest" in few.selection:
        every = some + first_part(some, len(few.k)) * (len(few.k) - 1)
        what = f"few_shot with the nearest examples: {_answers(every)} of validation"
        yield base.write("baselines", what, "validation", every, longer=(0, shots))


def plan_reading(recipe: Recipe, candidates: Sequence[Author], base: Author, seconds: Seconds, ground: Ground) -> Plan:
    """Estimate a whole run of models that read on.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        base: The candidate whose model the baselines use.
        seconds: What was measured.
        ground: What the machine says.
    """
    stages = _beginning(seconds, len(candidates))
    validation, test = base.records["validation"], base.records["test"]
    some = min(recipe.evaluation.selection_examples, validation)
    asked = "zero_shot" in recipe.evaluation.systems
    if asked:
        what = f"zero_shot: {some:,} validation texts"
        stages.append(pass_stage(base, "baselines", what, base.read("validation", some), READ))
    for candidate in candidates:
        stage = f"attempt {candidate.name}"
        stages += _training(candidate, stage)
        judged = candidate.read("validation", validation)
        stages.append(pass_stage(candidate, stage, "the validation texts", judged, replace(READ, part="validation")))
    if asked:
        stages.append(pass_stage(base, "test", "zero_shot", base.read("test", test), READ))
    tuned = []
    for candidate in candidates:
        sample = min(recipe.evaluation.train_examples, candidate.records["train"])
        parts = [candidate.read("test", test), candidate.read("train", sample)]
        tuned.append(_together([pass_stage(candidate, "test", TUNED, each, READ) for each in parts]))
    stages.append(_dearest(tuned))
    return _plan(recipe, stages, candidates, seconds, ground, assumptions(candidates))


def _beginning(seconds: Seconds, candidates: int) -> list[StageEstimate]:
    return [fixed_stage("data", "reading and preparing", seconds.data), loading_stages(seconds, candidates)[0]]


def _training(author: Author, stage: str) -> Iterator[StageEstimate]:
    """What is computed once, training, and the losses of a sample during it."""
    section, sample = author.recipe.training, author.asked_in_training
    held_out = author.read("validation", sample)
    if author.depth:
        what = f"lower {author.depth} blocks, computed once"
        own = author.examples * author.example_tokens
        chunks = own / max(1, CHUNK_TOKENS - author.taught.shared)
        tokens = Tokens(computed=own + chunks * author.taught.shared, logical=own, length=held_out.length)
        work = replace(READ, part="trunk", forward=author.depth, bare=True)
        both = (tokens, replace(held_out, targets=0.0))
        yield _together([pass_stage(author, stage, what, each, work) for each in both])
    yield author.training_stage(stage, count_training(author.taught.sample, section, author.sampler().stream))
    times = author.validations()
    what = f"{times} validation{'s' * (times > 1)} during training"
    judged = replace(READ, part="validation", forward=author.shape.layers - author.depth)
    yield pass_stage(author, stage, what, held_out.times(times), judged)


def _tuned(author: Author, recipe: Recipe) -> StageEstimate:
    """The trained model on the test set and on a sample of train."""
    sample = min(recipe.evaluation.train_examples, author.records["train"])
    return _together(
        [author.write("test", TUNED, "test", author.records["test"]), author.write("test", TUNED, "train", sample)]
    )


def _plan(
    recipe: Recipe,
    stages: Sequence[StageEstimate],
    candidates: Sequence[Author],
    seconds: Seconds,
    ground: Ground,
    said: tuple[str, ...],
) -> Plan:
    found = Found(
        stages=(
            *stages, loading_stages(seconds, len(candidates))[1],
            fixed_stage("report", "page, card and figures", REPORT_SECONDS),
        ),
        moments=_moments(candidates, seconds), cache_bytes=sum(_boundary_bytes(author) for author in candidates),
        disk_bytes=disk_bytes(candidates), assumptions=said,
    )  # fmt: skip
    return put_together(recipe, found, candidates[0].rates, ground)


def _moments(candidates: Sequence[Author], seconds: Seconds) -> tuple[MemoryEstimate, ...]:
    """Memory while base models answer, while the dearest candidate learns, and while it answers on the test set."""
    program, baselines = seconds.program_bytes, seconds.tfidf_bytes
    weights = sum({author.base: author.base_bytes for author in candidates}.values())
    answering = max(_answering_bytes(author) for author in candidates)
    written = max(_keys_values(author) for author in candidates)
    before = MemoryEstimate(
        moment="baselines", program=program, weights=weights, logits=answering, keys_values=written,
        baselines=baselines,
    )  # fmt: skip
    trained = [_training_moment(author, weights, program) for author in candidates]
    test = MemoryEstimate(
        moment="test", program=program, weights=0, logits=answering, keys_values=written,
        trunk=max(_boundary_bytes(author) for author in candidates), baselines=baselines,
    )  # fmt: skip
    learned = max(trained, key=lambda moment: moment.total)
    return (before, learned, *chosen_moments(candidates, program, test))


def _training_moment(author: Author, loaded: int, program: int) -> MemoryEstimate:
    weights = loaded
    if author.plan is not None and author.plan.weights:
        weights += author.shape.weight_bytes - author.base_bytes  # what learns takes the place of the base
    pace, tokens = author.rates.pace("train"), _microbatch(author)
    beside = round(pace.bytes(tokens, 0))
    return MemoryEstimate(
        program=program, weights=weights, learning=learning_bytes(author), logits=beside,
        activations=round(pace.bytes(tokens, author.shape.layers - author.depth)) - beside,
        trunk=_boundary_bytes(author),
    )  # fmt: skip


def _answering_bytes(author: Author) -> int:
    """While right answers or passages are read."""
    pace = author.rates.pace("read")
    return round(pace.bytes(pace.tokens, author.shape.layers))


def _microbatch(author: Author) -> float:
    """Tokens of the largest forward and backward pass."""
    longest = max((len(sequence.ids) for each in author.taught.sample for sequence in each), default=1)
    return microbatch(author.recipe.training, author.example_tokens, longest)


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
