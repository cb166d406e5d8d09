"""THE flow: the stages in order. Read this file first.

    data       files in, clean splits out
    baselines  what the user could have had without training, set up on validation
    attempts   each candidate adapted, trained, judged on validation
    promote    validation chooses
    test       the test set is opened once, for the promoted model and every baseline; or
    folds      if asked, for small data: every row is answered once by what was trained without it
    ablation   if asked: the promoted one trained on rows as they were read, on the same test set
    seeds      if asked: the promoted one trained with other seeds, on the same test set
    report     a page for a person, a card for everyone else

Every stage is recorded in `run.json` when it is done; a killed run continues with `resume`.

Several processes (`metier.team`) all go through this flow. Rank 0 alone claims the folder, prepares the data,
writes and talks; training, scoring and writing answers are shared out where they are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.cleaning.steps import rule_versions
from metier.data.lent import Lent
from metier.data.locate import expanded, locate_files
from metier.data.prepare import load_prepared, prepare_data
from metier.data.prepared import PreparedData
from metier.data.privacy.by_recipe import refuse_unready, remove_what_is_left, strict_if_asked
from metier.data.privacy.hiding import depends_on
from metier.data.privacy.strict_run import StrictRun
from metier.errors import DONE, GATE_FAILED, ArgumentError, RecipeError
from metier.evaluation.results import Comparison
from metier.events import Notice, Observer, StageFinished, tell
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import dump_recipe, recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import Recipe
from metier.recipe.tasks import PREPARED_ONLY
from metier.report.card import write_model_card
from metier.report.gather import gather_summary
from metier.report.summary import RunSummary
from metier.report.write import write_report
from metier.stages.processes import counted, processes_of_a_batch
from metier.stages.reuse import hold_to, keep, refuse_change, taken, told
from metier.stages.slice_columns import refuse_missing_columns
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
    read_state,
    stage_key,
)  # fmt: skip
from metier.store.values import from_plain, to_plain
from metier.team import current_team, joined_team

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


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What a run was asked for."""

    recipe: Recipe
    candidates: dict[str, Recipe]
    until: str | None
    observers: Sequence[Observer]
    """Of this process: only rank 0 talks."""
    cluster: str | None


def run_recipe(
    recipe: Recipe,
    *,
    output: Path | None = None,
    resume: bool = False,
    until: str | None = None,
    observers: Sequence[Observer] = (),
    cluster: str | None = None,
) -> RunResult:
    """Run a recipe from data to report.

    Args:
        recipe: As `load_recipe` gives it.
        output: Run folder. None: the recipe's `output.dir`, else `runs/<name>-<recipe hash>`.
        resume: Whether an incomplete run in that folder is continued.
        until: `data` or `train`: stop after that stage; the run stays incomplete and can be resumed.
        observers: Told about everything that happens.
        cluster: Address of a Ray cluster that trains the candidates, `local` to start one on this machine. None:
            they are trained here, one after the other.

    Raises:
        MetierError: as `metier.errors` lists them; its `exit_code` is the command's.
    """
    if until is not None and until not in UNTIL:
        raise ArgumentError("--until", repr(until), " or ".join(UNTIL))
    if not recipe.training.enabled and until != "data":
        fix = "`metier compare RECIPE` judges its systems; `metier run RECIPE --until data` prepares the records."
        raise RecipeError("training", "is none, so there is nothing to run", "", fix)
    identity = recipe_hash(recipe)
    path = output or (Path(expand(recipe.output.dir)) if recipe.output.dir else default_run_path(recipe.name, identity))
    candidates = resolve_candidates(recipe)
    folder = RunFolder(path)
    refuse_unready(recipe, path)

    def claim() -> dict[str, Any]:
        text = dump_recipe(recipe)
        return to_plain(claim_run_folder(path, recipe_hash=identity, recipe_text=text, resume=resume))  # type: ignore[no-any-return]

    with joined_team() as team:
        if cluster is not None and team.size > 1:
            raise ArgumentError("--cluster", f"was given to {counted(team.size)}", "one: workers are the cluster's")
        if team.is_first:
            locate_files(recipe.data, task=recipe.task)  # a wrong path is told before a folder is made
        with alone_in(path, folder.state) if team.is_first else nullcontext():
            state = from_plain(RunState, team.once(claim), where=str(folder.state))
            if state.complete:
                return _as_it_is(folder, state)
            heard = (*observers, EventLog(folder.events)) if team.is_first else ()
            order = _Order(recipe=recipe, candidates=candidates, until=until, observers=heard, cluster=cluster)
            ended = partial(_is_complete, folder)
            with strict_if_asked(recipe, folder, run=identity, first=team.is_first, ended=ended) as strict:
                return _go_through(order, folder, state, strict)


