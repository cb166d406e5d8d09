"""Systems that write lists: what they wrote is read as a set of labels, or as pieces of the text that was asked.

The same reading for the base model and the tuned one. An answer without a JSON list is invalid: it is counted so, and
as wrong. A name that is no label, and a piece that the text does not have, make an answer wrong, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from metier.data.label_lists import set_text
from metier.data.records import Input
from metier.data.text_spans import first_list, located, spans_text
from metier.evaluation.labels.label_metrics import INVALID
from metier.evaluation.labels.label_reading import plain, without_thinking
from metier.evaluation.labels.multi_label import INVENTED
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, System

NO_LIST = f"{INVALID}: no JSON list"
CUT = "it was cut"
"""Added to `NO_LIST` where the answer ended at its longest."""
Read = Callable[[Input, Answer], Answer]
"""From what was asked and written to the answer that is counted."""


@dataclass(eq=False)
class ListWriter:
    """A system that writes, its answers read as lists."""

    writer: System
    read: Read

    @property
    def name(self) -> str:
        """The writer's."""
        return self.writer.name

    @property
    def kind(self) -> str:
        """The writer's."""
        return self.writer.kind

    @property
    def parameters(self) -> int | None:
        """The writer's."""
        return self.writer.parameters

    @property
    def bytes(self) -> int | None:
        """The writer's."""
        return self.writer.bytes

    @property
    def trained_on(self) -> str:
        """The writer's."""
        return self.writer.trained_on

    @property
    def settings(self) -> Mapping[str, Any]:
        """The writer's."""
        return self.writer.settings

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input, in order, as far as it could be read."""
        for given, answer in zip(inputs, self.writer.answer(inputs, options), strict=True):
            yield self.read(given, answer)


class _Reading(Protocol):
    def __call__(self, labels: Sequence[str]) -> Read: ...


def label_reading(labels: Sequence[str]) -> Read:
    """Reads a JSON list of labels; case, spaces and punctuation at the edges of a name do not count.

    Args:
        labels: All labels of train.
    """
    names = {plain(label): label for label in reversed(labels)}

    def read(given: Input, answer: Answer) -> Answer:
        if answer.text is None:
            return answer
        rows = first_list(without_thinking(answer.text))
        if rows is None or not all(isinstance(row, str) for row in rows):
            return replace(answer, text=None, reason=_no_list(answer))
        found = [names[key] for row in rows if (key := plain(row)) in names]
        reason = answer.reason if len(found) == len(rows) else _reason(answer, INVENTED)
        return replace(answer, label=set_text(found), text=None, reason=reason)

    return read


def piece_reading(labels: Sequence[str]) -> Read:
    """Reads a JSON list of pieces with their labels, and finds the pieces in the text.

    Args:
        labels: All labels of train, whose case and punctuation do not count.
    """
    names = {plain(label): label for label in reversed(labels)}

    def read(given: Input, answer: Answer) -> Answer:
        if answer.text is None:
            return answer
        spans = located(given.text, without_thinking(answer.text))
        if spans is None:  # no text is kept that could hold words of the record
            return replace(answer, text="", reason=_no_list(answer))
        named = [replace(span, label=names.get(plain(span.label), span.label)) for span in spans]
        return replace(answer, text=spans_text(named))

    return read


def _no_list(answer: Answer) -> str:
    return _reason(answer, f"{NO_LIST}; {CUT}" if answer.stop == "length" else NO_LIST)


def _reason(answer: Answer, more: str) -> str:
    return more if answer.reason is None else f"{more}; {answer.reason}"


READINGS: Mapping[str, _Reading] = {"multilabel": label_reading, "extraction": piece_reading}
"""Task -> how what was written is read."""


def as_task_reads(system: System, task: str, labels: Sequence[str]) -> System:
    """A system that writes, so that it answers as a task wants it; itself where the text is the answer."""
    return ListWriter(system, READINGS[task](labels)) if task in READINGS else system
