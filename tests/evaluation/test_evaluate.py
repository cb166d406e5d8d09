"""A system is asked without the gold answers, checked, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from metier.data.records import Choice, Input
from metier.errors import DataError, MetierError
from metier.evaluation.evaluate import RecordSet, evaluate_system, recompute
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.systems import AnswerOptions
from metier.events import Event, PartEnded, Progress
from metier.recipe.sections import EvaluationSection

SECTION = EvaluationSection(resamples=200)


class Planted:
    """Answers as it was told to."""

    name = "planted"
    kind = "recorded answers"
    parameters = 12
    bytes = 48
    trained_on = "3 examples"
    settings: Mapping[str, Any] = {"prompt_hash": "abc", "rule": "sum"}

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = answers
        self.seen: Sequence[Input] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        self.seen = inputs
        yield from self.answers


def _evaluate(system: Planted, records: Sequence[Choice], observers: Sequence[Any] = ()) -> Evaluation:
    return evaluate_system(
        system,
        RecordSet(name="test", records=records, labels=("no", "yes")),
        section=SECTION,
        seed=3,
        observers=observers,
    )


RECORDS = [
    Choice(
        id=f"id{place}", text=f"text {place}", label="yes" if place % 2 else "no", group="g", source="a.csv", row=place
    )
    for place in range(4)
]
ANSWERS = [Answer(id=record.id, label="yes", label_logprobs={"yes": -0.1, "no": -2.4}) for record in RECORDS]


def test_items_keep_what_is_needed_to_compute_everything_again() -> None:
    found = _evaluate(Planted(ANSWERS), RECORDS)
    item = found.items[1]
    assert (item.id, item.group, item.gold, item.answer) == ("id1", "g", "yes", "yes")
    assert (item.prompt_hash, item.source, item.row) == ("abc", "a.csv", 1)
    assert item.label_logprobs == {"yes": -0.1, "no": -2.4}
    assert found.metrics["accuracy"].value == 0.5
    assert (found.system, found.kind, found.set, found.n) == ("planted", "recorded answers", "test", 4)
    assert (found.parameters, found.bytes, found.trained_on) == (12, 48, "3 examples")
    assert found.seconds_per_thousand is not None and found.seconds_per_thousand > 0
    assert (found.resamples, found.seed) == (200, 3)


def test_the_system_sees_no_gold_answer() -> None:
    system = Planted(ANSWERS)
    _evaluate(system, RECORDS)
    assert all(type(given) is Input and not hasattr(given, "label") for given in system.seen)


def test_an_unanswered_item_is_wrong_and_keeps_its_reason() -> None:
    answers = [*ANSWERS[:3], replace(ANSWERS[3], label=None, label_logprobs=None, reason="too long")]
    found = _evaluate(Planted(answers), RECORDS)
    assert found.items[3].answer is None and found.items[3].reason == "too long"
    assert found.confusion["yes"] == {"(none)": 1, "yes": 1}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        pytest.param(ANSWERS[:3], "system planted: 3 answers, wanted 4", id="too few"),
        pytest.param([*ANSWERS, ANSWERS[0]], "system planted: more than 4 answers, wanted 4", id="too many"),
        pytest.param(
            [ANSWERS[0], ANSWERS[2], ANSWERS[1], ANSWERS[3]],
            "system planted: answer 2 has another id, wanted the id of its input",
            id="another order",
        ),
    ],
)
def test_answers_that_are_not_one_for_one_are_refused(answers: Sequence[Answer], message: str) -> None:
    with pytest.raises(MetierError, match=message):
        _evaluate(Planted(answers), RECORDS)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DataError, match="test: has no records, wanted at least one"):
        _evaluate(Planted([]), [])


def test_an_id_twice_is_refused() -> None:
    with pytest.raises(DataError, match="1 records have an id that another has, wanted ids that occur once"):
        _evaluate(Planted(ANSWERS), [*RECORDS, RECORDS[0]])


def test_flagged_items_are_left_out_of_the_clean_subset_only() -> None:
    records = [replace(RECORDS[0], flags=("duplicate",)), *RECORDS[1:]]
    found = _evaluate(Planted(ANSWERS), records)
    assert found.items[0].flags == ("duplicate",)
    assert found.n == 4 and found.metrics["accuracy"].n == 4
    assert found.clean_metrics["accuracy"].n == 3
    assert found.clean_metrics["accuracy"].value == pytest.approx(2 / 3)


def test_without_flags_there_is_no_clean_subset() -> None:
    assert _evaluate(Planted(ANSWERS), RECORDS).clean_metrics == {}


def test_progress_ends_at_the_total() -> None:
    events: list[Event] = []
    _evaluate(Planted(ANSWERS), RECORDS, [events.append])
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (4, 4)


def test_counting_is_told_as_a_part_of_its_own() -> None:
    events: list[Event] = []
    _evaluate(Planted(ANSWERS), RECORDS, [events.append])
    assert [event.part for event in events if isinstance(event, PartEnded)] == ["judging"]


def test_items_alone_give_every_number_again(make_evaluation: Callable[..., Evaluation]) -> None:
    found = make_evaluation("x", list("abcabcabcabc"), [*list("abcabbcaabc"), None], flags=[("d",)] + [()] * 11)
    assert recompute(replace(found, metrics={}, per_class={}, confusion={}, clean_metrics={}, n=0)) == found
