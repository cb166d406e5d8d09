"""Rules of the fields that say how baselines choose: few-shot examples and the probe's depths. Called by `check.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe


def baseline_rules(recipe: Recipe) -> Iterator[Fault]:
    """Choices without an alternative, and fields that no system reads."""
    evaluation = recipe.evaluation
    few, path = evaluation.few_shot, ("evaluation", "few_shot", "selection")
    if not few.selection:
        fix = "Leave `few_shot` out of `evaluation.systems` to go without it."
        yield Fault(path, "is empty", "random, nearest or both", fix)
    yield from _twice(path, list(few.selection))
    if few.selection and "random" not in few.selection and few.seeds > 1:
        fix = "Nearest examples are not drawn. Remove it, or add `random`."
        yield Fault(("evaluation", "few_shot", "seeds"), "has no effect without random examples", "", fix)
    if not evaluation.probe_depths:
        fix = "Leave `probe` out of `evaluation.systems` to go without it."
        yield Fault(("evaluation", "probe_depths"), "is empty", "at least one share", fix)
    yield from _twice(("evaluation", "probe_depths"), [f"{share:g}" for share in evaluation.probe_depths])
    if recipe.task == "classification":
        # A resolved recipe writes every default out, and must load again: only another value is a choice.
        given = evaluation.probe_depths != type(evaluation)().probe_depths
        yield from _unread(recipe, "probe", ("evaluation", "probe_depths"), given=given)
    given = few.selection != type(few)().selection
    yield from _unread(recipe, "few_shot", path, given=given)


def _unread(recipe: Recipe, system: str, path: tuple[str, ...], *, given: bool) -> Iterator[Fault]:
    """A field of a system that is not measured."""
    if given and system not in recipe.evaluation.systems:
        fix = f"Remove it, or add `{system}` to the systems."
        yield Fault(path, f"has no effect without `{system}` in `evaluation.systems`", "", fix)


def _twice(path: tuple[str, ...], values: list[str]) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Fault(path, f"has '{value}' {count} times", "each once")
