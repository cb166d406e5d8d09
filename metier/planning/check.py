"""The door of the room: everything about a recipe that can be known without training.

Data is prepared in a temporary folder; the run folder is not touched. Of the test set the number of
records and their lengths are counted, nothing else; its seal stays closed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from metier.data.lent import Lent
from metier.data.model_aid import ModelAid
from metier.data.prepare import prepare_data
from metier.data.privacy.by_recipe import closed_network, refuse_unready
from metier.data.privacy.private_folder import private_cache
from metier.data.sealing import sealed_fingerprint
from metier.device import available_memory_bytes, choose_hardware
from metier.events import Observer, Progress, tell
from metier.model.adapt import has_head
from metier.model.base import model_kind
from metier.planning.desk import Checked, Desk, Gauge, Pay
from metier.planning.findings import find_in_data
from metier.planning.kept import keep_plan
from metier.planning.labels import check_labels
from metier.planning.results import CheckReport
from metier.planning.retraining import retraining_sentences
from metier.planning.texts import check_passages, check_writing
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import Recipe
from metier.recipe.tasks import ASKED_TO_WRITE, PREPARED_ONLY
from metier.store.run_folder import RunFolder, default_run_path

Screening = Callable[[Recipe, Sequence[Observer]], AbstractContextManager[ModelAid | None]]
"""Gives the model of `data.screening_model` while a block runs (`metier.stages.model_aid.screening_model`)."""


def check_recipe(
    recipe: Recipe,
    *,
    pay: Pay | None = None,
    opened: Callable[[str], int] | None = None,
    observers: Sequence[Observer] = (),
    screening: Screening | None = None,
    gauge: Gauge | None = None,
    libraries: float | None = None,
) -> CheckReport:
    """Everything that can be known about a recipe without training.

    Args:
        recipe: As `load_recipe` gives it.
        pay: Judges whether training can pay; None leaves that out.
        opened: From the fingerprint of a test set to how often it was opened; None leaves that out.
        observers: Told about downloads, slower paths and progress.
        screening: Gives the model of `data.screening_model`. None: recipes that name one are refused.
        gauge: Measures what judging takes; None leaves that out of the plan.
        libraries: Seconds that loading libraries took; None leaves that out.

    Raises:
        MetierError: The data, a model or the machine cannot be used at all.
    """
    identity = recipe_hash(recipe)
    path = Path(expand(recipe.output.dir)) if recipe.output.dir else default_run_path(recipe.name, identity)
    ways = resolve_candidates(recipe)
    hardware = choose_hardware(recipe.hardware)
    refuse_unready(recipe, path)
    with closed_network(recipe), tempfile.TemporaryDirectory(prefix="metier-check-") as place:
        folder, started = Path(place) / "data", time.perf_counter()
        # What it announces is part of the report.
        with _screening_model(recipe, screening, Path(place) / "cache", observers) as aid:
            data = prepare_data(
                recipe.data, seed=recipe.seed, folder=folder, task=recipe.task, privacy=recipe.privacy,
                lent=Lent(aid=aid),
            )  # fmt: skip
        seconds = time.perf_counter() - started
        findings = find_in_data(data, folder, RunFolder(path))
        desk = Desk(
            recipe=recipe, ways=ways, hardware=hardware, data=data, train=list(data.train.records()), pay=pay,
            available=available_memory_bytes() if hardware.device == "cpu" else None, data_seconds=seconds,
            observers=observers, gauge=gauge, libraries=libraries,
        )  # fmt: skip
        judged = "out_of_fold" if recipe.evaluation.folds else recipe.evaluation.split
        asked = opened if judged == "test" else None
        openings = None if asked is None else asked(sealed_fingerprint(data.card, data.test))
        look = CHECKS[recipe.task] if recipe.training.enabled else _check_untrained
        checked = _without_texts(look(desk), recipe)
        retraining = retraining_sentences(recipe, data, checked.paying, len(ways)) if checked.plan is not None else ()
    if checked.plan is not None:
        keep_plan(identity, hardware, checked.plan)
    tell(observers, Progress(label="check", done=1, total=1, unit="candidates"))
    return CheckReport(
        name=recipe.name, task=recipe.task, recipe_hash=identity, folder=str(path), device=hardware.device,
        dtype=hardware.dtype, threads=hardware.threads, hardware_reason=hardware.reason, data=findings,
        candidates=checked.candidates, plan=checked.plan, paying=checked.paying,
        paying_reason=checked.paying_reason, warnings=checked.warnings, judged=judged, openings=openings,
        retraining=retraining,
    )  # fmt: skip


@contextmanager
def _screening_model(
    recipe: Recipe, screening: Screening | None, cache: Path, observers: Sequence[Observer]
) -> Iterator[ModelAid | None]:
    """The model of `data.screening_model`; what it says can be turned back into texts, so `strict` keeps none of it."""
    kept = private_cache(cache) if recipe.privacy.strict else nullcontext()
    with kept, nullcontext() if screening is None else screening(recipe, observers) as aid:
        yield aid


def _without_texts(checked: Checked, recipe: Recipe) -> Checked:
    """What was found; under `privacy: strict` no record is shown, not even as the numbers of its tokens."""
    if not recipe.privacy.strict:
        return checked
    candidates = tuple(replace(each, views=(), pieces=()) for each in checked.candidates)
    return replace(checked, candidates=candidates)


def _check_label_sets(desk: Desk) -> Checked:
    """Models that write lists of labels as all that write, heads for several labels as heads; not both in one plan."""
    heads = [name for name, way in desk.ways.items() if has_head(way.adaptation, model_kind(way.model, desk.observers))]
    if not heads:
        return check_writing(desk)
    if len(heads) == len(desk.ways):
        return check_labels(desk)
    return Checked(
        warnings=(
            f"{', '.join(heads)}: a head for several labels, beside candidates that write theirs. What both take "
            "together is not predicted in this version; the data was checked.",
        )
    )


def _check_data_only(desk: Desk) -> Checked:
    """Nothing but the data: what is prepared only has no plan and nothing to learn yet."""
    return Checked(
        warnings=(
            f"This version reads, checks and splits data of `task: {desk.recipe.task}`; training on it comes in a "
            "later version. `metier run RECIPE --until data` prepares the splits.",
        )
    )


def _check_untrained(desk: Desk) -> Checked:
    """Nothing but the data: there is no training to plan, and systems are looked at when they are asked."""
    named = ", ".join(desk.recipe.systems)
    said = f"training: none: nothing is trained. `metier compare RECIPE` lets its systems answer: {named}."
    return Checked(warnings=(said,))


CHECKS: Mapping[str, Callable[[Desk], Checked]] = {
    "classification": check_labels,
    **dict.fromkeys(ASKED_TO_WRITE, check_writing),
    "multilabel": _check_label_sets,
    "text": check_passages,
    **dict.fromkeys(PREPARED_ONLY, _check_data_only),
}
"""Task -> what is checked besides its data."""
