"""A trained model ready to answer: read from a run, asked in texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from metier.data.input_rules import InputRules
from metier.data.privacy.inputs import InputHiding
from metier.data.records import Input
from metier.data.text_spans import read_spans
from metier.device import Hardware, choose_hardware
from metier.errors import DataError, ModelError
from metier.evaluation.answering.tuned import HowAsked, tuned_system
from metier.evaluation.labels.saved_calibration import SavedCalibration, calibrated, read_calibration
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, System
from metier.events import Event, Notice, Observer, tell
from metier.model.prompt import PromptFormat
from metier.model.saved import ABOUT, Saved, load_model
from metier.recipe.load import load_recipe
from metier.recipe.sections import HardwareSection
from metier.recipe.tasks import LISTS
from metier.store.fingerprint import file_sha256, fingerprint
from metier.store.run_folder import RunFolder, find_run

SLICE = 200
"""Different inputs that are answered together: what a kill can lose, and how often progress is told."""
EMPTY = "empty text"


@dataclass(frozen=True, kw_only=True, eq=False)
class Specialist:
    """The trained model of a run."""

    folder: Path
    """The model's folder."""
    system: System
    rules: InputRules | None
    """How a row becomes a text; None for a model without its run, which can still answer texts."""
    labels: tuple[str, ...]
    """What it answers with; empty where it writes."""
    hardware: Hardware
    task: str = "classification"
    """The recipe's task."""
    seed: int = 17
    """Of sampling, where answers are sampled."""
    calibration: SavedCalibration | None = None
    """How its probabilities are to be read, from validation; None: as they come."""

    def answer(self, texts: Sequence[str]) -> Iterator[Answer]:
        """One answer for every text, in order: the most probable label and the log-probability of each, or a text.

        Texts are cleaned as the training data was. One that is empty then has no answer and a reason.
        """
        clean = (self.rules or InputRules(text_columns=())).clean
        for start in range(0, len(texts), SLICE):
            cleaned = [clean(text) for text in texts[start : start + SLICE]]
            inputs = [Input(id=str(start + place), text=text) for place, text in enumerate(cleaned) if text]
            answers = self.ask(inputs, start) if inputs else iter(())
            for place, text in enumerate(cleaned):
                yield next(answers) if text else Answer(id=str(start + place), label=None, reason=EMPTY)

    def ask(self, inputs: Sequence[Input], first: int = 0) -> Iterator[Answer]:
        """One answer for every input, in order.

        Args:
            inputs: Cleaned already; personal data is hidden here, as in the model's test rows.
            first: How many were asked before.

        Raises:
            MissingPackage: What finds personal data is not installed.
            ArgumentError: The key of surrogates is not set.
        """
        if self.hiding is not None:
            inputs = self.hiding.inputs(inputs)
        answers = self.system.answer(inputs, AnswerOptions(first=first))
        if self.task == "extraction":
            return map(with_words, inputs, answers)
        value = 1.0 if self.calibration is None else self.calibration.temperature.value
        return answers if value == 1.0 else (_tempered(answer, value) for answer in answers)

    @cached_property
    def hiding(self) -> InputHiding | None:
        """What hides personal data in inputs; None where training hid none."""
        saved = self.rules.protection if self.rules is not None else None
        return None if saved is None else InputHiding(saved)

    @cached_property
    def identity(self) -> str:
        """Hash of everything that its answers depend on besides the texts."""
        files = sorted(path for path in self.folder.iterdir() if path.suffix in (".json", ".jinja", ".safetensors"))
        hashes = {path.name: file_sha256(path) for path in files}
        return fingerprint([hashes, self.hardware.device, self.hardware.dtype, SLICE, self.seed])


def _tempered(answer: Answer, temperature: float) -> Answer:
    """The same answer, its probabilities as validation says that they should be."""
    logprobs = answer.label_logprobs
    return answer if logprobs is None else replace(answer, label_logprobs=calibrated(logprobs, temperature))