def _as_it_is(folder: RunFolder, state: RunState) -> RunResult:
    """A run in which nothing is left to do."""
    if current_team().is_first:
        remove_what_is_left(folder)
    return RunResult(folder=folder, exit_code=state.exit_code or DONE, reused=True, summary=gather_summary(folder))


def _is_complete(folder: RunFolder) -> bool:
    return read_state(folder).complete


def _stopped(order: _Order, folder: RunFolder, strict: StrictRun | None) -> RunResult:
    """Where `until` said."""
    if strict is not None:
        message = (
            f"privacy: strict: texts of records stay in {folder.private} (mode 0700) until the run is complete; "
            "removing that folder removes them, and --resume makes them again."
        )
        tell(order.observers, Notice(topic="privacy", message=message))
    return RunResult(folder=folder, exit_code=DONE, reused=False, summary=None)


def _go_through(order: _Order, folder: RunFolder, state: RunState, strict: StrictRun | None) -> RunResult:
    """The stages in order, in a folder that is ours."""
    recipe, candidates, observers, team = order.recipe, order.candidates, order.observers, current_team()
    team.once(lambda: refuse_missing_columns(recipe))
    data = _prepare(recipe, folder, observers, strict)
    if order.until == "data":
        return _stopped(order, folder, strict)
    if recipe.task in PREPARED_ONLY:
        fix = "`metier run RECIPE --until data` prepares the splits, which are in the folder."
        raise RecipeError("task", f"is {recipe.task}, which this version reads and checks but cannot train", "", fix)

    from metier.stages.folds import refuse_unfoldable
    from metier.stages.judge_answers import refuse_unready_judge
    from metier.stages.lock import write_lock
    from metier.stages.workshop import Workshop

    shop = Workshop(recipe, candidates, folder, data, observers, strict=strict)
    # A missing or damaged model is told before hours go into another; what is fetched, rank 0 fetches.
    models = team.once(lambda: fingerprint([shop.weights(each.model) for each in candidates.values()]))
    shop.refuse_unfit()
    refuse_unfoldable(shop)
    team.once(lambda: refuse_unready_judge(recipe))
    team.once(lambda: hold_to(folder, "models", models, "the weights of a base model"))
    beside = shop.beside.fingerprint  # a scorer that cannot be used is told now
    team.once(lambda: hold_to(folder, "beside", beside, "a schema or scorer that `evaluation` names"))
    hardware = fingerprint([shop.hardware.device, shop.hardware.dtype])
    team.once(lambda: hold_to(folder, "hardware", hardware, "the device or dtype that the recipe leads to"))
    shop.batch_processes = team.once(lambda: processes_of_a_batch(folder, team, observers))
    team.once(lambda: write_lock(shop, (), state.recipe_hash))
    _predict(shop, state.recipe_hash)
    _baselines(shop)
    if order.cluster is not None:
        _train_on_cluster(shop, order.cluster)
    attempts = [_attempt(shop, name, number) for number, name in enumerate(candidates, start=1)]
    if order.until == "train":
        return _stopped(order, folder, strict)
    comparison = _test(shop, attempts, state.recipe_hash)
    _ablate(shop, attempts)
    _seed(shop, attempts)
    summary = _report(shop, attempts, state.recipe_hash)
    exit_code = DONE if all(gate.passed for gate in comparison.gates) else GATE_FAILED
    if team.is_first:
        finish_run(folder, exit_code)
        point_latest(folder)  # only now: a run that failed must not take the place of the last good one
    return RunResult(folder=folder, exit_code=exit_code, reused=False, summary=summary)


