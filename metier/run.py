"""THE flow: the stages in order. Read this file first.

    data       files in, clean splits out
    baselines  what the user could have had without training, set up on validation
    attempts   each candidate adapted, trained, judged on validation
    promote    validation chooses
    test       the test set is opened once, for the promoted model and every baseline
    report     a page for a person, a card for everyone else

Every stage is recorded in `run.json` when it is done; a killed run continues with `resume`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metier.data.instruction import with_instruction
from metier.data.locate import locate_files
from metier.data.prepare import load_prepared, prepare_data
from metier.data.prepared import PreparedData
from metier.errors import DONE, GATE_FAILED, ArgumentError, RecipeError, RunFolderError
from metier.evaluation.results import Comparison
from metier.events import Observer, StageFinished, StageStarted, tell
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import dump_recipe, recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import Recipe
from metier.recipe.tasks import PREPARED_ONLY
from metier.report.card import write_model_card
from metier.report.gather import gather_summary
from metier.report.summary import RunSummary
from metier.report.write import write_report
from metier.store.event_log import EventLog
from metier.store.files import write_text
from metier.store.fingerprint import file_sha256, fingerprint
from metier.store.locks import alone_in
from metier.store.run_folder import (
    RunFolder,
    RunState,
    claim_run_folder,
    default_run_path,
    finish_run,
    finish_stage,
    point_latest,
    stage_key,
)  # fmt: skip
from metier.store.stages import keep_stage, take_stage

if TYPE_CHECKING:
    from metier.stages.attempt import Attempt
    from metier.stages.workshop import Workshop

UNTIL = ("data", "train")
STAGE_VERSION = 2
"""Raise it when a stage gives other results for the same recipe: stored stages are then not reused."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended."""

    folder: RunFolder
    exit_code: int
    """0 done; 3 done, but a gate that the recipe declares failed."""
    reused: bool
    """True when the run was complete before and nothing was computed."""
    summary: RunSummary | None
    """Everything that the report shows; None when the run was asked to end earlier."""


def run_recipe(
    recipe: Recipe,
    *,
    output: Path | None = None,
    resume: bool = False,
    until: str | None = None,
    observers: Sequence[Observer] = (),
) -> RunResult:
    """Run a recipe from data to report.

    Args:
        recipe: As `load_recipe` gives it.
        output: Run folder. None: the recipe's `output.dir`, else `runs/<name>-<recipe hash>`.
        resume: Whether an incomplete run in that folder is continued.
        until: `data` or `train`: stop after that stage; the run stays incomplete and can be resumed.
        observers: Told about everything that happens.

    Raises:
        MetierError: as `metier.errors` lists them; its `exit_code` is the command's.
    """
    if until is not None and until not in UNTIL:
        raise ArgumentError("--until", repr(until), " or ".join(UNTIL))
    identity = recipe_hash(recipe)
    path = output or (Path(expand(recipe.output.dir)) if recipe.output.dir else default_run_path(recipe.name, identity))
    candidates = resolve_candidates(recipe)
    locate_files(recipe.data, task=recipe.task)  # a wrong path is told before a folder is made
    folder = RunFolder(path)
    with alone_in(path, folder.state):
        state = claim_run_folder(path, recipe_hash=identity, recipe_text=dump_recipe(recipe), resume=resume)
        return _go_through(recipe, candidates, folder, state, until=until, observers=observers)


