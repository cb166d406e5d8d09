"""Other ways to do the work of a recipe: fewer layers, another method, smaller passes, the small encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedModel

from metier.errors import ModelError
from metier.model.plan import LearningPlan, plan_learning
from metier.planning.cost import Learner
from metier.planning.outlook import Alternative, Plan
from metier.planning.rates import Pace, Rates
from metier.recipe.sections import Recipe

L = TypeVar("L", bound=Learner)
SMALLEST_MICROBATCH = 512
"""Tokens below which halving a micro-batch is no longer proposed."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way: its name, and what to change of the recipe."""

    name: str
    settings: Mapping[str, str]


def other_ways(recipe: Recipe, layers: int) -> Iterator[Way]:
    """Ways that differ from a recipe in one thing.

    Args:
        recipe: One candidate's.
        layers: Blocks of its model.
    """
    now = (recipe.adaptation.method, recipe.adaptation.layers)
    kinds = [("lora", "all"), ("lora", f"top {max(1, layers // 2)}"), ("lora", f"top {max(1, layers // 3)}"),
             ("full", "all")]  # fmt: skip
    for method, chosen in dict.fromkeys(kinds):
        if (method, chosen) != now:
            name = f"{method}, {'all layers' if chosen == 'all' else chosen}"
            wanted = {"adaptation.method": method, "adaptation.layers": chosen}
            said = {"adaptation.method": now[0], "adaptation.layers": now[1]}
            yield Way(name=name, settings={path: value for path, value in wanted.items() if value != said[path]})
    half = recipe.training.tokens_per_microbatch // 2
    if recipe.adaptation.method != "head" and half >= SMALLEST_MICROBATCH:
        yield Way(name="half the micro-batch", settings={"training.tokens_per_microbatch": str(half)})


def going(learner: L, way: Way, network: PreTrainedModel, *, head: bool) -> tuple[L, bool] | None:
    """A candidate as it would be another way, and whether its passes were measured; None where it cannot go it.

    Args:
        learner: The candidate.
        way: The other way.
        network: Its base model; nothing may be attached to it.
        head: Whether a classification head answers.
    """
    recipe = _changed(learner.recipe, way.settings)
    try:
        plan = plan_learning(recipe.adaptation, network, head=head)
    except ModelError:  # no blocks of this name, no linear modules: such a model cannot learn that way
        return None
    before, after = learner.recipe.adaptation.method, recipe.adaptation.method
    rates, measured = _rates(learner.rates, before, after)
    shape = learner.shape
    if after in ("full", "freeze"):
        shape = replace(shape, weight_bytes=shape.parameters * 4)
    elif before in ("full", "freeze"):
        shape = replace(shape, weight_bytes=sum(p.numel() * p.element_size() for p in network.parameters()))
    trainable = _trainable(recipe, plan, network, learner.trainable, learner.plan)
    return replace(learner, recipe=recipe, plan=plan, rates=rates, shape=shape, trainable=trainable), measured


def alternatives(
    plan: Plan, ways: Sequence[tuple[Way, L, bool]], plan_of: Callable[[L], Plan]
) -> tuple[Alternative, ...]:
    """The recipe and other ways side by side.

    Args:
        plan: Of the recipe as it is.
        ways: Other ways, the candidate as it goes them, and whether its passes were measured.
        plan_of: The plan with another candidate in place of the recipe's.
    """
    rows = [_row("as it is", {}, plan, measured=True)]
    for way, learner, measured in ways:
        rows.append(_row(way.name, way.settings, plan_of(learner), measured=measured))
    return tuple(rows)


def _row(name: str, settings: Mapping[str, str], plan: Plan, *, measured: bool) -> Alternative:
    fits = None if plan.memory_available is None else plan.memory_bytes <= plan.memory_available
    return Alternative(
        name=name, settings=settings, memory_bytes=plan.memory_bytes, seconds=plan.seconds,
        cost=None if plan.cost is None else plan.cost.value, fits=fits, measured=measured,
    )  # fmt: skip


def _changed(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    changes: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        section, field = path.split(".")
        changes.setdefault(section, {})[field] = int(value) if value.isdigit() else value
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=fields) for name, fields in changes.items()}
    )


def _rates(rates: Rates, before: str, after: str) -> tuple[Rates, bool]:
    """What training costs another way: operations of forward and backward passes decide where it was not measured."""
    passes = {"head": 1.0, "lora": 2.0, "full": 3.0, "freeze": 3.0}
    if after == "head" or passes[before] == passes[after]:
        return rates, True
    known = rates.paces.get("train")  # a head that is solved has no such pass: a forward pass stands for it
    pace, factor = (known, passes[after] / passes[before]) if known else (rates.pace("score"), passes[after])
    return replace(rates, paces={**rates.paces, "train": _slower(pace, factor)}), False


def _slower(pace: Pace, factor: float) -> Pace:
    return replace(pace, block=pace.block * factor, rest=pace.rest * factor)


def _trainable(
    recipe: Recipe, plan: LearningPlan, network: PreTrainedModel, now: int, before: LearningPlan | None
) -> int:
    """Parameters that learn; a head's are few and counted with what there was."""
    if plan.weights:
        names = dict(network.named_parameters())
        return sum(names[name].numel() for name in plan.weights)
    if plan.adapted:
        return sum(_adapter(network.get_submodule(name), recipe.adaptation.r) for name in plan.adapted)
    return now if before is None or not (before.adapted or before.weights) else 0


def _adapter(module: nn.Module, rank: int) -> int:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    return rank * sum(weight.shape)
