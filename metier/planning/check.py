"""The door of the room: everything about a recipe that can be known without training.

Data is prepared in a temporary folder; the run folder is not touched. Of the test set the number of
records and their lengths are counted, nothing else; its seal stays closed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.prepare import prepare_data
from metier.data.privacy.by_recipe import closed_network, refuse_unready
from metier.device import available_memory_bytes, choose_hardware
from metier.events import Observer, Progress, tell
from metier.planning.desk import Checked, Desk, Pay
from metier.planning.findings import find_in_data
from metier.planning.kept import keep_plan
from metier.planning.labels import check_labels
from metier.planning.results import CheckReport
from metier.planning.texts import check_passages, check_writing
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import Recipe
from metier.recipe.tasks import PREPARED_ONLY, WRITES
from metier.store.run_folder import RunFolder, default_run_path


def check_recipe(recipe: Recipe, *, pay: Pay | None = None, observers: Sequence[Observer] = ()) -> CheckReport:
    """Everything that can be known about a recipe without training.

    Args:
        recipe: As `load_recipe` gives it.
        pay: Judges whether training can pay; None leaves that out.
        observers: Told about downloads, slower paths and progress.

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
        data = prepare_data(recipe.data, seed=recipe.seed, folder=folder, task=recipe.task, privacy=recipe.privacy)
        seconds = time.perf_counter() - started
        findings = find_in_data(data, folder, RunFolder(path))
        desk = Desk(
            recipe=recipe, ways=ways, hardware=hardware, data=data, train=list(data.train.records()), pay=pay,
            available=available_memory_bytes() if hardware.device == "cpu" else None, data_seconds=seconds,
            observers=observers,
        )  # fmt: skip
        checked = _without_texts(CHECKS[recipe.task](desk), recipe)
    if checked.plan is not None:
        keep_plan(identity, hardware, checked.plan)
    tell(observers, Progress(label="check", done=1, total=1, unit="candidates"))
    return CheckReport(
        name=recipe.name, task=recipe.task, recipe_hash=identity, folder=str(path), device=hardware.device,
        dtype=hardware.dtype, threads=hardware.threads, hardware_reason=hardware.reason, data=findings,
        candidates=checked.candidates, plan=checked.plan, paying=checked.paying,
        paying_reason=checked.paying_reason, warnings=checked.warnings,
    )  # fmt: skip


def _without_texts(checked: Checked, recipe: Recipe) -> Checked:
    """What was found; under `privacy: strict` no record is shown, not even as the numbers of its tokens."""
    if not recipe.privacy.strict:
        return checked
    candidates = tuple(replace(each, views=(), pieces=()) for each in checked.candidates)
    return replace(checked, candidates=candidates)


def _check_data_only(desk: Desk) -> Checked:
    """Nothing but the data: what is prepared only has no plan and nothing to learn yet."""
    return Checked(
        warnings=(
            f"This version reads, checks and splits data of `task: {desk.recipe.task}`; training on it comes in a "
            "later version. `metier run RECIPE --until data` prepares the splits.",
        )
    )


CHECKS: Mapping[str, Callable[[Desk], Checked]] = {
    "classification": check_labels,
    **dict.fromkeys(WRITES, check_writing),
    "text": check_passages,
    **dict.fromkeys(PREPARED_ONLY, _check_data_only),
}
"""Task -> what is checked besides its data."""
