"""`metier compare RECIPE`: every system that a recipe names answers the same records, and a table says how they stand.

The folder is a run folder without a training. It belongs to the data and to how it is asked, not to the systems: one
more of them, or another metric, goes on in the same folder, and only what is new is answered. Answers of endpoints are
kept as they come, in `recorded/`, so that a kill loses at most what was on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metier.data.prepare import load_prepared
from metier.data.privacy.by_recipe import strict_if_asked
from metier.data.privacy.strict_run import StrictRun
from metier.errors import DONE, RecipeError
from metier.evaluation.elsewhere.early_checks import refuse_unfit, refuse_unusable
from metier.evaluation.elsewhere.judged import Kept, answer_all, judge_against
from metier.evaluation.elsewhere.named_systems import JudgingGround, named_systems
from metier.evaluation.files import keep_systems
from metier.evaluation.hidden import without_texts
from metier.evaluation.looks import look_path, write_look
from metier.evaluation.results import Evaluation
from metier.evaluation.standings import Judgement, JudgeReport
from metier.evaluation.systems import Material
from metier.events import Observer
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import cut_policy
from metier.model.prompt import PromptFormat
from metier.recipe.candidates import resolve_candidates
from metier.recipe.dump import dump_recipe, recipe_hash
from metier.recipe.load import expand
from metier.recipe.sections import Recipe, TrainingSection
from metier.recipe.tasks import WRITES
from metier.report.judgement_page import write_judgement
from metier.stages.account import settle_privacy
from metier.stages.judge_answers import journals_of, judge_written, refuse_unready_judge
from metier.stages.lock import write_lock
from metier.stages.opening import judged_records, judged_set, open_seal
from metier.stages.reuse import told
from metier.stages.workshop import Workshop
from metier.store.event_log import EventLog
from metier.store.files import write_text
from metier.store.fingerprint import fingerprint
from metier.store.locks import alone_in
from metier.store.run_folder import RunFolder, default_run_path, finish_run, read_state, reopen_run

_OF_THE_ITEMS = (
    "version", "name", "task", "seed", "model", "prompt", "data", "generation", "privacy", "hardware", "output",
    "report",
)  # fmt: skip
"""Sections that decide what is asked, and how; the others of a recipe only say how answers are judged."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a comparison of named systems ended."""

    folder: RunFolder
    judgement: Judgement
    judge: JudgeReport | None
    """What a judge model said, where the recipe names one."""
    exit_code: int = DONE


def items_alone(recipe: Recipe) -> Recipe:
    """The recipe without its systems, its training and what it says about judging: what a folder belongs to."""
    given = {name: getattr(recipe, name) for name in _OF_THE_ITEMS}
    training = TrainingSection(enabled=False, max_length=recipe.training.max_length)
    return Recipe.model_construct(
        **{**{name: getattr(_blank(recipe), name) for name in Recipe.model_fields}, **given, "training": training}
    )


def judging_folder(recipe: Recipe, output: Path | None = None) -> RunFolder:
    """Where a comparison lies: as asked, as the recipe says, else `runs/<name>-compare-<hash>`.

    Args:
        recipe: With systems.
        output: As the user asks. None: as the recipe says.
    """
    if output is not None:
        return RunFolder(output)
    if recipe.output.dir is not None:
        return RunFolder(Path(expand(recipe.output.dir)))
    return RunFolder(default_run_path(f"{recipe.name}-compare", recipe_hash(items_alone(recipe))))


def reopen_judged(recipe: Recipe, folder: RunFolder) -> None:
    """Let a comparison that is complete go on: its data is taken as it is, and systems may have come or gone."""
    if folder.state.is_file():
        state = read_state(folder)
        if state.complete and state.recipe_hash == recipe_hash(items_alone(recipe)):
            reopen_run(folder)


def judge_recipe(
    recipe: Recipe, prepare: Callable[..., object], *, output: Path | None = None, observers: Sequence[Observer] = ()
) -> Judged:
    """Prepare the data of a recipe, let every system that it names answer, and judge them.

    Args:
        recipe: With systems; what it says about training is not read.
        prepare: `metier.run.run_recipe`, which prepares the data.
        output: The folder. None: as `judging_folder` says.
        observers: Told about everything that happens.

    Raises:
        RecipeError: It names no systems.
        MetierError: The data or a system cannot be used, or an endpoint does not answer; what was answered is kept.
    """
    if not recipe.systems:
        fix = "Name them: `systems: {rules: {answers: rules.csv}, ours: {run: runs/latest}}`."
        raise RecipeError("systems", "is empty, so there is nothing to compare", "at least two systems", fix)
    refuse_unusable(recipe.systems, recipe.task, read=not recipe.privacy.strict)
    refuse_unready_judge(recipe)
    folder = judging_folder(recipe, output)
    reopen_judged(recipe, folder)
    prepare(items_alone(recipe), output=folder.path, resume=True, until="data", observers=observers)
    return judge_systems(recipe, folder, observers)


