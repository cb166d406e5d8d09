"""Rules about the data section: what its fields allow by themselves, but not together.

Called by `check.py`. To add one: a function that yields faults, and its name in `_RULES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from metier.recipe.data_sections import BiasSection, DataSection
from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe
from metier.recipe.tasks import LISTS, WRITES

_SPLITTING = ("classification", "text")
"""Tasks whose texts can be cut, or made several rows: a conversation is no longer one when a piece is missing."""
_READ_BY_A_MODEL: Mapping[str, tuple[str, ...]] = {
    "classification": ("wrong_labels", "outliers"),
    **dict.fromkeys(WRITES, ("wrong_answers",)),
    **dict.fromkeys((*LISTS, "text"), ("outliers",)),
}
"""Task -> the steps that use what `screening_model` says."""
_REMEDIES = ("counterfactuals", "reweight", "augment")


def data_rules(recipe: Recipe) -> Iterator[Fault]:
    """Every fault of the data section that needs no data to be seen."""
    for rule in _RULES:
        yield from rule(recipe)


def _answers(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    if data.answers_id is not None and (data.answers, data.validation_answers, data.test_answers) == (None,) * 3:
        fix = "Name the table of answers as `data.answers`, or remove it."
        yield Fault(("data", "answers_id"), "is given without `data.answers`", "", fix)


def _splits(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    if data.time is not None and data.validation is not None and data.test is not None:
        found = "has no effect: validation and test are files of their own"
        yield Fault(("data", "time"), found, "", "Remove it, or let one of them be taken from train.")
    for name in ("train", "validation", "test"):
        if getattr(data, name) in data.evaluation_files:
            found = f"has the file of `data.{name}`"
            yield Fault(("data", "evaluation_files"), found, "files of other items", "Remove it.")
    for field, values in (("evaluation_files", data.evaluation_files), ("repairs", data.repairs or [])):
        yield from _each_once(("data", field), values)


def _lengths(recipe: Recipe) -> Iterator[Fault]:
    lengths, path = recipe.data.lengths, ("data", "lengths")
    if lengths.shortest is not None and lengths.longest is not None and lengths.shortest > lengths.longest:
        wanted = f"at most {lengths.longest:,}, which is `longest`"
        yield Fault((*path, "shortest"), f"is {lengths.shortest:,}", wanted)
    if lengths.policy in ("cut", "split"):
        if lengths.longest is None:
            yield Fault((*path, "policy"), f"is {lengths.policy} without a limit", "", "Set `data.lengths.longest`.")
        if recipe.task not in _SPLITTING:
            found = f"is {lengths.policy}, which does not fit `task: {recipe.task}`"
            yield Fault((*path, "policy"), found, "flag, drop or refuse")
    elif lengths.policy != "flag" and (lengths.shortest, lengths.longest) == (None, None):
        fix = "Set `data.lengths.shortest` or `data.lengths.longest`."
        yield Fault((*path, "policy"), f"is {lengths.policy} without a limit", "", fix)
    if lengths.unit == "words" and (lengths.shortest, lengths.longest) == (None, None):
        fix = "Set `data.lengths.shortest` or `data.lengths.longest`, or remove it."
        yield Fault((*path, "unit"), "has no effect without a limit", "", fix)


def _rare_labels(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    if not data.rare_name.strip():
        yield Fault(("data", "rare_name"), "is empty", "a label's name")
    if data.rare_labels == "merge" and data.rare_name in data.ignore_labels:
        yield Fault(("data", "rare_name"), f"is '{data.rare_name}', which `data.ignore_labels` rejects")
    if data.rare_labels != "merge" and data.rare_name != _usual("rare_name"):
        yield Fault(("data", "rare_name"), "has no effect without `data.rare_labels: merge`", "", "Remove it.")


def _quality(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    if data.quality_rules == []:
        yield Fault(("data", "quality_rules"), "is empty", "names of rules", "Write `quality: off` to have none.")
    if data.quality_rules is not None and data.quality == "off":
        yield Fault(("data", "quality_rules"), "has no effect with `data.quality: off`", "", "Remove it.")


def _screening_model(recipe: Recipe) -> Iterator[Fault]:
    data, path = recipe.data, ("data", "screening_model")
    if data.screening_model is None:
        return
    if not data.screening_model.strip():
        yield Fault(path, "is empty", "a model's name, as in `model`")
        return
    steps = _READ_BY_A_MODEL.get(recipe.task, ())
    if not steps:
        yield Fault(path, f"has no effect with `task: {recipe.task}`", "", "Remove it.")
    elif all(getattr(data, step) == "off" for step in steps):
        off = " and ".join(f"`data.{step}: off`" for step in steps)
        yield Fault(path, f"has no effect with {off}", "", "Remove it.")


def _bias(recipe: Recipe) -> Iterator[Fault]:
    bias = recipe.data.bias
    if bias.policy == "off":
        for name in _REMEDIES:
            if getattr(bias, name):
                fix = "Remove it, or write `policy: flag`."
                yield Fault(("data", "bias", name), "has no effect with `policy: off`", "", fix)
    usual = BiasSection()
    for name in ("most_copies", "largest_share"):
        if not bias.augment and getattr(bias, name) != getattr(usual, name):
            yield Fault(("data", "bias", name), "has no effect without `augment: true`", "", "Remove it.")


def _each_once(path: tuple[str, ...], values: Sequence[str]) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if not value.strip():
            yield Fault(path, "has an empty name", "names")
        elif count > 1:
            yield Fault(path, f"has '{value}' {count} times", "each once")


def _usual(field: str) -> object:
    return DataSection.model_fields[field].default


_RULES = (_answers, _splits, _lengths, _rare_labels, _quality, _screening_model, _bias)
