"""A system is anything that answers; `SYSTEMS_OF` has a table for each task of those that a recipe can name.

To add one: write a builder `(Material) -> System`, give it a row here and a name in
`metier.recipe.sections.SystemName`. Builders are imported when they are asked for, so that a majority
baseline never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from metier.data.records import Input, Record
from metier.errors import ArgumentError
from metier.evaluation.results import Answer
from metier.events import Observer

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """What a call may ask of a system; None leaves it to the system's own settings."""

    max_length: int | None = None
    """Tokens of prompt and answer together, for systems that have tokens."""
    batch_size: int | None = None
    """Inputs answered together; changes speed, not answers."""
    first: int = 0
    """Number of the first input, where inputs come in parts: sampled answers are a function of it."""


class System(Protocol):
    """Anything that answers."""

    @property
    def name(self) -> str:
        """Name in tables: `tfidf`, `zero_shot`, `tuned`, or a user's name."""
        ...

    @property
    def kind(self) -> str:
        """What it is, in words."""
        ...

    @property
    def parameters(self) -> int | None:
        """Numbers that it learned or loaded; None where that means nothing."""
        ...

    @property
    def bytes(self) -> int | None:
        """Size of its weights; None where unknown."""
        ...

    @property
    def trained_on(self) -> str:
        """What it saw, e.g. `no examples`, `561 examples`."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was chosen and the losers; `prompt_hash` where there is a prompt."""
        ...

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input, in the same order."""
        ...


@runtime_checkable
class TextScorer(Protocol):
    """A system that can also say how probable a given answer, or a passage, is to it."""

    def target_logprobs(self, records: Sequence[Record]) -> Sequence[tuple[float, int] | None]:
        """Of each record the sum of log-probabilities of its text and its tokens, end of turn included.

        None for a record that cannot be scored.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a builder may use. It never holds the test set."""

    train: Sequence[Any]
    """Records of the task's own kind, which the task's builders know."""
    validation: Sequence[Any]
    """The same."""
    labels: tuple[str, ...]
    """Labels of train, in the order of tables; empty where answers are written."""
    section: EvaluationSection
    seed: int
    task: str = "classification"
    """The recipe's task: a row of `SYSTEMS_OF`."""
    observers: Sequence[Observer] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What language-model systems need besides (loaded base, prompt and training sections), by name."""


Builder = Callable[[Material], System]

SYSTEMS: Mapping[str, str] = {
    "majority": "metier.evaluation.answering.baselines:build_majority",
    "tfidf": "metier.evaluation.answering.baselines:build_tfidf",
    "probe": "metier.evaluation.answering.heads:build_probe",
    "zero_shot": "metier.evaluation.answering.language_model:build_zero_shot",
    "few_shot": "metier.evaluation.answering.language_model:build_few_shot",
}
"""Systems that choose a label: name in a recipe -> `module:function` of its builder."""

WRITTEN_SYSTEMS: Mapping[str, str] = {
    "copy_input": "metier.evaluation.answering.retrieval:build_copy_input",
    "nearest_answer": "metier.evaluation.answering.retrieval:build_nearest_answer",
    "zero_shot": "metier.evaluation.answering.writers:build_zero_shot",
    "few_shot": "metier.evaluation.answering.writers:build_few_shot",
}
"""Systems that write an answer."""

READING_SYSTEMS: Mapping[str, str] = {"zero_shot": "metier.evaluation.answering.readers:build_reading_zero_shot"}
"""Systems that read on."""

LABEL_SET_SYSTEMS: Mapping[str, str] = {
    "majority": "metier.evaluation.answering.label_sets:build_majority",
    "tfidf": "metier.evaluation.answering.label_sets:build_tfidf",
    "probe": "metier.evaluation.answering.set_heads:build_probe",
    "zero_shot": "metier.evaluation.answering.list_writers:build_zero_shot",
    "few_shot": "metier.evaluation.answering.list_writers:build_few_shot",
}
"""Systems that choose any number of labels."""

SPAN_SYSTEMS: Mapping[str, str] = {
    "dictionary": "metier.evaluation.answering.span_baselines:build_dictionary",
    "tagger": "metier.evaluation.answering.span_baselines:build_tagger",
    "zero_shot": "metier.evaluation.answering.list_writers:build_zero_shot",
    "few_shot": "metier.evaluation.answering.list_writers:build_few_shot",
}
"""Systems that find pieces of the text."""

SYSTEMS_OF: Mapping[str, Mapping[str, str]] = {
    "classification": SYSTEMS, "generation": WRITTEN_SYSTEMS, "chat": WRITTEN_SYSTEMS, "text": READING_SYSTEMS,
    "multilabel": LABEL_SET_SYSTEMS, "extraction": SPAN_SYSTEMS,
}  # fmt: skip
"""Task of a recipe -> the systems that answer it."""

UNTRAINED = frozenset({"majority", "copy_input", "nearest_answer", "zero_shot", "few_shot"})
"""Systems that a user has without training anything."""


def build_system(name: str, material: Material, task: str | None = None) -> System:
    """Build the system that a recipe calls `name`.

    Args:
        name: A row of the task's table in `SYSTEMS_OF`.
        material: What the builder may use.
        task: The recipe's task. None: that of the material.

    Raises:
        ArgumentError: There is no such system for this task.
    """
    table = SYSTEMS_OF[task or material.task]
    if name not in table:
        raise ArgumentError("evaluation.systems", f"found {name!r}", f"one of {', '.join(table)}")
    module, function = table[name].split(":")
    builder = cast(Builder, getattr(import_module(module), function))
    return builder(material)
