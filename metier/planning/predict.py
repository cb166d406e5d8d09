"""What is predicted of a run when it begins: the plan of an earlier check, or a quick one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metier.data.prepared import PreparedData
from metier.device import Hardware, available_memory_bytes
from metier.errors import MetierError
from metier.model.base import BaseModel
from metier.planning.check import CHECKS
from metier.planning.desk import Desk
from metier.planning.kept import kept_plan
from metier.planning.outlook import Plan
from metier.recipe.sections import ModelSection, Recipe

CHECKED = "predicted by `metier check`"
QUICK = (
    "predicted when the run began, from operations and the speed of matrix products alone; `metier check` before a run "
    "measures its passes and predicts more closely"
)
PARTLY = "predicted when the run began, from passes that an earlier check measured"


def predict_run(
    recipe: Recipe,
    ways: Mapping[str, Recipe],
    identity: str,
    data: PreparedData,
    hardware: Hardware,
    load: Callable[[ModelSection], BaseModel],
) -> tuple[Plan, str] | None:
    """The prediction for a run and where it comes from; None where this task or recipe has none.

    Args:
        recipe: The run's recipe.
        ways: Its candidates, by name.
        identity: Hash of the recipe.
        data: Its prepared data.
        hardware: What it runs on.
        load: Gives a base model that the run itself will use.
    """
    kept = kept_plan(identity, hardware)
    if kept is not None:
        return kept, CHECKED
    desk = Desk(
        recipe=recipe, ways=ways, hardware=hardware, data=data, train=list(data.train.records()), pay=None,
        available=available_memory_bytes() if hardware.device == "cpu" else None, data_seconds=0.0, load=load,
        quick=True,
    )  # fmt: skip
    try:
        plan = CHECKS[recipe.task](desk).plan
    except MetierError:  # what is wrong, the run itself will tell where it meets it
        return None
    return None if plan is None else (plan, PARTLY if desk.all_known else QUICK)
