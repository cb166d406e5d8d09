"""A finished metier run as a system: its recorded answers where they are to the same records, else its model.

Loads torch only where the model has to answer.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from metier.data.records import Input, Record
from metier.errors import ModelError, RunFolderError
from metier.evaluation.files import read_evaluations
from metier.evaluation.label_metrics import MISSING
from metier.evaluation.results import Answer, Evaluation, Item
from metier.evaluation.systems import AnswerOptions, System
from metier.events import Observer
from metier.store.run_folder import RunFolder, find_run

if TYPE_CHECKING:
    from metier.device import Hardware

TUNED, TEST = "tuned", "test"


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
    items: Mapping[str, Item] = field(default_factory=dict, repr=False)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The recorded answer of every input."""
        for given in inputs:
            item = self.items.get(given.id)
            if item is None:
                yield Answer(id=given.id, label=None, stop="none", reason=MISSING)
                continue
            labelled = self.task == "classification"
            yield Answer(
                id=given.id, label=item.answer if labelled else None, text=None if labelled else item.answer,
                label_logprobs=item.label_logprobs, stop=item.stop or "label", reason=item.reason,
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
    """
    folder = find_run(path)
    recorded = recorded_answers(folder, records, name)
    return recorded if recorded is not None else _asked_again(folder, name, hardware, observers)


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
    if any(record.id not in items or items[record.id].gold != record.gold for record in records):
        return None
    scored = all("loss" in items[record.id].counts for record in records)
    made = ScoredRunAnswers if scored else RunAnswers
    return made(
        name=name, kind=f"metier run {folder.path.name}: {evaluation.kind}", parameters=evaluation.parameters,
        bytes=evaluation.bytes, trained_on=evaluation.trained_on, settings=_settings(evaluation, folder),
        task=evaluation.task, items=items,
    )  # fmt: skip


def _settings(evaluation: Evaluation, folder: RunFolder) -> dict[str, Any]:
    return {
        **evaluation.settings, "run": folder.path.name, "answers": "recorded by the run",
        "seconds_per_thousand": evaluation.seconds_per_thousand,
    }  # fmt: skip


def _asked_again(
    folder: RunFolder, name: str, hardware: Callable[[], Hardware], observers: Sequence[Observer]
) -> System:
    """The run's model, loaded."""
    if not folder.model.is_dir():
        found, fix = "has no promoted model yet", "Run its recipe with --resume."
        raise ModelError(str(folder.path), found, "a run that reached its test set", fix)
    from metier.evaluation.tuned import HowAsked, tuned_system
    from metier.model.saved import load_model

    gc.collect()
    saved = load_model(folder.model, hardware(), observers)
    system = tuned_system(
        saved.model, HowAsked.of(saved), trained_on=f"{saved.examples} examples", observers=observers,
        settings={"run": folder.path.name, "answers": "asked again"},
    )  # fmt: skip
    kind = f"metier run {folder.path.name}: {system.kind}"
    # Scorers, heads, writers and readers are all dataclasses with a name and a kind.
    return cast(System, replace(cast(Any, system), name=name, kind=kind))
