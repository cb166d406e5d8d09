"""Tables and examples that a person reads: what they count, and in whose words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Evaluation, Item
from metier.report import picks
from metier.report.summary import Example, Shown
from metier.report.tables import per_class_table


def _found(task: str, gold: str, answers: tuple[str, ...], labels: tuple[str, ...]) -> Evaluation:
    items = [
        Item(id=f"{number}-0", group=None, gold=gold, answer=answer, label_logprobs=None, prompt_hash=None,
             source="a.csv", row=number)
        for number, answer in enumerate(answers, start=1)
    ]  # fmt: skip
    items = [replace(item, counts=counts) for item, counts in zip(items, MEASURES[task].recount(items), strict=True)]
    return evaluate_items(items, about=About(system="tuned", task=task), set_name="test", labels=labels,
                          resamples=200, seed=1)  # fmt: skip


def test_names_that_a_model_made_up_are_counted_in_one_row() -> None:
    made_up = tuple(f'[[0, 4, "PERSON"], [5, {9 + number}, "made up {number}"]]' for number in range(4))
    table = per_class_table(_found("extraction", '[[0, 4, "PERSON"]]', made_up, ("PERSON", "PLACE")))
    assert [row.cells[0].text for row in table.rows] == ["PERSON", "PLACE", "(4 names that are no label)"]
    assert [cell.text for cell in table.rows[-1].cells][-2:] == ["0", "4"]
    assert table.columns[4].title == "Pieces" and "Labels with few pieces" in table.caption


def test_labels_of_records_are_shown_as_they_come() -> None:
    table = per_class_table(_found("multilabel", '["a"]', ('["a", "z"]', '["a"]'), ("a", "b")))
    assert sorted(row.cells[0].text for row in table.rows) == ["a", "b", "z"]
    assert table.columns[4].title == "Records"


@pytest.mark.parametrize(
    ("task", "gold", "answers", "wanted"),
    [
        ("multilabel", '["late", "rude"]', ("[]", None), ("late, rude", "no label", None)),
        ("extraction", '[[0, 3, "p"]]', ("[]", ""), ("ada (p)", "nothing", "no list that can be read")),
    ],
)
def test_lists_are_shown_in_words(
    task: str, gold: str, answers: tuple[str | None, ...], wanted: tuple[str | None, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    example = Example(
        id="1-0", source="a.csv", row=1, text="ada is in", gold=gold, answers={"one": answers[0], "two": answers[1]}
    )
    monkeypatch.setattr(picks, "_choices", lambda asked: Shown(examples=(example,)))
    (shown,) = picks.PICKS[task](None).examples  # type: ignore[arg-type]
    assert (shown.gold, *shown.answers.values()) == wanted
