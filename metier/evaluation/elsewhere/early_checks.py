"""What is wrong with the systems that a recipe names, told before anything is computed, opened or asked.

`refuse_unusable` needs no records: it looks at paths, headers and keys, and comes before the data is read.
`refuse_unfit` comes right after that: answers that are to other records, runs that were taught these, recordings of
another model. Loads torch only for models that were made elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from metier.data.stream import stream_rows
from metier.errors import ArgumentError, DataError, MetierError
from metier.evaluation.elsewhere.chat_api import ChatClient
from metier.evaluation.elsewhere.endpoint import open_endpoint
from metier.evaluation.elsewhere.listed_answers import LIST_COLUMNS, ListQuestion, list_columns
from metier.evaluation.elsewhere.named_systems import (
    JudgingGround,
    build_named,
    endpoint_of,
    journal_of,
    kind_of,
    model_section,
)  # fmt: skip
from metier.evaluation.elsewhere.recorded import answer_column, id_column_of
from metier.evaluation.elsewhere.run_answers import TEST, recorded_answers, refuse_unfinished, refuse_what_it_saw
from metier.evaluation.looks import look_path
from metier.evaluation.standings import Judgement
from metier.recipe.load import expand
from metier.recipe.tasks import LISTS
from metier.store.run_folder import find_run

Said = Mapping[str, Any]
"""The fields of a system, as the recipe has them."""


def refuse_unusable(systems: Mapping[str, Said], task: str, *, read: bool = True) -> None:
    """Refuse a recipe one of whose systems cannot answer, whatever is asked.

    Args:
        systems: Name -> fields, as the recipe has them.
        task: The recipe's.
        read: Whether files of answers may be opened; else only their paths are looked at.

    Raises:
        UserError: A path leads nowhere, a file is empty, no table or without its columns, a run is none, an adapter
            lacks its config, a model is none.
        LackingEnvironment: The variable of an endpoint's key is not set.
    """
    for name, said in systems.items():
        kind = kind_of(name, said)
        with _told_of(name):
            if kind == "answers":
                _look_at_answers(said, task, read=read)
            elif kind in _LOOKS:
                _LOOKS[kind](said)


def refuse_unfit(systems: Mapping[str, Said], ground: JudgingGround) -> None:
    """Refuse a recipe one of whose systems cannot answer these records.

    Args:
        systems: Name -> fields, as the recipe has them.
        ground: What they may be built from.

    Raises:
        UserError: No id of a file of answers is a record's, a run was taught some of them, or a recording is of
            another model or prompt.
    """
    silent = replace(ground, material=replace(ground.material, observers=()))  # what it says is said when it answers
    for name, said in systems.items():
        kind = kind_of(name, said)
        with _told_of(name):
            if kind in ("answers", "lm_eval"):
                build_named(name, said, silent)
            elif kind == "run":
                folder = find_run(ground.path(said["run"], "run"))
                if recorded_answers(folder, ground.records, name) is None:
                    refuse_unfinished(folder)
                    refuse_what_it_saw(folder, ground.records, name)
            elif kind == "endpoint":
                _look_at_journal(name, said, ground)


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """Says which system a fault is about."""
    try:
        yield
    except MetierError as fault:
        if fault.where.startswith(("system ", "systems.")):
            raise
        raise type(fault)(f"systems.{name}", f"{fault.where}: {fault.found}", fault.wanted, fault.fix) from fault


def _path(value: object) -> Path:
    return Path(expand(str(value))).expanduser()


def _look_at_answers(said: Said, task: str, *, read: bool) -> None:
    """Reads as much of the file as it takes to find its columns."""
    path = _path(said["answers"])
    if not path.exists() and not any(parent.is_file() for parent in path.parents):  # one in an archive is below a file
        raise DataError(str(path), "does not exist", "a file of answers", "Check the path.")
    if path.is_dir():
        raise DataError(str(path), "is a folder", "a file of answers", "Name the file in it.")
    if not read:
        return
    columns: dict[str, None] = {}
    missing: DataError | None = None
    for batch in stream_rows(path):
        columns.update(dict.fromkeys(column for row in batch.rows for column in row))
        try:
            _find_columns(tuple(columns), path.name, said, task)
        except DataError as fault:  # a column of JSON may come later
            missing = fault
        else:
            return
    if missing is not None:
        raise missing


def _find_columns(columns: Sequence[str], name: str, said: Said, task: str) -> None:
    id, answer = id_column_of(columns, name, said.get("id")), said.get("answer")
    if task not in LISTS:
        answer_column(columns, name, answer)
    elif task != "multilabel" or answer is not None or {each.lower() for each in columns} & set(LIST_COLUMNS[task]):
        # Else a column for each label: which they are is known with the data.
        list_columns(columns, name, ListQuestion(task=task, labels=(), answer=answer, id=id))


def _look_at_run(said: Said) -> None:
    folder = find_run(_path(said["run"]))
    if not folder.results(TEST).is_file() or look_path(Judgement, folder.evaluation_of(TEST).path).is_file():
        refuse_unfinished(folder)  # what a run answered is enough; a comparison answered nothing itself


def _look_at_model(said: Said) -> None:
    from metier.evaluation.elsewhere.adapter_folder import read_adapter_config
    from metier.model.base import refuse_missing_model

    if said.get("adapter") is not None:
        read_adapter_config(_path(said["adapter"]))
    refuse_missing_model(model_section("", said, lambda value, _: _path(value)))


def _look_at_endpoint(said: Said) -> None:
    endpoint, _ = endpoint_of("", said)
    if said.get("replay") is not True:
        ChatClient(endpoint)  # refuses an address and a key that cannot be used; nothing is sent


def _look_at_samples(said: Said) -> None:
    path = _path(said["lm_eval"])
    if not path.is_file():
        wanted = "samples_….jsonl, as --log_samples writes it below --output_path"
        raise DataError(str(path), "is no file", wanted, "Check the path.")


def _look_at_journal(name: str, said: Said, ground: JudgingGround) -> None:
    """A recording that is there has to be of this model and prompt; one that is replayed has to be there."""
    endpoint, asked = endpoint_of(name, said)
    journal = journal_of(name, said, ground, endpoint, asked)
    if journal.exists():
        open_endpoint(endpoint, ground.prompt, journal, name=name, asked=asked, replay=True)
    elif said.get("replay") is True:
        fix = "Name it as `journal`, or leave `replay` out to ask the endpoint."
        raise ArgumentError(str(journal), "does not exist", "the recording that is to be replayed", fix)


_LOOKS: Mapping[str, Callable[[Said], None]] = {
    "run": _look_at_run, "endpoint": _look_at_endpoint, "lm_eval": _look_at_samples, "model": _look_at_model,
}  # fmt: skip
"""Kind of system -> what is looked at before the data is read; files of answers need the task besides."""
