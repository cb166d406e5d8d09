"""A system is anything that answers; `SYSTEMS` is the table of those that a recipe can name.

To add one: write a builder `(Material) -> System`, give it a row here and a name in
`metier.recipe.sections.SystemName`. Builders are imported when they are asked for, so that a majority
baseline never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from metier.data.records import Choice, Input
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


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a builder may use. It never holds the test set."""

    train: Sequence[Choice]
    validation: Sequence[Choice]
    labels: tuple[str, ...]
    """Labels of train, in the order of tables."""
    section: EvaluationSection
    seed: int
    observers: Sequence[Observer] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What language-model systems need besides (loaded base, prompt and training sections), by name."""


Builder = Callable[[Material], System]

SYSTEMS: Mapping[str, str] = {
    "majority": "metier.evaluation.baselines:build_majority",
    "tfidf": "metier.evaluation.baselines:build_tfidf",
    "probe": "metier.evaluation.heads:build_probe",
    "zero_shot": "metier.evaluation.language_model:build_zero_shot",
    "few_shot": "metier.evaluation.language_model:build_few_shot",
}
"""Name in a recipe -> `module:function` of its builder."""

UNTRAINED = frozenset({"majority", "zero_shot", "few_shot"})
"""Systems that a user has without training anything."""


def build_system(name: str, material: Material) -> System:
    """Build the system that `SYSTEMS` calls `name`.

    Args:
        name: A row of `SYSTEMS`.
        material: What the builder may use.

    Raises:
        ArgumentError: There is no such system.
    """
    if name not in SYSTEMS:
        raise ArgumentError("evaluation.systems", f"found {name!r}", f"one of {', '.join(SYSTEMS)}")
    module, function = SYSTEMS[name].split(":")
    builder = cast(Builder, getattr(import_module(module), function))
    return builder(material)
