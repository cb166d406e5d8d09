"""Memory and time of a run that learns to write or to read on.

Prompts are read like any other pass; their shared beginning counts once. Answers are written one token
a step for many prompts together, at the pace of that; they are taken to be as long as the training answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from metier.engine.trunk import CHUNK_TOKENS
from metier.planning.ablation import TUNED
from metier.planning.author import READ, Author, together
from metier.planning.cost import (
    REPORT_SECONDS,
    Rows,
    Seconds,
    assumptions,
    chosen_moments,
    disk_bytes,
    first_part,
    first_stages,
    fitted_stages,
    fixed_stage,
    learning_bytes,
    loading_stages,
    pass_stage,
    reading_back_bytes,
)
from metier.planning.count import Tokens, count_training, largest_pass
from metier.planning.looked import AskedAgain, counting_stages, robustness_stages
from metier.planning.outlook import MemoryEstimate, Plan, StageEstimate
from metier.planning.retrained import Ways, fold_stages, seed_stages
from metier.planning.whole import Found, Ground, put_together
from metier.recipe.sections import Recipe

TURN_TOKENS = 16
"""What a chat template puts around an example's two turns."""
SHORT_EXAMPLE = 256
"""Few-shot takes examples of at most this many tokens, where there are enough."""
UNTRAINED = ("zero_shot", "few_shot")
"""Baselines that a language model answers."""


def plan_writing(recipe: Recipe, candidates: Sequence[Author], base: Author, seconds: Seconds, ground: Ground) -> Plan:
    """Estimate a whole run of models that write.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        base: The candidate whose model the baselines use.
        seconds: What was measured; `tfidf` is what judging by retrieval took.
        ground: What the machine says.
    """

    def attempt(author: Author) -> Iterator[StageEstimate]:
        some = min(recipe.evaluation.selection_examples, author.records["validation"])
        stage, what = f"attempt {author.name}", f"{_answers(some)} of validation"
        yield from _training(author, stage)
        yield author.write(stage, what, "validation", some, part="validation")

    def again(records: int, what: str) -> StageEstimate:
        return _dearest([one.write("robustness", what, "test", records) for one in candidates])

    task = _Task(
        baselines=lambda rows: written_baselines(recipe, base.with_rows(rows)), attempt=attempt,
        answers=lambda author: author.write("test", TUNED, "test", author.records["test"]),
        tuned=_dearest([_tuned(candidate, recipe) for candidate in candidates]), again=again,
    )  # fmt: skip
    most = base.taught.about.max_new_tokens
    said = f"answers are as long as the training answers ({base.taught.answer:.0f} tokens), though a base model that "
    said += f"does not stop writes {most} tokens"
    return _plan(recipe, task, candidates, seconds, ground, (*assumptions(candidates), said))


def written_baselines(recipe: Recipe, base: Author) -> Iterator[StageEstimate]:
    """The language model before training: set up on validation, then on the test set.

    Args:
        recipe: The run's recipe.
        base: The model, over its rows.
    """
    systems, evaluation = recipe.evaluation.systems, recipe.evaluation
    some, test = min(evaluation.selection_examples, base.records["validation"]), base.records["test"]
    shots, nearest = _shots(base, recipe), "nearest" in evaluation.few_shot.selection
    if "zero_shot" in systems:
        yield base.write("baselines", f"zero_shot: {_answers(some)} of validation", "validation", some)
    if "few_shot" in systems:
        yield from _few_shot(base, recipe, some, shots)
    for name in (name for name in UNTRAINED if name in systems):
        longer = (0, 0) if name != "few_shot" else (0, shots) if nearest else (shots, 0)
        yield base.write("test", f"{name}: {_answers(test)}", "test", test, longer=longer)


def _few_shot(base: Author, recipe: Recipe, some: int, shots: int) -> Iterator[StageEstimate]:
    """Examples at random, computed once for all inputs, and nearest ones, computed for each: some on a first part."""
    few = recipe.evaluation.few_shot
    if "random" in few.selection:
        tried = len(few.k) * few.seeds
        one = base.write("baselines", "", "validation", some, longer=(shots, 0))
        times = f", {tried} ways" if tried > 1 else ""
        yield replace(together([one] * tried), what=f"few_shot: {_answers(some)} of validation{times}")
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

    def baselines(rows: Rows) -> Iterator[StageEstimate]:
        if "zero_shot" in recipe.evaluation.systems:
            some = min(recipe.evaluation.selection_examples, rows.validation)
            what = f"zero_shot: {some:,} validation texts"
            yield pass_stage(base, "baselines", what, base.read("validation", some), READ)
            yield pass_stage(base, "test", "zero_shot", base.read("test", rows.test), READ)

    def attempt(author: Author) -> Iterator[StageEstimate]:
        stage, judged = f"attempt {author.name}", author.read("validation", author.records["validation"])
        yield from _training(author, stage)
        yield pass_stage(author, stage, "the validation texts", judged, replace(READ, part="validation"))

    def answers(author: Author) -> StageEstimate:
        return pass_stage(author, "test", TUNED, author.read("test", author.records["test"]), READ)

    tuned = []
    for candidate in candidates:
        sample = min(recipe.evaluation.train_examples, candidate.records["train"])
        seen = pass_stage(candidate, "test", TUNED, candidate.read("train", sample), READ)
        tuned.append(together([answers(candidate), seen]))
    task = _Task(baselines=baselines, attempt=attempt, answers=answers, tuned=_dearest(tuned))
    return _plan(recipe, task, candidates, seconds, ground, assumptions(candidates))


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
        yield together([pass_stage(author, stage, what, each, work) for each in both])
    yield author.training_stage(stage, count_training(author.taught.sample, section, author.sampler().stream))
    times = author.validations()
    what = f"{times} validation{'s' * (times > 1)} during training"
    judged = replace(READ, part="validation", forward=author.shape.layers - author.depth)
    yield pass_stage(author, stage, what, held_out.times(times), judged)