def judge_systems(recipe: Recipe, folder: RunFolder, observers: Sequence[Observer] = ()) -> Judged:
    """Let every system of a recipe answer the same records, and judge them against the reference.

    Args:
        recipe: With systems.
        folder: Its data is prepared (`metier run --until data` of `items_alone`).
        observers: Told about everything that happens.

    Raises:
        MetierError: A system cannot be used, or an endpoint does not answer; what was answered is kept.
    """
    identity = recipe_hash(items_alone(recipe))
    with alone_in(folder.path, folder.state):
        heard = (*observers, EventLog(folder.events))
        with strict_if_asked(recipe, folder, run=identity, ended=partial(_is_complete, folder)) as strict:
            write_text(folder.recipe, dump_recipe(recipe))
            with told("systems", heard, strict):
                judged = _judge(recipe, folder, strict, heard)
            finish_run(folder, judged.exit_code)
    return judged


def _is_complete(folder: RunFolder) -> bool:
    return read_state(folder).complete


def _judge(recipe: Recipe, folder: RunFolder, strict: StrictRun | None, observers: Sequence[Observer]) -> Judged:
    shop = Workshop(
        recipe, resolve_candidates(recipe), folder, load_prepared(folder.data), observers, strict=strict
    )  # fmt: skip
    section, place = recipe.evaluation, folder.evaluation_of(judged_set(shop)).path
    beside, ground = shop.beside, _ground(shop)
    refuse_unfit(recipe.systems, ground)  # what cannot answer is told before the test set is opened
    systems = named_systems(recipe.systems, ground)
    write_lock(shop, (), recipe_hash(recipe))
    openings = open_seal(shop, fingerprint([recipe_hash(items_alone(recipe)), str(folder.path.resolve())])[:32])
    asked = shop.record_set(judged_set(shop), judged_records(shop))

    def written(evaluation: Evaluation) -> Evaluation:
        return evaluation if evaluation.hashed else without_texts(evaluation, shop.policy)

    found = answer_all(
        systems, asked, section=section, seed=recipe.seed, kept=Kept(folder=place, form=written), beside=beside,
        observers=observers,
    )  # fmt: skip
    keep_systems(place, list(recipe.systems))
    shop.release_models()
    reference = section.reference or next(iter(recipe.systems))
    judgement = judge_against(
        [written(each) for each in found], reference, section=section, seed=recipe.seed, openings=openings
    )
    write_look(judgement, place)
    others = [each for each in found if each.system != reference]
    base = next(each for each in found if each.system == reference)
    if section.judge is None or not others:
        look_path(JudgeReport, place).unlink(missing_ok=True)  # of a recipe that named one before
    said = judge_written(shop, others, base, place) if others else None
    write_judgement(folder)
    if strict is not None:
        settle_privacy(shop, strict)  # of all that is there, the page among it
    return Judged(folder=folder, judgement=judgement, judge=said)


def _ground(shop: Workshop) -> JudgingGround:
    """What the systems may be built from."""
    recipe, data = shop.recipe, shop.data
    prompt = shop.asked(recipe)
    assert isinstance(prompt, PromptFormat | ChatPrompt)  # systems of passages are refused by the recipe's rules
    labels = data.labels if recipe.task not in WRITES else ()
    material = Material(
        train=shop.train, validation=shop.validation, labels=labels, section=recipe.evaluation.for_choices(),
        seed=recipe.seed, task=recipe.task, observers=shop.observers,
    )  # fmt: skip
    return JudgingGround(
        records=judged_records(shop), material=material, prompt=prompt, folder=Path(), journals=journals_of(shop),
        hardware_section=recipe.hardware, generation=recipe.generation, max_length=recipe.training.max_length,
        too_long=cut_policy(recipe.data.too_long), list_labels=recipe.prompt.list_labels,
        separator=recipe.data.label_separator,
    )  # fmt: skip


def _blank(recipe: Recipe) -> Recipe:
    """A recipe of the same task with every default."""
    return Recipe.model_validate({"task": recipe.task, "data": {"train": "-"}})
