"""What a plan says of looking at answers: counting them, closer looks, and asking again in other words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from metier.planning.cost import Rows, Seconds, fixed_stage
from metier.planning.outlook import StageEstimate
from metier.recipe.look_rules import CHANGES_OF, OF_THE_PROMPT
from metier.recipe.sections import Recipe
from metier.recipe.tasks import LISTS, WRITES

AskedAgain = Callable[[int, str], StageEstimate]
"""From a number of test records, and what is done in words, to what answering them once takes."""
Answering = Literal["in words", "with a head", "in writing"]


def counting_stages(recipe: Recipe, rows: Rows, candidates: int, seconds: Seconds) -> Iterator[StageEstimate]:
    """Counting answers with intervals, and the closer looks; nothing of what was not measured.

    With folds both lie in the folds, which train for minutes where this takes a second.

    Args:
        recipe: What is asked for.
        rows: Records by split.
        candidates: How many there are.
        seconds: `gauged` has what one answer takes.
    """
    if recipe.evaluation.folds is not None:
        return
    one, look = seconds.gauged.get("judging"), seconds.gauged.get("looks")
    judged = _judged(recipe, rows)
    if one is not None:
        answers = _counted(recipe, rows, candidates)
        yield fixed_stage("judging", f"{answers:,} answers counted, with intervals", answers * one)
    if look is not None:
        yield fixed_stage("looks", f"trust and slices of {judged:,} answers", judged * look)


def robustness_stages(recipe: Recipe, rows: Rows, how: Answering, ask: AskedAgain) -> Iterator[StageEstimate]:
    """Some test records asked again for each change of wording; nothing with folds, or where no change is made.

    Args:
        recipe: What is asked for.
        rows: Records by split.
        how: The dearest candidate's answers.
        ask: What asking it takes.
    """
    items, changes = _asked_again(recipe, rows), changes_of(recipe)
    if recipe.evaluation.folds is not None or not items:
        return
    of_the_prompt = [change for change in changes if change in OF_THE_PROMPT]
    made = len(changes) - (0 if how == "in words" else len(of_the_prompt))
    if made:
        yield ask(made * items, f"{items:,} records again, {made} change{'s' * (made > 1)} of wording")


def changes_of(recipe: Recipe) -> tuple[str, ...]:
    """The changes of wording that a run makes: the recipe's, or those of its task.

    Args:
        recipe: What is asked for.
    """
    asked = recipe.evaluation.robustness
    return CHANGES_OF.get(recipe.task, ()) if asked is None else tuple(dict.fromkeys(asked))


def _judged(recipe: Recipe, rows: Rows) -> int:
    """Records of the set that the verdict is about."""
    return rows.validation if recipe.evaluation.split == "validation" else rows.test


def _asked_again(recipe: Recipe, rows: Rows) -> int:
    return min(recipe.evaluation.robustness_items, _judged(recipe, rows))


def _counted(recipe: Recipe, rows: Rows, candidates: int) -> int:
    """Answers that are counted: of baselines on two sets, of candidates on validation, of the promoted one on all."""
    section = recipe.evaluation
    some = min(section.selection_examples, rows.validation)
    validated = some if recipe.task in WRITES or recipe.task in LISTS else rows.validation
    train = min(section.train_examples, rows.train)
    again = len(changes_of(recipe)) * _asked_again(recipe, rows)
    return (
        len(section.systems) * (some + _judged(recipe, rows)) + candidates * validated + _judged(recipe, rows)
        + train + again
    )  # fmt: skip
