"""The test items of a run as tasks of lm-evaluation-harness: what was asked, the choices, and what is right.

Takes a finished run; gives a folder that the harness reads with `--include_path`. No model is loaded, only its
tokenizer, so that prompts are written as its chat template writes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.instruction import with_instruction
from metier.data.prepare import load_prepared
from metier.data.prepared import PreparedData
from metier.data.privacy.by_recipe import is_strict
from metier.data.records import Conversation, Record
from metier.errors import ArgumentError, DataError, RunFolderError
from metier.evaluation.elsewhere.harness import Asking, HarnessTask, export_tasks
from metier.evaluation.files import read_evaluations
from metier.model.base import load_tokenizer
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt, make_chat_prompt
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat, make_prompt_format
from metier.model.saved import ABOUT, read_prompt
from metier.recipe.load import load_recipe
from metier.recipe.sections import Recipe
from metier.recipe.tasks import ASKED_TO_WRITE
from metier.store.files import read_json, whole_folder
from metier.store.run_folder import RunFolder, find_run, read_state

FORM = "lm-eval"
TASKS = ("classification", *ASKED_TO_WRITE)
"""Tasks whose records have a right answer that the harness can count."""


@dataclass(frozen=True, kw_only=True)
class HarnessExport:
    """Tasks that were written."""

    path: Path
    tasks: tuple[HarnessTask, ...]
    items: int
    set: str
    """`test`, or `validation` where the verdict of the run is about that."""
    cut: int
    """Prompts that the run cut to `training.max_length`; here they are whole."""
    own: bool
    """Whether the run's own model can be asked: it answers in words, not by a head."""


def export_items(path: Path, out: Path | None = None) -> HarnessExport:
    """Write the items on which a run was judged as tasks of the harness.

    Args:
        path: A run folder that reached its report, or `runs/latest`.
        out: A new folder. None: beside the run, `RUN-lm-eval`.

    Raises:
        ArgumentError: The folder exists, or the harness cannot count what this task is about.
        RunFolderError: There is no such run, it is not complete, or its records are gone.
        DataError: The run is under `privacy: strict`, or has folds.
    """
    run = find_run(path)
    recipe = _refuse_unfit(path, run)
    target = out if out is not None else run.path.parent / f"{run.path.name}-{FORM}"
    if target.exists():
        found = "exists already, and metier never overwrites an export"
        raise ArgumentError(str(target), found, "", "Choose another folder.")
    data = load_prepared(run.data)
    records = _judged(run, recipe.evaluation.split, data)
    asking = _asking(run, recipe, data)
    name = f"metier_{re.sub(r'[^A-Za-z0-9]+', '_', recipe.name).strip('_') or 'run'}"
    with whole_folder(target) as draft:
        tasks = export_tasks(records, draft, asking, name=name, final=target)
    return HarnessExport(
        path=target,
        tasks=tasks,
        items=len(records),
        set=recipe.evaluation.split,
        cut=_cut(records, asking),
        own=asking.encoder is not None,
    )


def _refuse_unfit(path: Path, run: RunFolder) -> Recipe:
    """The run's recipe, where its items may leave it."""
    if is_strict(run):
        found = "was made under privacy: strict, and the items would take texts of records out of it"
        raise DataError(str(path), found, "a run whose texts may be written")
    if not read_state(run).complete:
        fix = "Continue it: metier run RECIPE --resume. Until then its test set stays sealed."
        raise RunFolderError(str(path), "has not been judged yet", "a run that reached its report", fix)
    recipe = load_recipe(run.recipe)
    if recipe.task not in TASKS:
        raise ArgumentError(f"--as {FORM}", f"has no measure for `task: {recipe.task}`", f"one of {', '.join(TASKS)}")
    if recipe.evaluation.folds is not None:
        found = "has folds: the model that is kept learned from every row, so no row is left to test it"
        raise DataError(str(path), found, "a run with a test set")
    return recipe


def _judged(run: RunFolder, split: str, data: PreparedData) -> list[Record]:
    """The records that were judged, in the order of the items."""
    place = run.evaluation_of(split)
    found = read_evaluations(place.path) if place.results.is_file() else []
    known = {record.id: record for record in (data.test if split == "test" else data.validation).records()}
    if not found or any(item.id not in known for item in found[0].items):
        raise RunFolderError(str(run.path), f"does not hold its {split} records", "a run with its data")
    return [known[item.id] for item in found[0].items]


def _asking(run: RunFolder, recipe: Recipe, data: PreparedData) -> Asking:
    """How the run's own model is asked; without a model that writes, as the recipe says."""
    stop = tuple(recipe.generation.stop)
    about = read_json(run.model / ABOUT, format="saved_model") if (run.model / ABOUT).is_file() else None
    if about is None or about["head"]:
        written = make_chat_prompt(with_instruction(recipe.prompt, data.card))
        labels = make_prompt_format(recipe.prompt, data.labels, data.card.label_column)
        prompt: PromptFormat | ChatPrompt | None = labels if recipe.task == "classification" else written
        most, encoder = recipe.generation.max_new_tokens, None
    else:
        prompt = read_prompt(run.model)
        most = (about.get("generation") or {}).get("max_new_tokens")
        encoder = Encoder(load_tokenizer(run.model), int(about["max_length"]), str(about["too_long"]))
    assert prompt is not None  # none is for passages, which are refused before
    return Asking(prompt=prompt, encoder=encoder, stop=stop, **({} if most is None else {"most_tokens": int(most)}))


def _cut(records: Sequence[Record], asking: Asking) -> int:
    """How many prompts the model was asked in part."""
    encoder, prompt = asking.encoder, asking.prompt
    if encoder is None:
        return 0
    if isinstance(prompt, PromptFormat):
        return sum(encoder.prompt(prompt, record.text).cut for record in records)
    chat, room = ChatEncoder(encoder), asking.most_tokens
    return sum(
        chat.prompt(prompt, record.context, record.tools, room=room).cut
        for record in records
        if isinstance(record, Conversation)
    )
