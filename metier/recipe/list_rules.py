"""Rules of the tasks whose right answer is a list: what `task: multilabel` and `task: extraction` read, and others not.

Called by `task_rules.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe
from metier.recipe.tasks import LISTS

ALSO_READ: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "multilabel": {
        "data": ("label", "label_names", "ignore_labels", "labels"),
        "evaluation": ("probe_model",),
        "prompt": ("system", "system_file"),
    },
    "extraction": {"data": ("label_names", "labels", "answer"), "prompt": ("system", "system_file")},
}
"""Task -> section -> fields that only labels, or only written answers, have otherwise."""
_NOT_IN_LISTS = ("answers", "validation_answers", "test_answers", "answers_id")


def list_rules(recipe: Recipe) -> Iterator[Fault]:
    """Fields of the data section that a task with lists, or any other, does not read."""
    data = recipe.data
    if recipe.task != "multilabel":
        if isinstance(data.label, list):
            fix = "Set `task: multilabel` to predict several labels of one text."
            yield Fault(("data", "label"), f"names {len(data.label)} columns", "one column", fix)
        if data.label_separator is not None:
            yield _no_effect(recipe, "label_separator")
    else:
        yield from _label_columns(recipe)
    if recipe.task not in LISTS:
        return
    if data.shape not in ("auto", "columns"):
        found = f"is {data.shape}, which does not fit `task: {recipe.task}`"
        yield Fault(("data", "shape"), found, "columns", "Name the columns: `data.text` and "
                    f"`data.{'label' if recipe.task == 'multilabel' else 'answer'}`.")  # fmt: skip
    for name in _NOT_IN_LISTS:
        if getattr(data, name) is not None:
            yield _no_effect(recipe, name)
    for name in ("augment", "counterfactuals"):
        if getattr(data.bias, name):
            found = f"does not fit `task: {recipe.task}`"
            fix = "A swap of words could change the names of labels, or where pieces stand. Remove it."
            yield Fault(("data", "bias", name), found, "", fix)


def _label_columns(recipe: Recipe) -> Iterator[Fault]:
    """What `data.label` and its separator allow together."""
    label, separator = recipe.data.label, recipe.data.label_separator
    if isinstance(label, list):
        if len(label) < 2:
            fix = "One column of labels is named without a list."
            yield Fault(("data", "label"), f"is a list of {len(label)}", "two columns or more, one a label", fix)
        for column, count in Counter(label).items():
            if count > 1:
                yield Fault(("data", "label"), f"has '{column}' {count} times", "each once")
        if separator is not None:
            found = "has no effect where `data.label` names a column for each label"
            yield Fault(("data", "label_separator"), found, "", "Remove it.")
    if separator is not None and not separator:
        yield Fault(("data", "label_separator"), "is empty", "what stands between labels, such as ';'")


def _no_effect(recipe: Recipe, name: str) -> Fault:
    return Fault(("data", name), f"has no effect with `task: {recipe.task}`", "", "Remove it.")
