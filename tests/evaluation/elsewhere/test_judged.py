"""Any systems on the same items: files, reuse, one table with honest standings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.data.records import Choice, Conversation, Input, Record
from metier.errors import ArgumentError
from metier.evaluation.beside import Beside, cost_matrix
from metier.evaluation.elsewhere.judged import (
    Kept,
    NamedSystem,
    answer_all,
    judge_against,
    judgement_rows,
    way_of,
)
from metier.evaluation.elsewhere.recorded import load_recorded
from metier.evaluation.evaluate import RecordSet
from metier.evaluation.files import read_evaluations
from metier.evaluation.labels.label_metrics import ABSTAINED, LabelQuestions
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.evaluation.verify import verify_set
from metier.events import Event, StageStarted
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
SECTION = EvaluationSection(primary_metric="accuracy", resamples=300, not_worse_margin=0.05)
Records = Callable[..., list[Choice]]


class Planted:
    """Answers right with a given share."""

    kind = "planted"
    parameters = None
    bytes = None
    trained_on = "nothing"

    def __init__(
        self, name: str, records: Sequence[Record], share: float, *, seed: int = 1, price: float | None = None
    ):
        self.name, self.asked = name, 0
        self.settings: dict[str, Any] = {}
        generator = np.random.default_rng(seed)
        self.answers = {}
        for record in records:
            wrong = next(label for label in LABELS if label != record.gold)
            label = record.gold if generator.random() < share else wrong
            self.answers[record.id] = Answer(id=record.id, label=label, seconds=0.25, price=price)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        self.asked += 1
        yield from (self.answers[given.id] for given in inputs)


def _named(system: Any, way: str = "") -> NamedSystem:
    return NamedSystem(name=system.name, build=lambda: system, way=way)


def _ask(records: list[Choice], *systems: Any, folder: Path | None = None, **more: Any) -> Any:
    asked = RecordSet(name="test", records=records, labels=LABELS)
    named = [each if isinstance(each, NamedSystem) else _named(each) for each in systems]
    kept = None if folder is None else Kept(folder=folder)
    return answer_all(named, asked, section=SECTION, seed=1, kept=kept, **more)


def test_one_table_says_better_worse_not_worse_or_not_known(make_records: Records) -> None:
    records = make_records(400)
    now = Planted("now", records, 0.80, seed=1)
    same = Planted("same", records, 0.80, seed=1)
    systems = [now, Planted("better", records, 0.97, seed=2), Planted("worse", records, 0.5, seed=3), same,
               Planted("close", records, 0.80, seed=5)]  # fmt: skip
    judgement = judge_against(_ask(records, *systems), "now", section=SECTION)
    standings = {row.system: row.standing for row in judgement.standings}
    assert standings["now"] == "reference" and standings["better"] == "better" and standings["worse"] == "worse"
    assert standings["same"] == "not worse"
    assert standings["close"] in ("not known", "no useful difference", "not worse")
    assert (judgement.metric, judgement.n, judgement.margin) == ("accuracy", 400, 0.05)
    known = [row.difference for row in judgement.standings if row.difference is not None]
    assert all(each.p_holm is None or each.p_value is None or each.p_holm >= each.p_value for each in known)


def test_too_few_items_are_not_known(make_records: Records) -> None:
    records = make_records(12)
    found = _ask(records, Planted("now", records, 0.5, seed=1), Planted("other", records, 0.7, seed=2))
    section = EvaluationSection(primary_metric="accuracy", resamples=300)
    assert judge_against(found, "now", section=section).standings[1].standing == "not known"


def test_seconds_prices_and_unanswered_items_stand_in_the_table(make_records: Records) -> None:
    records = make_records(60)
    paid, free = Planted("paid", records, 0.9, price=0.0004), Planted("free", records, 0.8)
    for record in records[:6]:
        free.answers[record.id] = Answer(id=record.id, label=None, reason=ABSTAINED)
    judgement = judge_against(_ask(records, free, paid), "free", section=SECTION)
    one, other = judgement.standings
    assert one.unanswered == 6 and one.price is None and one.seconds is not None and one.seconds.n == 54
    assert other.price is not None and other.price.value == pytest.approx(0.0004)
    rows = judgement_rows(judgement)
    assert rows[0][3:] == ("reference", "6", "250", "") and rows[1][6] == "0.4"
    assert rows[1][2].startswith("+") and "to" in rows[1][2]


def test_all_is_written_as_a_run_writes_it_and_verified(make_records: Records, tmp_path: Path) -> None:
    records = make_records(50)
    questions = LabelQuestions(costs=cost_matrix({"refund": {"track": 5.0, "abstain": 0.2}}), order=LABELS)
    beside = Beside(labels=LABELS, questions=questions)
    planted = Planted("a", records, 0.9), Planted("b", records, 0.7, seed=4)
    found = _ask(records, *planted, folder=tmp_path, beside=beside)
    read = read_evaluations(tmp_path)
    assert [each.system for each in read] == ["a", "b"]
    assert read[0].metrics == found[0].metrics
    assert {"seconds", "abstained", "cost", "ordinal_error"} <= set(read[0].metrics)
    assert verify_set(tmp_path) == ()
    path = tmp_path / "items-a.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[3])
    row["counts"]["seconds"][0] += 1.0
    path.write_text("\n".join([*lines[:3], json.dumps(row), *lines[4:]]) + "\n", encoding="utf-8")
    assert any("metrics.seconds" in mismatch.where for mismatch in verify_set(tmp_path))


def test_what_was_answered_in_the_same_way_is_not_asked_again(make_records: Records, tmp_path: Path) -> None:
    records, seen = make_records(30), list[Event]()
    first = Planted("a", records, 0.9)
    _ask(records, _named(first, "one way"), folder=tmp_path)
    again = Planted("a", records, 0.2)
    found = _ask(records, _named(again, "one way"), folder=tmp_path, observers=[seen.append])
    assert again.asked == 0 and found[0].metrics["accuracy"].value == _ask(records, first)[0].metrics["accuracy"].value
    assert not [event for event in seen if isinstance(event, StageStarted)]
    _ask(records, _named(again, "another way"), folder=tmp_path)
    assert again.asked == 1
    unsure = Planted("a", records, 0.3)
    _ask(records, _named(unsure), folder=tmp_path)
    assert unsure.asked == 1


def test_a_system_is_built_when_it_is_its_turn(make_records: Records) -> None:
    records, order = make_records(10), list[str]()

    def build(name: str) -> Any:
        order.append(f"built {name}")
        system = Planted(name, records, 1.0)
        answer = system.answer

        def heard(inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
            order.append(f"asked {name}")
            return answer(inputs, options)

        system.answer = heard  # type: ignore[method-assign]
        return system

    _ask(records, *[NamedSystem(name=name, build=lambda name=name: build(name)) for name in ("a", "b")])  # type: ignore[misc]
    assert order == ["built a", "asked a", "built b", "asked b"]


def test_names_and_references_are_checked(make_records: Records) -> None:
    records = make_records(10)
    with pytest.raises(ArgumentError, match="systems: a named twice, wanted a name for each"):
        _ask(records, Planted("a", records, 1.0), Planted("a", records, 1.0))
    found = _ask(records, Planted("a", records, 1.0))
    with pytest.raises(ArgumentError, match=r"evaluation\.reference: 'b' of a, wanted one of the systems"):
        judge_against(found, "b", section=SECTION)


def test_ways_differ_with_what_is_said() -> None:
    assert way_of({"model": "a"}, 1) != way_of({"model": "b"}, 1) != way_of({"model": "b"}, 2)


def test_written_answers_stand_in_the_same_table(
    tmp_path: Path, make_dialogues: Callable[..., list[Conversation]]
) -> None:
    records = make_dialogues([f"the answer is number {n}" for n in range(30)])
    files = {}
    for name, right in (("good", 28), ("bad", 10)):
        rows = [
            {"id": record.id, "answer": record.gold if n < right else "no idea", "seconds": 0.5}
            for n, record in enumerate(records)
        ]
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    named = [
        NamedSystem(name=name, build=lambda name=name, path=path: load_recorded(path, records, name=name))  # type: ignore[misc]
        for name, path in files.items()
    ]
    asked = RecordSet(name="test", records=records, task="generation")
    section = EvaluationSection(primary_metric="chrf", resamples=300)
    found = answer_all(named, asked, section=section, seed=1, kept=Kept(folder=tmp_path / "out"))
    judgement = judge_against(found, "good", section=section)
    assert judgement.standings[1].standing == "worse" and judgement.standings[0].seconds is not None
    assert verify_set(tmp_path / "out") == ()