def _tuned(author: Author, recipe: Recipe) -> StageEstimate:
    """The trained model on the test set and on a sample of train."""
    sample = min(recipe.evaluation.train_examples, author.records["train"])
    return together(
        [author.write("test", TUNED, "test", author.records["test"]), author.write("test", TUNED, "train", sample)]
    )


def _plan(
    recipe: Recipe,
    task: _Task,
    candidates: Sequence[Author],
    seconds: Seconds,
    ground: Ground,
    said: tuple[str, ...],
) -> Plan:
    rows, (loading, again) = candidates[0].rows, loading_stages(seconds, len(candidates))
    fitted = fitted_stages(recipe, seconds)

    def within(fold: Rows) -> Iterator[StageEstimate]:
        share = fold.train / max(1, rows.train)
        yield from (fixed_stage("baselines", stage.what, stage.seconds * share) for stage in fitted)
        yield from task.baselines(fold)

    ways = Ways(candidates=candidates, attempt=task.attempt, answers=task.answers, baselines=within)
    before = list(task.baselines(rows))
    stages = [*first_stages(seconds), loading, *fitted, *(stage for stage in before if stage.stage == "baselines")]
    for candidate in candidates:
        stages += task.attempt(candidate)
    if recipe.evaluation.folds is not None:
        stages += fold_stages(recipe, ways, rows)
    else:
        stages += [again, *(stage for stage in before if stage.stage == "test"), task.tuned]
        if task.again is not None:
            stages += robustness_stages(recipe, rows, "in writing", task.again)
    stages += [
        *counting_stages(recipe, rows, len(candidates), seconds),
        *seed_stages(recipe, ways, seconds.loading / max(1, len(candidates))),
        fixed_stage("report", "page, card and figures", REPORT_SECONDS),
    ]
    found = Found(
        stages=tuple(stages), moments=_moments(candidates, seconds),
        cache_bytes=sum(_boundary_bytes(author) for author in candidates), disk_bytes=disk_bytes(candidates),
        assumptions=said,
    )  # fmt: skip
    return put_together(recipe, found, candidates[0].rates, ground)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """How the work of one task is estimated."""

    baselines: Callable[[Rows], Iterable[StageEstimate]]
    """The language model before training, on some rows."""
    attempt: Callable[[Author], Iterable[StageEstimate]]
    answers: Callable[[Author], StageEstimate]
    """The trained model on its test rows."""
    tuned: StageEstimate
    """The dearest trained model on the test set and a sample of train."""
    again: AskedAgain | None = None
    """Test records asked once more; None where nothing is asked."""


def _moments(candidates: Sequence[Author], seconds: Seconds) -> tuple[MemoryEstimate, ...]:
    """Memory while base models answer, while the dearest candidate learns and answers, and on the test set."""
    program, baselines = seconds.program_bytes, seconds.tfidf_bytes
    weights = sum({author.base: author.base_bytes for author in candidates}.values())
    answering = max(candidates, key=lambda author: _writing_bytes(author, 0, 0).total)
    before = replace(_writing_bytes(answering, program, weights), moment="baselines", baselines=baselines)
    trained = [_training_moment(author, weights, program) for author in candidates]
    validated = []
    for author, moment in zip(candidates, trained, strict=True):
        asked = _writing_bytes(author, program, moment.weights + reading_back_bytes(author))
        validated.append(replace(asked, moment="validation", learning=moment.learning, trunk=moment.trunk))
    test = replace(
        _writing_bytes(answering, program, 0), moment="test", baselines=baselines,
        trunk=max(_boundary_bytes(author) for author in candidates),
    )  # fmt: skip
    learned, asked = (max(moments, key=lambda moment: moment.total) for moments in (trained, validated))
    return (before, learned, asked, *chosen_moments(candidates, program, test))


def _writing_bytes(author: Author, program: int, weights: int) -> MemoryEstimate:
    """While right answers are read, and answers are written from packed weights."""
    return MemoryEstimate(
        program=program, weights=weights, logits=answering_bytes(author), keys_values=_keys_values(author),
        packed=author.packed if author.taught.about.max_new_tokens is not None else 0,
    )  # fmt: skip


def _training_moment(author: Author, loaded: int, program: int) -> MemoryEstimate:
    weights = loaded
    if author.plan is not None and author.plan.weights:
        weights += author.shape.weight_bytes - author.base_bytes  # what learns takes the place of the base
    pace, tokens = author.rates.pace("train"), largest_pass(author.taught.sample, author.recipe.training)
    beside = round(pace.bytes(tokens, 0))
    return MemoryEstimate(
        program=program, weights=weights, learning=learning_bytes(author), logits=beside,
        activations=round(pace.bytes(tokens, author.shape.layers - author.depth)) - beside,
        trunk=_boundary_bytes(author),
    )  # fmt: skip


def answering_bytes(author: Author) -> int:
    """Bytes while right answers or passages are read.

    Args:
        author: The model.
    """
    pace = author.rates.pace("read")
    return round(pace.bytes(pace.tokens, author.shape.layers))


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


def _dearest(stages: Sequence[StageEstimate]) -> StageEstimate:
    """Nobody knows yet which candidate it will be."""
    return max(stages, key=lambda stage: stage.seconds)


def _answers(count: int) -> str:
    return f"{count:,} answers"
