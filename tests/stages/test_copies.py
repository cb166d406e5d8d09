"""Asked of other groups: a system that answers by gender is found out, one that does not is not accused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metier.data.records import Choice, Conversation, Input, Message, Record
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.files import read_evaluations
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.evaluation.verify import verify_evaluations
from metier.recipe.sections import BiasSection, EvaluationSection
from metier.report.cleaning import changed
from metier.stages.copies import NO_ANSWER, ask_copies
from metier.store.run_folder import RunFolder
from metier.team import Team

LABELS = ("granted", "refused")


@dataclass
class Planted:
    """Answers by a rule."""

    rule: Callable[[str], str | None]
    name: str = "tuned"
    kind: str = "planted"
    parameters: int | None = None
    bytes: int | None = None
    trained_on: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    labelled: bool = True

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        for given in inputs:
            said = self.rule(given.text)
            if self.labelled:
                yield Answer(id=given.id, label=said, reason=None if said else "too long")
            else:
                yield Answer(id=given.id, label=None, text=said, stop="end of turn")


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """As much of a run as asking needs."""
    heard: list[Any] = []
    section = EvaluationSection(resamples=200)

    def record_set(name: str, records: Sequence[Record]) -> RecordSet:
        return RecordSet(name=name, records=records, task=made.recipe.task, labels=made.data.labels)

    made = SimpleNamespace(
        recipe=SimpleNamespace(
            task="classification", seed=17, evaluation=section, data=SimpleNamespace(bias=BiasSection())
        ),
        data=SimpleNamespace(labels=LABELS), folder=RunFolder(tmp_path), observers=(heard.append,), team=Team(),
        record_set=record_set, heard=heard,
    )  # fmt: skip
    return made


def loans(count: int = 40) -> list[Record]:
    who = ("mother", "father", "neighbour")
    return [
        Choice(id=f"{n}-0", text=f"my {who[n % 3]} asks for a loan of {n}", label=LABELS[n % 2], row=n + 1)
        for n in range(count)
    ]


def ask(shop: Any, system: Planted, records: list[Record]) -> dict[str, Any]:
    answered = evaluate_system(
        system, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
    )
    ask_copies(shop, system, answered, records)
    places = sorted(shop.folder.evaluation.glob("copies-*"))
    return {place.name: read_evaluations(place)[0] for place in places}


def test_a_model_that_learned_the_group_changes_every_answer(shop: Any) -> None:
    found = ask(shop, Planted(lambda text: "refused" if "mother" in text else "granted"), loans())
    assert list(found) == ["copies-gender"]
    gender = found["copies-gender"]
    assert gender.n == 27 and gender.settings["dimension"] == "gender"
    share = changed(gender)
    assert share is not None and (share.value, share.high) == (1.0, 1.0) and share.low > 0.8
    assert verify_evaluations(shop.folder.evaluation) == ()


def test_one_that_did_not_changes_none(shop: Any) -> None:
    share = changed(ask(shop, Planted(lambda text: "granted"), loans())["copies-gender"])
    assert share is not None and (share.value, share.low) == (0.0, 0.0) and share.high < 0.2


def test_what_the_truth_is_plays_no_part(shop: Any) -> None:
    """Every answer is wrong, and none changes."""
    wrong = {record.text.replace("mother", "x").replace("father", "x"): record.gold for record in loans()}
    rule = Planted(
        lambda text: next(
            label for label in LABELS if label != wrong[text.replace("mother", "x").replace("father", "x")]
        )
    )
    share = changed(ask(shop, rule, loans())["copies-gender"])
    assert share is not None and share.value == 0.0


def test_an_original_without_an_answer_is_left_out_and_counted(shop: Any) -> None:
    system = Planted(lambda text: None if "father" in text and text.endswith("1") else "granted")
    gender = ask(shop, system, loans())["copies-gender"]
    assert gender.settings["left_out"] == {NO_ANSWER: 2}
    assert gender.n == 25


def test_nobody_named_means_nothing_asked(shop: Any) -> None:
    assert ask(shop, Planted(lambda text: "granted"), [Choice(id="a-0", text="where is it", label="granted")]) == {}
    assert "no test record names a group that can be swapped" in shop.heard[-1].message


def test_labels_that_name_the_group_are_not_swapped(shop: Any) -> None:
    shop.data.labels = ("mother", "father")
    records: list[Record] = [Choice(id=f"{n}-0", text=f"my mother asks {n}", label="mother") for n in range(5)]
    assert ask(shop, Planted(lambda text: "mother"), records) == {}
    assert any("no copies in gender: the labels name it" in event.message for event in shop.heard)


def test_written_answers_are_expected_to_be_swapped_along(shop: Any) -> None:
    shop.recipe.task, shop.data.labels = "generation", ()
    records: list[Record] = [
        Conversation(
            id=f"{n}-0", text=f"my wife is late {n}",
            messages=(Message(role="user", content=f"my wife is late {n}"), Message(role="assistant", content="gold")),
        )
        for n in range(12)
    ]  # fmt: skip
    fair = Planted(lambda text: f"call your {'wife' if 'wife' in text else 'husband'}", labelled=False)
    share = changed(ask(shop, fair, records)["copies-gender"])
    assert share is not None and share.value == 0.0 and share.n == 12


def test_only_the_dimensions_of_the_recipe_are_asked(shop: Any) -> None:
    shop.recipe.data.bias = BiasSection(dimensions=["religion"])
    assert ask(shop, Planted(lambda text: "granted"), loans()) == {}
