"""What a task does not read: a field that has no effect is a fault, never ignored.

Called by `check.py`. To add one: a row in `_CLASSIFICATION_ONLY` or `_WRITING_ONLY`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metier.recipe.faults import Fault
from metier.recipe.list_rules import ALSO_READ, list_rules
from metier.recipe.section import Section
from metier.recipe.sections import GenerationSection, Recipe
from metier.recipe.tasks import TASK_DEFAULTS, WRITES

_CLASSIFICATION_ONLY: dict[str, tuple[str, ...]] = {
    "data": (
        "label", "label_names", "ignore_labels", "examples_per_label", "labels", "giveaway", "label_likeness",
        "rare_labels", "rare_below", "wrong_labels",
    ),
    "prompt": ("list_labels", "label_texts"),
    "training": ("class_weights",),
    "evaluation": ("scoring_rules", "probe_model", "probe_depths"),
}  # fmt: skip
_WRITING_ONLY = {
    "data": ("answer", "system", "wrong_answers"),
    "prompt": ("system", "system_file"),
    "training": ("loss_on",),
}
_ASKED = ("instruction",)


def shared_rules(recipe: Recipe) -> Iterator[Fault]:
    """Fields of `data` that the task does not read."""
    yield from _unread(recipe, ("data", "evaluation"))
    yield from list_rules(recipe)
    if recipe.task == "text":
        yield from _no_effect(recipe, "data", ("too_long",))
        yield from _no_effect(recipe, "evaluation", ("few_shot",))
    for role in ("validation", "test"):
        if getattr(recipe.data, f"{role}_answers") is not None and getattr(recipe.data, role) is None:
            yield Fault(("data", f"{role}_answers"), f"is given without `data.{role}`", "both files or none")


def way_rules(recipe: Recipe) -> Iterator[Fault]:
    """Fields of the other sections that the task does not read, and methods that do not fit it."""
    yield from _unread(recipe, ("prompt", "training"))
    if recipe.task == "classification":
        yield from _no_effect(recipe, "generation", tuple(GenerationSection.model_fields))
        return
    if recipe.task == "text":
        yield from _no_effect(recipe, "prompt", _ASKED)
        yield from _no_effect(recipe, "generation", tuple(GenerationSection.model_fields))
    if recipe.task != "multilabel" and (recipe.adaptation.method == "head" or recipe.adaptation.head):
        field = "method" if recipe.adaptation.method == "head" else "head"
        fix = "A classification head cannot write: choose lora, freeze or full."
        yield Fault(("adaptation", field), f"does not fit `task: {recipe.task}`", "", fix)
    if recipe.generation.temperature == 0 and (recipe.generation.top_p < 1 or recipe.generation.top_k is not None):
        field = "top_p" if recipe.generation.top_p < 1 else "top_k"
        fix = "Set `generation.temperature` above 0, or remove it."
        yield Fault(("generation", field), "has no effect with greedy writing (`temperature: 0`)", "", fix)
    if "" in recipe.generation.stop:
        yield Fault(("generation", "stop"), "has an empty text", "texts that end an answer")


def _unread(recipe: Recipe, sections: tuple[str, ...]) -> Iterator[Fault]:
    for section in sections:
        read = ALSO_READ.get(recipe.task, {}).get(section, ())
        if recipe.task != "classification":
            unread = (name for name in _CLASSIFICATION_ONLY.get(section, ()) if name not in read)
            yield from _no_effect(recipe, section, tuple(unread))
        if recipe.task not in (*WRITES, "preference"):
            unread = (name for name in _WRITING_ONLY.get(section, ()) if name not in read)
            yield from _no_effect(recipe, section, tuple(unread))


def _no_effect(recipe: Recipe, section: str, fields: tuple[str, ...]) -> Iterator[Fault]:
    given: Section = getattr(recipe, section)
    defaults = TASK_DEFAULTS.get(recipe.task, {}).get(section, {})
    for name in fields:
        value: Any = getattr(given, name)
        usual = type(given).model_fields[name].get_default(call_default_factory=True)
        if name in given.model_fields_set and name not in defaults and value != usual:
            yield Fault((section, name), f"has no effect with `task: {recipe.task}`", "", "Remove it.")
