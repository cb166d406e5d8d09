"""What judging costs is measured on training records alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metier.data.label_lists import set_text
from metier.data.records import Choice, Conversation, Labelling, Marked, Message, Record
from metier.evaluation.gauge import gauge_judging
from metier.recipe.sections import Recipe

LABELS = ("card", "login", "refund")
WORDS = {"card": "my card was declined", "login": "I cannot log in", "refund": "give me my money back"}


def _recipe(task: str, *systems: str) -> Recipe:
    values = {"task": task, "data": {"train": "a.csv"}, "evaluation": {"systems": systems, "resamples": 200}}
    if task == "extraction":
        values["evaluation"] = {**values["evaluation"], "primary_metric": "span_f1"}  # type: ignore[dict-item]
    return Recipe.model_validate(values)


def _records(task: str) -> list[Record]:
    found: list[Record] = []
    for number in range(40):
        label = LABELS[number % 3]
        common: dict[str, Any] = {"id": str(number), "text": f"{WORDS[label]} number {number}", "row": number + 1}
        if task == "classification":
            found.append(Choice(label=label, **common))
            continue
        kind, said = Conversation, f"order {number} is at the shop"
        if task == "multilabel":
            kind, said = Labelling, set_text({label, LABELS[(number + number % 2) % 3]})
        elif task == "extraction":
            kind, said = Marked, json.dumps([{"start": 0, "end": len(WORDS[label]), "label": label}])
        turns = (Message(role="user", content=common["text"]), Message(role="assistant", content=said))
        found.append(kind(messages=turns, **common))
    return found


@pytest.mark.parametrize(
    ("task", "systems", "fitted"),
    [
        ("classification", ("majority", "tfidf"), {"tfidf"}),
        ("multilabel", ("majority", "tfidf"), {"tfidf"}),
        ("extraction", ("dictionary", "tagger"), {"dictionary", "tagger"}),
        ("generation", ("copy_input",), set()),
    ],
)
def test_baselines_and_one_answer_take_time(task: str, systems: tuple[str, ...], fitted: set[str]) -> None:
    found = gauge_judging(_recipe(task, *systems), _records(task), LABELS)
    assert set(found) == {*fitted, "judging", "looks"}
    assert all(seconds > 0 for seconds in found.values())


def test_passages_are_not_judged_here() -> None:
    assert gauge_judging(_recipe("text", "zero_shot"), _records("classification"), ()) == {}


def test_baselines_that_cannot_be_fitted_are_not_told() -> None:
    records = [Choice(id=str(n), text=f"word {n}", label="refund", row=n + 1) for n in range(10)]
    assert "tfidf" not in gauge_judging(_recipe("classification", "majority", "tfidf"), records, ("refund",))