def _go_through(
    recipe: Recipe,
    candidates: dict[str, Recipe],
    folder: RunFolder,
    state: RunState,
    *,
    until: str | None,
    observers: Sequence[Observer],
) -> RunResult:
    """The stages in order, in a folder that is ours."""
    if state.complete:
        summary = gather_summary(folder)
        return RunResult(folder=folder, exit_code=state.exit_code or DONE, reused=True, summary=summary)
    observers = (*observers, EventLog(folder.events))

    data = _prepare(recipe, folder, observers)
    if until == "data":
        return RunResult(folder=folder, exit_code=DONE, reused=False, summary=None)
    if recipe.task in PREPARED_ONLY:
        fix = "`metier run RECIPE --until data` prepares the splits, which are in the folder."
        raise RecipeError("task", f"is {recipe.task}, which this version reads and checks but cannot train", "", fix)

    from metier.stages.lock import write_lock
    from metier.stages.workshop import Workshop

    shop = Workshop(recipe, candidates, folder, data, observers)
    # A missing or damaged model is told before hours go into another.
    models = fingerprint([shop.weights(each.model) for each in candidates.values()])
    shop.refuse_unfit()
    _refuse_change(folder, "models", models, "the weights of a base model")
    finish_stage(folder, "models", models)
    hardware = fingerprint([shop.hardware.device, shop.hardware.dtype])
    _refuse_change(folder, "hardware", hardware, "the device or dtype that the recipe leads to")
    finish_stage(folder, "hardware", hardware)
    write_lock(shop, (), state.recipe_hash)
    _baselines(shop)
    attempts = [_attempt(shop, name, number) for number, name in enumerate(candidates, start=1)]
    if until == "train":
        return RunResult(folder=folder, exit_code=DONE, reused=False, summary=None)
    comparison = _test(shop, attempts, state.recipe_hash)
    summary = _report(shop, attempts, state.recipe_hash)
    exit_code = DONE if all(gate.passed for gate in comparison.gates) else GATE_FAILED
    finish_run(folder, exit_code)
    point_latest(folder)  # only now: a run that failed must not take the place of the last good one
    return RunResult(folder=folder, exit_code=exit_code, reused=False, summary=summary)


def _prepare(recipe: Recipe, folder: RunFolder, observers: Sequence[Observer]) -> PreparedData:
    """The data stage: read back, taken from the cache, or done."""
    files = {str(path): file_sha256(path) for path in locate_files(recipe.data, task=recipe.task).all_files()}
    key = fingerprint([STAGE_VERSION, "data", recipe.task, recipe.data.model_dump(mode="json"), recipe.seed, files])
    _refuse_change(folder, "data", key, "its data or metier itself")
    _reuse(folder, "data", key, folder.data, observers, lambda: _prepare_now(recipe, folder, observers))
    return load_prepared(folder.data)


def _prepare_now(recipe: Recipe, folder: RunFolder, observers: Sequence[Observer]) -> None:
    prepare_data(recipe.data, seed=recipe.seed, folder=folder.data, observers=observers, task=recipe.task)


def _baselines(shop: Workshop) -> None:
    """What needs no training, set up on validation and shown, unless that was done in this run."""
    from metier.stages.baselines import baseline_systems, measure_baselines

    recipe = shop.recipe
    asked = [getattr(recipe, section).model_dump(mode="json") for section in ("prompt", "generation")]
    read = [recipe.evaluation.model_dump(mode="json"), recipe.task, asked, recipe.seed]
    key = fingerprint([STAGE_VERSION, "baselines", read, shop.data.card.fingerprint])
    if stage_key(shop.folder, "baselines") == key:
        detail = "done before in this run"
        tell(shop.observers, StageFinished(stage="baselines", seconds=0.0, reused=True, detail=detail))
        return
    with _stage("baselines", shop.observers):
        measure_baselines(shop, baseline_systems(shop))
    finish_stage(shop.folder, "baselines", key)


def _test(shop: Workshop, attempts: list[Attempt], identity: str) -> Comparison:
    """Validation chooses; the chosen one alone meets the test set, beside every baseline."""
    from metier.stages.choose import choose_attempt
    from metier.stages.test_set import open_test_set, promote, run_identity

    with _stage("test", shop.observers):
        chosen = choose_attempt(attempts, shop.recipe.evaluation, shop.model_size, shop.recipe.seed)
        promote(shop, attempts, chosen)
        return open_test_set(shop, chosen.attempt, run_identity(shop, identity))