def _predict(shop: Workshop, identity: str) -> None:
    """What the run will need, written down before it begins; a run that goes on keeps what was said first."""
    from metier.device import energy_joules
    from metier.planning.calibrate import machine_name
    from metier.planning.predict import predict_run
    from metier.planning.receipt import write_prediction

    if shop.folder.plan.exists() or shop.team.size > 1:  # the plan is one process's
        return
    found = predict_run(shop.recipe, shop.candidates, identity, shop.data, shop.hardware, shop.base)
    if found is not None:
        plan, how = found
        write_prediction(shop.folder, plan, how, machine_name(shop.hardware), energy_joules())


def _settle(shop: Workshop) -> None:
    """The receipt: what the run took, beside what was predicted."""
    from metier.device import energy_joules, peak_memory_bytes
    from metier.planning.receipt import write_receipt

    state = read_state(shop.folder)
    on_cpu = shop.hardware.device == "cpu"  # elsewhere the plan is about the device's own memory
    write_receipt(
        shop.folder, peak_bytes=peak_memory_bytes() if on_cpu and not state.resumed else None,
        joules=energy_joules(), keep=not state.resumed,
    )  # fmt: skip


def _prepare(
    recipe: Recipe, folder: RunFolder, observers: Sequence[Observer], strict: StrictRun | None
) -> PreparedData:
    """The data stage: read back, taken from the cache, or done."""
    current_team().once(lambda: _prepare_once(recipe, folder, observers, strict))
    return load_prepared(folder.data)


def _prepare_once(recipe: Recipe, folder: RunFolder, observers: Sequence[Observer], strict: StrictRun | None) -> None:
    from metier.stages.model_aid import screening_identity, screening_model

    asked = [recipe.data.model_dump(mode="json"), depends_on(recipe.privacy), recipe.seed, rule_versions()]
    asked += [] if recipe.data.screening_model is None else [screening_identity(recipe, observers)]
    key = fingerprint([STAGE_VERSION, "data", recipe.task, asked, strict and strict.policy.key_id, _files_of(recipe)])
    refuse_change(folder, "data", key, "its data or metier itself")
    gone = strict is not None and not folder.split("train").is_file()  # the private part of a run may be removed
    if gone or not taken(folder, "data", key, folder.data, observers):
        with told("data", observers, strict), screening_model(recipe, observers) as aid:
            prepare_data(
                recipe.data, seed=recipe.seed, folder=folder.data, observers=observers, task=recipe.task,
                privacy=recipe.privacy, lent=Lent(strict=strict, aid=aid),
            )  # fmt: skip
        keep(folder, "data", key, folder.data)


def _files_of(recipe: Recipe) -> dict[str, str]:
    """The hash of every file that the data depends on, by path."""
    named = [expanded(name) for name in (recipe.data.decisions, *recipe.data.evaluation_files) if name is not None]
    # What is inside of an archive is as the archive is; what is not there is told by those who read it.
    there = [next(filter(Path.is_file, (path, *path.parents)), None) for path in named]
    files = [*locate_files(recipe.data, task=recipe.task).all_files(), *filter(None, there)]
    return {str(path): file_sha256(path) for path in files}


def _baselines(shop: Workshop) -> None:
    """What needs no training, set up on validation and shown, unless that was done in this run."""
    from metier.stages.baselines import baseline_systems, measure_baselines

    recipe = shop.recipe
    asked = [getattr(recipe, section).model_dump(mode="json") for section in ("prompt", "generation")]
    read = [recipe.evaluation.model_dump(mode="json"), recipe.task, asked, recipe.seed]
    key = fingerprint([STAGE_VERSION, "baselines", read, shop.data.card.fingerprint])
    team = shop.team
    if team.once(lambda: stage_key(shop.folder, "baselines") == key):
        detail = "done before in this run"
        tell(shop.observers, StageFinished(stage="baselines", seconds=0.0, reused=True, detail=detail))
        return
    with told("baselines", shop.observers, shop.strict):
        measure_baselines(shop, baseline_systems(shop))
    team.once(lambda: finish_stage(shop.folder, "baselines", key))