def load_run(path: Path, observers: Sequence[Observer] = ()) -> Specialist:
    """Read the promoted model of a run, ready to answer.

    Args:
        path: A run folder, `runs/latest`, or the model's folder alone.
        observers: Told about the loading and about slower paths.

    Raises:
        RunFolderError: There is no run.
        ModelError: The run has no promoted model yet, its model answers nothing, or its base model is missing or
            another one.
    """
    return as_specialist(read_promoted(path, observers), observers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Promoted:
    """A run's model as it was read from disk."""

    folder: Path
    """The model's folder."""
    saved: Saved
    hardware: Hardware
    seed: int
    """Of sampling, where answers are sampled."""


def read_promoted(path: Path, observers: Sequence[Observer] = ()) -> Promoted:
    """Read the promoted model of a run; arguments and errors as `load_run`."""
    seed = 17
    if (path / ABOUT).is_file():
        folder, section = path, HardwareSection()
    else:
        run = find_run(path)
        folder = run.model
        if not (folder / ABOUT).is_file():
            raise ModelError(
                str(path), "has no promoted model yet", "a run that reached its test set",
                "Run its recipe with --resume.",
            )  # fmt: skip
        recipe = load_recipe(run.recipe)
        section, seed = recipe.hardware, recipe.seed
    hardware = choose_hardware(section)
    saved = load_model(folder, hardware, observers)
    if saved.task == "text":
        found, fix = (
            "has learned to read on, and answers nothing",
            "`metier export` makes it a base for another recipe.",
        )
        raise ModelError(str(path), found, "a model that answers", fix)
    return Promoted(folder=folder, saved=saved, hardware=hardware, seed=seed)


def as_specialist(promoted: Promoted, observers: Sequence[Observer] = ()) -> Specialist:
    """A model that was read, ready to answer."""
    saved = promoted.saved

    def notices(event: Event) -> None:
        if isinstance(event, Notice):  # how far it is, is told by whoever asks
            tell(observers, event)

    system = tuned_system(
        saved.model, replace(HowAsked.of(saved), seed=promoted.seed), trained_on=f"{saved.examples} examples",
        observers=(notices,),
    )  # fmt: skip
    return Specialist(
        folder=promoted.folder, system=system, rules=rules_beside(promoted.folder), labels=labels_of(saved),
        hardware=promoted.hardware, task=saved.task, seed=promoted.seed,
        calibration=read_calibration(promoted.folder, ABOUT),
    )  # fmt: skip


def with_words(given: Input, answer: Answer) -> Answer:
    """An answer of pieces with their words: a JSON list of `{"start": …, "end": …, "label": …, "text": …}`.

    Offsets count the characters of the text as it was asked, which is the input after the repairs of training. A piece
    that the text does not have is left out, and the reason says so.

    Args:
        given: What was asked.
        answer: Pieces by offsets.
    """
    spans = read_spans(answer.text)
    if spans is None:
        return replace(answer, text=None)
    there = [span for span in spans if span.end <= len(given.text)]
    rows = [
        {"start": span.start, "end": span.end, "label": span.label, "text": given.text[span.start : span.end]}
        for span in there
    ]
    lost = len(spans) - len(there)
    said = f"{lost} not in the text" if lost else None
    reason = "; ".join(each for each in (answer.reason, said) if each) or None
    return replace(answer, text=json.dumps(rows, ensure_ascii=False), reason=reason)


def labels_of(saved: Saved) -> tuple[str, ...]:
    """What a saved model answers with; empty where it writes."""
    if saved.task in LISTS and saved.model.head is None:
        return ()
    return saved.model.labels or (saved.prompt.labels if isinstance(saved.prompt, PromptFormat) else ())


def with_text_column(rules: InputRules | None, column: str | None, folder: Path) -> InputRules:
    """The rules that read a file's rows; `column` takes the place of the columns that training had.

    Raises:
        DataError: Neither the model nor the caller says which column it is.
    """
    if column is not None:
        rules = rules or InputRules(text_columns=())
        own_system = {name: path for name, path in rules.fields.items() if name == "system"}
        return replace(rules, text_columns=(column,), template=None, shape="columns", fields=own_system)
    if rules is None:
        fix = "Name it with --text-column, or give the run's folder."
        raise DataError(str(folder), "does not say which column holds the text", "", fix)
    return rules


def rules_beside(folder: Path) -> InputRules | None:
    """How a row becomes an input of a model; None where that does not lie beside it, nor in its run.

    Args:
        folder: The model's folder.
    """
    places = [folder / RunFolder(folder).input.name]
    if len(folder.absolute().parents) > 2:
        run = RunFolder(folder.absolute().parents[2])
        if run.state.is_file():  # else it is some folder that a model was copied into
            places.append(run.data / places[0].name)
    return next((InputRules.read(place) for place in places if place.is_file()), None)
