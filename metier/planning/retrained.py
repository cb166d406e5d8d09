"""What `evaluation.folds` and `evaluation.seeds` add to a plan: the same work over other rows, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from metier.planning.cost import Learner, Rows, fixed_stage
from metier.planning.outlook import StageEstimate
from metier.recipe.sections import Recipe

FOLDS, SEEDS = "folds", "seeds"
LOADINGS = 2
"""Models that one more seed loads: the base model to train, and what was trained to answer."""
L = TypeVar("L", bound=Learner)


@dataclass(frozen=True, kw_only=True)
class Ways(Generic[L]):
    """How the work of one task is estimated."""

    candidates: Sequence[L]
    attempt: Callable[[L], Iterable[StageEstimate]]
    """Training and validating one candidate on its rows."""
    answers: Callable[[L], StageEstimate]
    """The trained model on its test rows."""
    baselines: Callable[[Rows], Iterable[StageEstimate]]
    """Setting all baselines up on some rows and asking them others, where features that are stored are read."""


def rows_of_fold(rows: Rows, folds: int, share: float) -> Rows:
    """The rows of one fold as a run deals them.

    Args:
        rows: Of the run.
        folds: How many folds there are.
        share: Of the rows outside of a fold that choices are made on (`data.validation_size`).
    """
    asked = max(1, round(rows.every / folds))
    outside = rows.every - asked
    held = max(1, round(outside * share))
    return Rows(train=max(1, outside - held), validation=held, test=asked)


def fold_stages(recipe: Recipe, ways: Ways[L], rows: Rows) -> Iterator[StageEstimate]:
    """Everything that folds do in place of opening a test set: trainings, answers to all rows, one more training.

    What frozen layers compute of a row is stored once for all folds.

    Args:
        recipe: With `evaluation.folds`.
        ways: How its work is estimated.
        rows: Of the run.
    """
    folds = recipe.evaluation.folds
    assert folds is not None
    fold = rows_of_fold(rows, folds, recipe.data.validation_size)
    for stage in ways.baselines(fold):
        yield _again(stage, FOLDS, folds)
    held_out = max(1, min(rows.every, folds * fold.validation) - rows.validation)
    unread = Rows(train=max(1, rows.every - rows.train), validation=held_out, test=1)
    for candidate in ways.candidates:
        once = [stage for stage in ways.attempt(candidate.with_rows(unread)) if stage.part == "trunk"]
        yield from (_part(stage, FOLDS, f"{candidate.name}: {stage.what}, the other rows") for stage in once)
        for stage in ways.attempt(candidate.with_rows(fold)):
            if stage.part != "trunk":
                yield _again(replace(stage, what=f"{candidate.name}: {stage.what}"), FOLDS, folds)
    whole = [candidate.with_rows(replace(rows, train=rows.every, test=rows.every)) for candidate in ways.candidates]
    answers = max((ways.answers(candidate) for candidate in whole), key=_seconds)
    yield _part(answers, FOLDS, f"every row answered by what was trained without it, {rows.every:,} rows")
    trainings = [
        stage for candidate in whole for stage in ways.attempt(candidate) if stage.part in ("training", "solving")
    ]
    if trainings:
        last = max(trainings, key=_seconds)
        yield _part(last, FOLDS, f"the model that is kept, on all rows: {last.what}")


def seed_stages(recipe: Recipe, ways: Ways[L], loading: float) -> Iterator[StageEstimate]:
    """The trainings with other seeds, as long as that of the dearest candidate, and their answers.

    What frozen layers compute is stored, and a head that starts a training is solved already.

    Args:
        recipe: With `evaluation.seeds`.
        ways: How its work is estimated.
        loading: Seconds that loading one model takes.
    """
    more = recipe.evaluation.seeds - 1
    if more < 1:
        return
    attempts = [(candidate, list(ways.attempt(candidate))) for candidate in ways.candidates]
    dearest, stages = max(attempts, key=lambda attempt: sum(map(_seconds, attempt[1])))
    for stage in (*(each for each in stages if each.part in ("training", "validation")), ways.answers(dearest)):
        yield _again(stage, SEEDS, more)
    yield fixed_stage(SEEDS, f"loading models, {LOADINGS * more} times", LOADINGS * more * loading)


def _again(stage: StageEstimate, part: str, times: int) -> StageEstimate:
    """The same work so many times."""
    more = replace(
        stage, tokens=stage.tokens * times, logical_tokens=stage.logical_tokens * times, flops=stage.flops * times,
        seconds=stage.seconds * times, low=stage.low * times, high=stage.high * times,
    )  # fmt: skip
    return _part(more, part, f"{times} times {stage.what}")


def _part(stage: StageEstimate, part: str, what: str) -> StageEstimate:
    return replace(stage, stage=part, part=part, what=what)


def _seconds(stage: StageEstimate) -> float:
    return stage.seconds