def _test(shop: Workshop, attempts: list[Attempt], identity: str) -> Comparison:
    """Validation chooses; the chosen one alone meets the test set, or its way every row, beside every baseline."""
    from metier.stages.choose import choose_attempt
    from metier.stages.folds import measure_folds
    from metier.stages.test_set import open_test_set, promote, run_identity

    asked = shop.recipe.evaluation
    with told("test" if asked.folds is None else "folds", shop.observers, shop.strict):
        chosen = choose_attempt(attempts, asked, shop.model_size, shop.recipe.seed)
        run_id = run_identity(shop, identity)
        if asked.folds is not None:
            return measure_folds(shop, attempts, chosen, _attempt, run_id)
        shop.team.once(lambda: promote(shop, attempts, chosen))
        return open_test_set(shop, chosen.attempt, run_id)


def _ablate(shop: Workshop, attempts: list[Attempt]) -> None:
    """What cleaning changed: the promoted way on train as it was read, where the recipe asks for it."""
    from metier.stages.ablation import measure_ablation

    if shop.recipe.data.ablation:
        with told("ablation", shop.observers, shop.strict):
            measure_ablation(shop, attempts, lambda name: _attempt_key(shop, name))


def _seed(shop: Workshop, attempts: list[Attempt]) -> None:
    """What another seed would have given: the promoted way trained with more of them, where the recipe asks for it."""
    from metier.stages.seeds import measure_seeds

    if shop.recipe.evaluation.seeds > 1:
        with told("seeds", shop.observers, shop.strict):
            measure_seeds(shop, attempts, lambda name: _attempt_key(shop, name))


def _report(shop: Workshop, attempts: list[Attempt], identity: str) -> RunSummary:
    """The lock file, the page and the card, from what the stages left in the folder."""
    from metier.stages.account import settle_privacy
    from metier.stages.lock import write_lock

    def write_pages() -> None:
        summary = gather_summary(shop.folder)
        write_report(summary, shop.folder.report)
        write_model_card(summary, shop.folder.readme)

    def write() -> None:
        write_lock(shop, attempts, identity)
        _settle(shop)
        write_pages()
        if shop.strict is not None:
            settle_privacy(shop, shop.strict)  # of all that is there, the pages among it
            write_pages()

    with told("report", shop.observers, shop.strict):
        shop.team.once(write)
    return gather_summary(shop.folder)


def _train_on_cluster(shop: Workshop, cluster: str) -> None:
    """Train every candidate that was not trained before on a cluster; what it leaves is then read as any other."""
    from metier.fleet import run_on_cluster

    keys = {name: _attempt_key(shop, name) for name in shop.candidates}
    numbers = {name: number for number, name in enumerate(shop.candidates, start=1)}
    places = {name: shop.folder.attempt(number).path for name, number in numbers.items()}
    todo = [
        (name, numbers[name]) for name, key in keys.items()
        if not taken(shop.folder, f"attempt {name}", key, places[name], shop.observers)
    ]  # fmt: skip
    if not todo:
        return
    with told("attempts on the cluster", shop.observers, shop.strict):
        for name in run_on_cluster(cluster, shop, todo, shop.observers):
            keep(shop.folder, f"attempt {name}", keys[name], places[name])


def _attempt(shop: Workshop, name: str, number: int, within: str = "") -> Attempt:
    """One candidate's attempt, of the run or within a fold of it: read back, taken from the cache, or trained."""
    from metier.stages.attempt import read_attempt, run_attempt

    recipe, key = shop.candidates[name], _attempt_key(shop, name)
    stage, place, team = f"attempt {name}", shop.folder.attempt(number).path, shop.team
    if not team.once(lambda: taken(shop.folder, stage, key, place, shop.observers)):
        with told(f"{within}: {stage}" if within else stage, shop.observers, shop.strict):
            run_attempt(shop, name, recipe, number)
        team.once(lambda: keep(shop.folder, stage, key, place))
    # One that was taken from the cache came with the recipe of its run: another name, other gates.
    team.once(lambda: write_text(shop.folder.attempt(number).recipe, dump_recipe(recipe)))
    return read_attempt(shop, name, recipe, number)


def _attempt_key(shop: Workshop, name: str) -> str:
    from metier.stages.attempt_key import attempt_key

    return attempt_key(shop, name, STAGE_VERSION)
