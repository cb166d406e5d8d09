"""What folds and seeds cannot be combined with. Called by `check.py`."""

from __future__ import annotations

from collections.abc import Iterator

from metier.recipe.candidates import resolve_candidates
from metier.recipe.faults import Fault
from metier.recipe.section import Section
from metier.recipe.sections import Recipe

FOLDS = ("evaluation", "folds")
_ONE_SET = "Remove it, or remove evaluation.folds to be judged on one set that no training sees."
_EVERY_ROW = "With folds every row is answered by another model than the one that is kept, once, as it is."
_UNREAD = ("robustness", "robustness_items", "explain_errors")
"""Fields of `evaluation` that are about the one model that answered a test set."""
_UNREAD_DATA = ("test_size", "max_test_examples")


def retraining_rules(recipe: Recipe) -> Iterator[Fault]:
    """Fields that contradict `evaluation.folds` or `evaluation.seeds`, or have no effect with them.

    Args:
        recipe: All of it.
    """
    if recipe.evaluation.folds is not None:
        yield from _with_folds(recipe)
    if recipe.evaluation.seeds > 1:
        yield from _with_seeds(recipe)


def _with_folds(recipe: Recipe) -> Iterator[Fault]:
    data, evaluation = recipe.data, recipe.evaluation
    if data.test is not None:
        fix = (
            "Remove evaluation.folds to keep that test set as it is; or remove data.test and put its rows into "
            "data.train, to make every row a test row."
        )
        yield Fault(("data", "test"), "is a test set of its own, which evaluation.folds would train on", "", fix)
    if data.time is not None:
        fix = "Remove one of them: folds would train on rows that are newer than those that they answer."
        yield Fault(("data", "time"), "has no effect with evaluation.folds, which know no time", "", fix)
    if evaluation.split != "test":
        yield Fault(("evaluation", "split"), f"is {evaluation.split} with evaluation.folds", "", _ONE_SET)
    if evaluation.seeds > 1:
        fix = "Remove one of them; what another seed gives is asked of one test set."
        yield Fault(("evaluation", "seeds"), "is given with evaluation.folds, whose models differ already", "", fix)
    bias = {name: getattr(data.bias, name) for name in ("reweight", "augment", "counterfactuals")}
    for name, on in bias.items():
        if on:
            yield Fault(("data", "bias", name), "does not go with evaluation.folds", "", _ONE_SET)
    if data.ablation:
        yield Fault(("data", "ablation"), "does not go with evaluation.folds", "", _ONE_SET)
    yield from _unread("data", data, _UNREAD_DATA, "With folds every row is a test row once. Remove it.")
    yield from _unread("evaluation", evaluation, _UNREAD, f"{_EVERY_ROW} {_ONE_SET}")


def _unread(name: str, section: Section, fields: tuple[str, ...], fix: str) -> Iterator[Fault]:
    for field in fields:
        usual = type(section).model_fields[field].get_default(call_default_factory=True)
        if field in section.model_fields_set and getattr(section, field) != usual:
            yield Fault((name, field), "has no effect with evaluation.folds", "", fix)


def _with_seeds(recipe: Recipe) -> Iterator[Fault]:
    ways = resolve_candidates(recipe).values()
    if all(way.adaptation.method == "head" for way in ways):
        fix = "A head alone is solved in closed form: every seed gives the same model. Remove it."
        yield Fault(("evaluation", "seeds"), "has no effect with `method: head`", "", fix)