def _report(shop: Workshop, attempts: list[Attempt], identity: str) -> RunSummary:
    """The lock file, the page and the card, from what the stages left in the folder."""
    from metier.stages.lock import write_lock

    with _stage("report", shop.observers):
        write_lock(shop, attempts, identity)
        summary = gather_summary(shop.folder)
        write_report(summary, shop.folder.report)
        write_model_card(summary, shop.folder.readme)
        return summary


def _attempt(shop: Workshop, name: str, number: int) -> Attempt:
    """One candidate's attempt: read back, taken from the cache, or trained."""
    from metier.stages.attempt import read_attempt, run_attempt
    from metier.stages.lock import tool_versions

    recipe = shop.candidates[name]
    read = ("seed", "task", "model", "prompt", "adaptation", "training", "generation", "evaluation", "hardware")
    # The prompt as it is asked: an instruction may come from the data's shape and the name of its column.
    asked = recipe.model_copy(update={"prompt": with_instruction(recipe.prompt, shop.data.card)})
    fields = {field: asked.model_dump(mode="json")[field] for field in read}
    # The name alone would not do: other weights may lie in the same folder, or under the same hub branch, by now.
    weights = shop.weights(recipe.model)
    # Resolved: `auto` may lead elsewhere on the machine that filled the cache.
    place_of_work = [shop.hardware.device, shop.hardware.dtype]
    data = [_what_attempts_read(shop), recipe.data.too_long, shop.recipe.seed]
    # The name stands in the results of an attempt.
    key = fingerprint([STAGE_VERSION, "attempt", name, fields, weights, place_of_work, data, tool_versions()])
    place = shop.folder.attempt(number).path
    _reuse(shop.folder, f"attempt {name}", key, place, shop.observers, lambda: run_attempt(shop, name, recipe, number))
    # One that was taken from the cache came with the recipe of its run: another name, other gates.
    write_text(shop.folder.attempt(number).recipe, dump_recipe(recipe))
    return read_attempt(shop, name, recipe, number)


def _what_attempts_read(shop: Workshop) -> list[str]:
    """Train and validation to the byte: ids are blind to capitals and spaces, and know no group and no row.

    The name of the label's column stands in the prompt. The test set is not among it.
    """
    splits = [file_sha256(shop.folder.split(name)) for name in ("train", "validation")]
    return [shop.data.card.label_column or str(shop.data.card.answer_column), *splits]


def _refuse_change(folder: RunFolder, stage: str, key: str, what: str) -> None:
    """A resumed run goes on with what it began with: checkpoints and answers of other data would be mixed in."""
    if stage_key(folder, stage) not in (None, key):
        fix = "Choose another --output; what did not change is taken from the cache."
        raise RunFolderError(str(folder.path), f"{what} changed since this run began", "", fix)


def _reuse(
    folder: RunFolder, stage: str, key: str, place: Path, observers: Sequence[Observer], work: Callable[[], object]
) -> None:
    """Do a stage unless it was done under the same key, here or in an earlier run."""
    if stage_key(folder, stage) == key:
        tell(observers, StageFinished(stage=stage, seconds=0.0, reused=True, detail="done before in this run"))
        return
    if not place.exists() and take_stage(key, place):
        finish_stage(folder, stage, key)
        detail = "unchanged since an earlier run, taken from the cache"
        tell(observers, StageFinished(stage=stage, seconds=0.0, reused=True, detail=detail))
        return
    with _stage(stage, observers):
        work()
    keep_stage(key, place)
    finish_stage(folder, stage, key)


@contextmanager
def _stage(stage: str, observers: Sequence[Observer]) -> Iterator[None]:
    started = time.perf_counter()
    tell(observers, StageStarted(stage=stage))
    yield
    tell(observers, StageFinished(stage=stage, seconds=time.perf_counter() - started))
