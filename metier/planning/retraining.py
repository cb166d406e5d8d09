"""What `metier check` says about small data, folds and seeds: what they would show, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator

from metier.data.prepared import PreparedData
from metier.planning.results import PayingJudgement
from metier.recipe.sections import Recipe

SMALL = 1000
"""Rows below which folds are proposed (rule 7 of the evidence)."""
LARGE = 10_000
"""Rows above which they are never proposed: they would cost more than the rows that they add say."""
FAR = 3.0
"""How often the smallest useful gain goes into what the test set can show, for it to be far from enough."""
PROPOSED = 5


def retraining_sentences(
    recipe: Recipe, data: PreparedData, paying: PayingJudgement | None, ways: int
) -> tuple[str, ...]:
    """Sentences about folds and seeds; none where there is nothing to say.

    Args:
        recipe: As it is.
        data: Prepared.
        paying: Whether training can pay, where that was judged.
        ways: Candidates.
    """
    return tuple(_sentences(recipe, data, paying, ways))


def rows_judged(recipe: Recipe, data: PreparedData) -> int:
    """Records that the verdict is about: of the test set, or all where the recipe asks for folds.

    Args:
        recipe: As it is.
        data: Prepared.
    """
    return len(data.test) if recipe.evaluation.folds is None else _rows(data)


def _sentences(recipe: Recipe, data: PreparedData, paying: PayingJudgement | None, ways: int) -> Iterator[str]:
    folds, seeds, rows = recipe.evaluation.folds, recipe.evaluation.seeds, _rows(data)
    if folds is not None:
        trainings = ways * folds + ways + 1
        yield (
            f"Folds: every one of {rows:,} rows is a test row once (evaluation.folds: {folds}). That takes {trainings} "
            "trainings over one store of lower layers, the last of them on all rows."
        )
    elif (why := _why_folds(recipe, data, paying)) is not None:
        trainings = ways * PROPOSED + ways + 1
        yield (
            f"Small data: {why}. `evaluation.folds: {PROPOSED}` would make each of {rows:,} rows a test row once and "
            f"train the kept model on all of them, for {trainings} trainings in place of {ways}."
        )
    if seeds > 1:
        yield f"Seeds: the promoted candidate is trained {seeds - 1} more times (evaluation.seeds)."


def _why_folds(recipe: Recipe, data: PreparedData, paying: PayingJudgement | None) -> str | None:
    """Why folds would show more; None where they would not, or cannot be had."""
    rows, judged, useful = _rows(data), len(data.test), recipe.evaluation.smallest_useful_gain
    if data.card.splits["test"].official or recipe.data.time is not None or recipe.evaluation.split != "test":
        return None
    if rows < SMALL:
        return f"the test set is {judged:,} of {rows:,} rows"
    shown = None if paying is None else paying.smallest_gain
    if shown is not None and rows < LARGE and 0 < FAR * useful < shown:
        return f"{judged:,} test rows can show gains of {shown:.2f} or more, and one of {useful:.2f} would be useful"
    return None


def _rows(data: PreparedData) -> int:
    return sum(map(len, (data.train, data.validation, data.test)))
