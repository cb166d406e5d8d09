"""`metier check RECIPE`: everything that can be known without training.

Recipe, data, what is trained, hardware, plan, and whether training can pay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metier.cli.output import show, write_json_object
from metier.cli.run import AsJson, Settings

if TYPE_CHECKING:
    from metier.planning.results import PayingJudgement
    from metier.recipe.sections import Recipe


def check(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)
    ] = None,
    *,
    resolved: Annotated[bool, typer.Option("--resolved", help="Only print the recipe with every default.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Only print the JSON Schema of recipes.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:
    """Say everything that can be known without training.

    What is in the data, what is trained token by token, memory and time, and whether training can pay.
    Writes no run folder and leaves the test set sealed.
    """
    from metier.errors import DONE, ArgumentError

    if schema:
        from metier.recipe.dump import recipe_schema

        show(json.dumps(recipe_schema(), indent=2, ensure_ascii=False), exact=True)
        return DONE
    if recipe is None:
        raise ArgumentError("metier check", "no recipe is given", "a YAML file", "See `metier check --help`.")
    from metier.cli.overrides import load_with_settings

    loaded = load_with_settings(recipe, settings)
    if resolved:
        from metier.recipe.dump import dump_recipe

        show(dump_recipe(loaded).rstrip("\n"), exact=True)
        return DONE
    return _check(loaded, as_json=as_json)


def _check(recipe: Recipe, *, as_json: bool) -> int:
    """Check, draw, and end with 2 when the recipe cannot work."""
    started = time.perf_counter()
    from metier.cli.check_text import draw
    from metier.cli.progress import watching
    from metier.errors import DONE, UserError
    from metier.evaluation.elsewhere.early_checks import refuse_unusable
    from metier.evaluation.gauge import gauge_judging
    from metier.evaluation.seal import openings
    from metier.planning.check import check_recipe
    from metier.stages.model_aid import screening_model
    from metier.store.values import to_plain

    libraries = time.perf_counter() - started  # a run loads the same ones
    refuse_unusable(recipe.systems, recipe.task, read=not recipe.privacy.strict)
    with watching() as observer:
        report = check_recipe(
            recipe, pay=_judge(recipe), opened=openings, observers=(observer,), screening=screening_model,
            gauge=gauge_judging, libraries=libraries,
        )  # fmt: skip
    if as_json:
        write_json_object("check", {**to_plain(report), "faults": list(report.faults)})
    else:
        draw(report)
    return UserError.exit_code if report.faults else DONE


def _judge(recipe: Recipe) -> Callable[[Sequence[Any], int], PayingJudgement] | None:
    """What judges whether training can pay; None for tasks where nothing but training can tell."""
    from metier.evaluation.paying import can_training_pay
    from metier.evaluation.writing_pays import can_writing_pay

    by_task: dict[str, Callable[..., PayingJudgement]] = {
        "classification": can_training_pay,
        "generation": can_writing_pay,
        "chat": can_writing_pay,
    }
    judge = by_task.get(recipe.task)
    return judge and partial(judge, section=recipe.evaluation.for_choices(), seed=recipe.seed)
