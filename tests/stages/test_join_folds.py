"""Answers of several folds put together: every number is what all of them give as one set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metier.data.label_lists import set_text
from metier.data.records import Labelling, Message
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_evaluation
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.verify import verify_evaluations
from metier.recipe.sections import EvaluationSection
from metier.stages.fold_data import Dealt
from metier.stages.folds import join_folds

GOLDS = (("a",), ("a", "b"), ("c",), ("a", "c", "d"))
"""The labels of two rows in each of two folds: the folds know different labels."""


def _record(number: int) -> Labelling:
    turns = Message(role="user", content=f"text {number}"), Message(role="assistant", content=set_text(GOLDS[number]))
    return Labelling(id=f"{number}-0", text=f"text {number}", messages=turns, source="a.csv", row=number + 1)


@pytest.fixture
def folds() -> list[list[Evaluation]]:
    """One system that always says `a`, in each fold."""
    found = []
    for places in ((0, 1), (2, 3)):
        records: list[Any] = [_record(place) for place in places]
        answers = [Answer(id=record.id, label=set_text(["a"])) for record in records]
        items = MEASURES["multilabel"].items(records, answers, None)
        about = About(system="tuned", task="multilabel")
        found.append([evaluate_items(items, about=about, set_name="test", labels="abcd", resamples=200, seed=17)])
    return found


def test_what_depends_on_the_labels_of_all_rows_is_counted_over_all_rows(
    folds: list[list[Evaluation]], tmp_path: Path
) -> None:
    assert [item.counts["hamming_loss"][1] for part in folds for item in part[0].items] == [2.0, 2.0, 3.0, 3.0]
    records = tuple(_record(place) for place in range(4))
    dealt = Dealt(records=records, cluster=("0", "1", "2", "3"), fold=(0, 0, 1, 1))
    section = EvaluationSection(resamples=200)
    (joined,) = join_folds(folds, dealt, SimpleNamespace(recipe=SimpleNamespace(evaluation=section, seed=17)))  # type: ignore[arg-type]
    assert joined.metrics["hamming_loss"].value == pytest.approx((0 + 1 + 2 + 2) / (4 * 4))
    assert [item.fold for item in joined.items] == [0, 0, 1, 1]
    write_evaluation(joined, tmp_path / "out_of_fold")
    assert verify_evaluations(tmp_path) == ()
