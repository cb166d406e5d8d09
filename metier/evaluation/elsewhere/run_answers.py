"""A finished metier run as a system: its recorded answers where they are to the same records, else its model.

Loads torch only where the model has to answer.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from metier.data.records import Choice, Input, Record
from metier.errors import DataError, ModelError, RunFolderError
from metier.evaluation.answering.listing import ListWriter, as_task_reads
from metier.evaluation.elsewhere.recorded import load_recorded
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.files import read_evaluations
from metier.evaluation.labels.label_metrics import MISSING
from metier.evaluation.looks import look_path
from metier.evaluation.measures import gold_of
from metier.evaluation.results import Answer, Evaluation, Item
from metier.evaluation.standings import Judgement
from metier.evaluation.systems import AnswerOptions, System
from metier.events import Notice, Observer, tell
from metier.recipe.sections import EvaluationSection
from metier.recipe.tasks import WRITES
from metier.store.run_folder import RunFolder, find_run

if TYPE_CHECKING:
    from metier.device import Hardware

TUNED, TEST = "tuned", "test"
OF_LABELS = ("classification", "multilabel")
"""Tasks whose answers are names of labels; those of the others are texts."""
SEEN = ("train", "validation")
"""Splits that a run learned from, or chose by."""


@dataclass(eq=False, kw_only=True)
class RunAnswers:
    """What a run's trained model answered to its own test set."""

    name: str
    kind: str
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    task: str
    seconds: float = 0.0
    """What one answer took the run on average; 0 where it does not say."""
    items: Mapping[str, Item] = field(default_factory=dict, repr=False)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The recorded answer of every input."""
        for given in inputs:
            item = self.items.get(given.id)
            if item is None:
                yield Answer(id=given.id, label=None, stop="none", reason=MISSING)
                continue
            labelled = self.task in OF_LABELS
            yield Answer(
                id=given.id, label=item.answer if labelled else None, text=None if labelled else item.answer,
                label_logprobs=item.label_logprobs, stop=item.stop or "label", reason=item.reason, seconds=self.seconds,
            )  # fmt: skip


class ScoredRunAnswers(RunAnswers):
    """The same of a model that also said how probable the gold answers are to it."""

    def target_logprobs(self, records: Sequence[Record]) -> list[tuple[float, int] | None]:
        """Of each record the sum of log-probabilities of its gold answer and its tokens, as they were recorded."""
        found: list[tuple[float, int] | None] = []
        for record in records:
            nats, tokens = self.items[record.id].counts["loss"]
            found.append((-nats, int(tokens)) if tokens else None)
        return found


def run_system(
    path: Path,
    records: Sequence[Record],
    *,
    name: str,
    hardware: Callable[[], Hardware],
    observers: Sequence[Observer] = (),
) -> System:
    """The trained model of a finished run.

    Args:
        path: The run folder, or `runs/latest`.
        records: What it is asked.
        name: Name of the system.
        hardware: Gives device and dtype; called if its model has to answer.
        observers: Told about the loading.

    Raises:
        RunFolderError: There is no such run.
        ModelError: It has no promoted model yet, and no answers to these records.
        DataError: It learned from some of these records, or was chosen by them.
    """
    folder = find_run(path)
    recorded = recorded_answers(folder, records, name)
    if recorded is not None:
        return recorded
    refuse_what_it_saw(folder, records, name, observers)
    return _asked_again(folder, name, hardware, observers)


def recorded_answers(folder: RunFolder, records: Sequence[Record], name: str) -> RunAnswers | None:
    """The run's answers to its test set, where that has the same records with the same gold answers; else None."""
    if not folder.results(TEST).is_file():
        return None
    try:
        found = read_evaluations(folder.results(TEST).parent, systems={TUNED})
    except RunFolderError:  # damaged: its model can still be asked
        return None
    if not found:
        return None
    evaluation = found[0]
    items = {item.id: item for item in evaluation.items}
    same = all(record.id in items and items[record.id].gold == gold_of(record) for record in records)
    if evaluation.hashed or not same:
        return None
    scored = all("loss" in items[record.id].counts for record in records)
    made = ScoredRunAnswers if scored else RunAnswers
    return made(
        name=name, kind=f"metier run {folder.path.name}: {evaluation.kind}", parameters=evaluation.parameters,
        bytes=evaluation.bytes, trained_on=evaluation.trained_on, settings=_settings(evaluation, folder),
        task=evaluation.task, items=items, seconds=(evaluation.seconds_per_thousand or 0.0) / 1000,
    )  # fmt: skip


