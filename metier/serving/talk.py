"""Talking with a specialist in turns, and with its base model beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from metier.data.input_rules import InputRules
from metier.data.privacy.inputs import InputHiding
from metier.data.records import Input, Message, spoken
from metier.engine.forward import TreeRunner
from metier.errors import ArgumentError
from metier.evaluation.answering.writers import Writer
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Notice, Observer, tell
from metier.model.base import load_base_model
from metier.recipe.sections import ModelSection
from metier.serving.specialist import Promoted, as_specialist, read_promoted


@dataclass(eq=False)
class Speaker:
    """One model in a conversation: it remembers what was said to it and what it said."""

    writer: Writer
    promoted: Promoted | None = None
    """Whose adapter is set aside while this one speaks; None: nothing is."""
    turns: list[Message] = field(default_factory=list)

    def answer(self, text: str) -> Answer:
        """What it says to the next turn of the user; both are remembered, unless it could not answer."""
        asked = [*self.turns, Message(role="user", content=text)]
        with self._as_itself():
            given = Input(id=str(len(asked)), text=spoken(asked), messages=tuple(asked))
            answer = next(self.writer.answer([given], AnswerOptions(first=len(asked))))
        if answer.text is not None:
            self.turns = [*asked, Message(role="assistant", content=answer.text)]
        return answer

    def _as_itself(self) -> AbstractContextManager[object]:
        peft = self.promoted.saved.model.peft if self.promoted is not None else None
        return nullcontext() if peft is None else peft.disable_adapter()


@dataclass(eq=False)
class Talk:
    """A conversation with the tuned model, and, where asked for, the same one with its base model."""

    tuned: Speaker
    base: Speaker | None
    rules: InputRules | None
    hiding: InputHiding | None = None
    """Hides personal data in what the user says, where training hid it."""
    _said: list[str] = field(default_factory=list)

    def say(self, text: str) -> tuple[Answer, Answer | None]:
        """The answers of both to the next turn of the user."""
        cleaned = (self.rules or InputRules(text_columns=())).clean(text)
        if self.hiding is not None:
            self._said.append(cleaned)
            cleaned = self.hiding.turns(self._said)[-1]
        return self.tuned.answer(cleaned), self.base.answer(cleaned) if self.base is not None else None

    def forget(self) -> None:
        """Begin again, with the system prompt alone."""
        self._said.clear()
        for speaker in (self.tuned, self.base):
            if speaker is not None:
                speaker.turns = [turn for turn in speaker.turns[:1] if turn.role == "system"]


def open_talk(
    path: Path, *, with_base: bool = False, system: str | None = None, observers: Sequence[Observer] = ()
) -> Talk:
    """Begin a conversation with the model of a run.

    Args:
        path: A run folder, `runs/latest`, or the model's folder alone.
        with_base: Whether the base model answers too.
        system: System prompt in place of the recipe's. None: the recipe's.
        observers: Told about the loading.

    Raises:
        ArgumentError: The model answers with labels.
        RunFolderError: There is no run.
        ModelError: As `load_run`.
        MissingPackage: Training hid personal data, and what finds it is not installed.
    """
    promoted = read_promoted(path, observers)
    specialist = as_specialist(promoted, observers)
    writer = specialist.system
    if not isinstance(writer, Writer):
        found, fix = "answers with labels", f'Use `metier predict {path} --text "…"`.'
        raise ArgumentError(str(path), found, "a model that writes", fix)
    first = [Message(role="system", content=system)] if system else []
    base = _base_of(promoted, writer, observers) if with_base else None
    if base is not None:
        base.turns = list(first)
    hiding = specialist.hiding
    for message in hiding.notices if hiding is not None else ():
        tell(observers, Notice(topic="data", message=message))
    return Talk(tuned=Speaker(writer, turns=list(first)), base=base, rules=specialist.rules, hiding=hiding)


def _base_of(promoted: Promoted, writer: Writer, observers: Sequence[Observer]) -> Speaker:
    """The model as it was before training: the adapter set aside, or, where weights learned, loaded again."""
    model = promoted.saved.model
    if model.peft is not None:
        runner = replace(writer.runner)
        return Speaker(replace(writer, name="base", runner=runner), promoted=promoted)
    section = ModelSection(name=model.base.name, revision=model.base.revision, quantization=model.base.quantization)
    network = load_base_model(section, promoted.hardware, observers).network
    return Speaker(replace(writer, name="base", runner=TreeRunner(network, None, writer.observers)))
