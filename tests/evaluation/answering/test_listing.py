"""What is written is read as labels, or as pieces of the text; what cannot be read is invalid, never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from metier.data.records import Input, Labelling, Marked, Message, Record
from metier.data.text_spans import Span, pieces_text
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.systems import AnswerOptions
from metier.recipe.sections import EvaluationSection

LABELS = ("Late delivery", "refund")
TEXT = "Ada met Bob in Ada"


class Says:
    """A system that says what it is told to, in turn."""

    name, kind, parameters, bytes, trained_on = "says", "told", None, None, "no examples"

    def __init__(self, *texts: str | None) -> None:
        self.texts, self.settings = texts, dict[str, Any]()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        for given, text in zip(inputs, self.texts, strict=True):
            yield Answer(id=given.id, label=None, text=text, stop="end of turn")


def _read(task: str, *texts: str | None) -> list[Answer]:
    system = as_task_reads(Says(*texts), task, LABELS)
    return list(system.answer([Input(id=str(n), text=TEXT) for n in range(len(texts))], AnswerOptions()))


def _record(kind: type[Record], number: int, gold: str, text: str = TEXT) -> Any:
    turns = (Message(role="user", content=text), Message(role="assistant", content=gold))
    return kind(id=str(number), text=text, source="t", row=number, messages=turns)  # type: ignore[call-arg]


def _judged(task: str, records: list[Any], *texts: str | None) -> Evaluation:
    asked = RecordSet(name="test", records=records, task=task, labels=LABELS)
    section = EvaluationSection(resamples=200)
    return evaluate_system(as_task_reads(Says(*texts), task, LABELS), asked, section=section, seed=1)


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ('["refund", "Late delivery"]', '["Late delivery", "refund"]', None),
        ('It is ["REFUND", "late_delivery", "refund"].', '["Late delivery", "refund"]', None),
        ("[]", "[]", None),
        ('["refund", "made up"]', '["refund"]', "invalid answer: names what is no label"),
        ('["made up"]', "[]", "invalid answer: names what is no label"),
        ("refund", None, "invalid answer: no JSON list"),
        ('[{"label": "refund"}]', None, "invalid answer: no JSON list"),
        ('["refund"', None, "invalid answer: no JSON list"),
    ],
)
def test_labels_are_read(text: str, label: str | None, reason: str | None) -> None:
    (answer,) = _read("multilabel", text)
    assert (answer.label, answer.reason, answer.text) == (label, reason, None)


def test_pieces_are_read_as_offsets_and_an_unreadable_answer_keeps_no_words() -> None:
    right, wrong, none = _read("extraction", '[["Bob", "REFUND"], ["Ada", "other"]]', "Ada, Bob", None)
    assert right.text == json.dumps([[8, 11, "refund"], [15, 18, "other"]])
    assert (wrong.text, wrong.reason) == ("", "invalid answer: no JSON list")
    assert none.text is None and none.reason is None


def test_other_tasks_are_left_alone() -> None:
    system = Says("x")
    assert as_task_reads(system, "generation", ()) is system


def test_an_invented_label_and_an_unreadable_answer_are_counted_as_invalid_and_wrong() -> None:
    golds = ['["refund"]'] * 4
    records = [_record(Labelling, n, gold) for n, gold in enumerate(golds)]
    found = _judged("multilabel", records, '["refund"]', '["refund", "made up"]', "refund", "[]")
    assert found.metrics["invalid"].value == 0.5
    assert found.metrics["exact_match"].value == 0.25
    assert found.metrics["micro_recall"].value == 0.5
    assert set(found.per_class) == set(LABELS)  # what is no label has no row of its own
    assert found.per_class["refund"].f1 == pytest.approx(2 / 3)


def test_span_items_hold_offsets_and_no_words_of_the_text() -> None:
    gold = [Span(0, 3, "P"), Span(8, 11, "P")]
    records = [_record(Marked, n, pieces_text(TEXT, gold)) for n in range(3)]
    found = _judged("extraction", records, '[["Ada", "P"], ["Bob", "P"]]', '[["Eve", "P"]]', "nobody")
    assert [item.gold for item in found.items] == [json.dumps([[0, 3, "P"], [8, 11, "P"]])] * 3
    assert not any(name in (item.answer or "") + item.gold for item in found.items for name in ("Ada", "Bob", "Eve"))
    assert found.metrics["span_recall"].value == pytest.approx(2 / 6)
    assert found.metrics["span_precision"].value == pytest.approx(2 / 3)  # the piece that is not there was answered
    assert found.metrics["invalid"].value == pytest.approx(1 / 3)
    assert found.per_class["P"].support == 6