def refuse_what_it_saw(
    folder: RunFolder, records: Sequence[Record], name: str, observers: Sequence[Observer] = ()
) -> None:
    """A model is not asked what it was taught, or chosen by: what it says there shows nothing.

    Records are the same where their texts are, by the hash in their ids.

    Args:
        folder: The run's.
        records: What it would be asked.
        name: Name of the system.
        observers: Told where it cannot be known.

    Raises:
        DataError: It learned from some of these records, or was chosen by them.
    """
    splits = [folder.split(split) for split in SEEN]
    if not all(path.is_file() for path in splits):
        said = f"{name}: whether {folder.path.name} learned from these records is not known: its splits are gone."
        tell(observers, Notice(topic="answers", message=said))
        return
    from metier.data.prepare import load_prepared

    prepared, asked = load_prepared(folder.data), {_text_of(record) for record in records}
    for split in (prepared.train, prepared.validation):
        if seen := sum(_text_of(record) in asked for record in split.records()):
            raise DataError(
                f"system {name}", f"{folder.path.name} has {seen} of these {len(records)} records in its {split.name}",
                "records that it has not seen",
                "Give both recipes the same files and seed, or name a test file of its own as data.test.",
            )  # fmt: skip


def _text_of(record: Record) -> str:
    """The part of an id that is the same for the same text."""
    return record.id.rpartition("-")[0] or record.id


def _settings(evaluation: Evaluation, folder: RunFolder) -> dict[str, Any]:
    return {
        **evaluation.settings, "run": folder.path.name, "answers": "recorded by the run",
        "seconds_per_thousand": evaluation.seconds_per_thousand,
    }  # fmt: skip


def refuse_unfinished(folder: RunFolder) -> None:
    """Refuse a run whose model is not there to be asked.

    Args:
        folder: A run folder.

    Raises:
        ModelError: It has no promoted model yet, or is a comparison, which never has one.
    """
    if look_path(Judgement, folder.evaluation_of(TEST).path).is_file():
        found, fix = "is a comparison, which has no model of its own", "Name the systems that it compared."
        raise ModelError(str(folder.path), found, "the folder of a run", fix)
    if not folder.model.is_dir():
        found, fix = "has no promoted model yet", "Run its recipe with --resume."
        raise ModelError(str(folder.path), found, "a run that reached its test set", fix)


def _asked_again(
    folder: RunFolder, name: str, hardware: Callable[[], Hardware], observers: Sequence[Observer]
) -> System:
    """The run's model, loaded."""
    refuse_unfinished(folder)
    from metier.evaluation.answering.tuned import HowAsked, tuned_system
    from metier.model.saved import load_model

    gc.collect()
    saved = load_model(folder.model, hardware(), observers)
    system = tuned_system(
        saved.model, HowAsked.of(saved), trained_on=f"{saved.examples} examples", observers=observers,
        settings={"run": folder.path.name, "answers": "asked again"},
    )  # fmt: skip
    kind = f"metier run {folder.path.name}: {system.kind}"
    return _called(system, name, kind)


def _called(system: System, name: str, kind: str) -> System:
    """The same system under another name."""
    if isinstance(system, ListWriter):
        return replace(system, writer=_called(system.writer, name, kind))
    # Scorers, heads, writers and readers are all dataclasses with a name and a kind.
    return cast(System, replace(cast(Any, system), name=name, kind=kind))


def answers_to_run(folder: RunFolder, file: Path, name: str, *, observers: Sequence[Observer] = ()) -> Evaluation:
    """A file of answers to a run's test set, measured as the run was.

    Args:
        folder: A run that reached its test set.
        file: Answers by id or row, as `recorded.load_recorded` reads them.
        name: Name of the system.
        observers: Told what is missing, double or of no record.

    Raises:
        RunFolderError: The run has no test set, or only hashes of it are left.
        DataError: The file cannot be matched with its records.
    """
    if not folder.results(TEST).is_file():
        fix = "Run its recipe with --resume."
        raise RunFolderError(str(folder.path), "has not reached its test set", "a complete run", fix)
    found = read_evaluations(folder.results(TEST).parent, systems={TUNED})
    if not found:
        raise RunFolderError(str(folder.path), f"has no results of a system called {TUNED}", "")
    tuned = found[0]
    labels = tuned.labels if tuned.task not in WRITES else ()
    read = load_recorded(
        file, records := _records_of(folder, tuned), name=name, labels=labels, task=tuned.task, observers=observers
    )  # fmt: skip
    system = as_task_reads(read, tuned.task, labels)
    asked = RecordSet(name=TEST, records=records, task=tuned.task, labels=tuned.labels)
    section = EvaluationSection(resamples=tuned.resamples)
    return evaluate_system(system, asked, section=section, seed=tuned.seed, observers=observers)


def _records_of(folder: RunFolder, evaluation: Evaluation) -> list[Record]:
    """The records behind an evaluation, in the order of its items; of labels the items are enough."""
    if folder.split(TEST).is_file():
        from metier.data.prepare import load_prepared

        known = {record.id: record for record in load_prepared(folder.data).test.records()}
        if all(item.id in known for item in evaluation.items):
            return [replace(known[item.id], group=item.group) for item in evaluation.items]
    if evaluation.task != "classification":
        found = "holds hashes where its test records were" if evaluation.hashed else "does not hold its test records"
        raise RunFolderError(str(folder.path), found, "a run with its data")
    return [
        Choice(
            id=item.id, text="", label=item.gold, group=item.group, source=item.source, row=item.row, flags=item.flags
        )
        for item in evaluation.items
    ]  # fmt: skip
