"""Rules of the closer looks: which changes of wording fit a task, and gates on what is not looked at.

Called by `check.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe

CHANGES_OF: Mapping[str, tuple[str, ...]] = {
    "classification": ("typos", "lower_case", "no_punctuation"),
    "multilabel": ("typos", "lower_case", "no_punctuation"),
}
"""Task -> the changes of wording that are made where the recipe says nothing; none for a task without a row."""
OF_THE_PROMPT = ("instruction", "option_order")
"""Changes of the prompt around labels, not of the text."""
SAME_LENGTH = ("lower_case", "upper_case")
"""Changes that leave every character in its place, as answers that point into the text need it."""
WITH_PROBABILITIES = ("classification",)
"""Tasks whose answers have probabilities."""


def look_rules(recipe: Recipe) -> Iterator[Fault]:
    """Changes, columns and gates that do not fit the task or each other."""
    yield from _changes(recipe)
    yield from _probabilities(recipe)
    evaluation = recipe.evaluation
    for name in dict.fromkeys(evaluation.slice_columns):
        if not name.strip():
            yield Fault(("evaluation", "slice_columns"), "names an empty column", "columns of the data")
    looked_at = (*evaluation.slices, *evaluation.slice_columns)
    for kind in recipe.gates.largest_gap:
        if kind not in looked_at:
            found = "is no kind of slice that is looked at"
            fix = "Name it in `evaluation.slices` or `evaluation.slice_columns`."
            yield Fault(("gates", "largest_gap", kind), found, f"one of {', '.join(looked_at) or 'none'}", fix)


def _changes(recipe: Recipe) -> Iterator[Fault]:
    asked, task = recipe.evaluation.robustness, recipe.task
    path = ("evaluation", "robustness")
    for change in dict.fromkeys(asked or ()):
        if task == "text":
            yield Fault(path, f"has '{change}', but with `task: text` nothing is asked", "", "Remove it.")
        elif change in OF_THE_PROMPT and task != "classification":
            found = f"has '{change}', which does not fit `task: {task}`"
            yield Fault(path, found, "changes of the text, such as typos", "Remove it.")
        elif task == "extraction" and change not in SAME_LENGTH:
            found = f"has '{change}', which moves the characters that the answers point at"
            yield Fault(path, found, " or ".join(SAME_LENGTH))
    if _says_more(recipe, "robustness_items") and not (CHANGES_OF.get(task, ()) if asked is None else asked):
        fix = "Name changes in `evaluation.robustness`, or remove it."
        yield Fault(("evaluation", "robustness_items"), "has no effect: nothing is asked again", "", fix)


def _probabilities(recipe: Recipe) -> Iterator[Fault]:
    if recipe.task in WITH_PROBABILITIES:
        return
    for field in ("calibrate", "promise_accuracy", "promise_confidence"):
        if _says_more(recipe, field):
            found = f"has no effect with `task: {recipe.task}`, whose answers have no probabilities"
            yield Fault(("evaluation", field), found, "", "Remove it.")
    if recipe.gates.minimum_coverage is not None:
        found = f"is set with `task: {recipe.task}`, whose answers have no probabilities"
        yield Fault(("gates", "minimum_coverage"), found, "", "Remove it.")


def _says_more(recipe: Recipe, field: str) -> bool:
    """Whether the recipe gives another value than the default: a resolved recipe has every field."""
    usual = type(recipe.evaluation).model_fields[field].get_default(call_default_factory=True)
    return field in recipe.evaluation.model_fields_set and getattr(recipe.evaluation, field) != usual
