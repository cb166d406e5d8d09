"""From a wrong answer to the row to fix: a planted wrong label is the first row to check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metier.data.records import Choice
from metier.evaluation.closer.error_report import Nearby, report_again, report_errors, unexplained
from metier.evaluation.results import Evaluation

Make = Callable[..., Evaluation]


@pytest.fixture
def planted(make_evaluation: Make) -> tuple[Evaluation, Nearby]:
    """Two far clusters; three items of the first are answered as the wrongly labelled row beside them is."""
    generator = np.random.default_rng(0)
    train = [
        Choice(id=f"t{n}", text=str(n), label="a" if n < 20 else "b", source="train.csv", row=n + 1) for n in range(40)
    ]
    centres = np.array([[1.0, 0.0, 0.0]] * 20 + [[0.0, 1.0, 0.0]] * 20)
    vectors = centres + generator.normal(0, 0.05, (40, 3))
    train[7] = replace(train[7], label="b")
    items = generator.normal(0, 0.001, (30, 3)) + np.array([[1.0, 0.0, 0.0]] * 15 + [[0.0, 1.0, 0.0]] * 15)
    items[:3] = vectors[7] + generator.normal(0, 1e-4, (3, 3))
    golds = ["a"] * 15 + ["b"] * 15
    evaluation = make_evaluation("tuned", golds, ["b"] * 3 + golds[3:])
    near = Nearby(words="features", train=train, train_vectors=vectors, vectors=items, doubted=frozenset({"t7"}))
    return evaluation, near


def test_the_wrong_row_is_the_first_to_check(planted: tuple[Evaluation, Nearby]) -> None:
    found = report_errors(*planted, 10)
    first = found.rows[0]
    assert (first.id, first.row, first.label, first.doubted, first.errors) == ("t7", 8, "b", True, 3)
    assert (found.wrong, found.train, found.doubted, len(found.explained)) == (3, 40, 1, 3)
    assert found.sentence == (
        "3 of 30 answers are wrong; 3 lie near a training row whose label is doubted. "
        "Check first: train.csv row 8, labelled b, near 3 of them."
    )


def test_it_is_capped_and_says_so(planted: tuple[Evaluation, Nearby]) -> None:
    found = report_errors(*planted, 2)
    assert len(found.explained) == 2 and found.wrong == 3
    assert "(the first 2 are explained)" in found.sentence


def test_no_error_needs_no_row(planted: tuple[Evaluation, Nearby]) -> None:
    evaluation, near = planted
    perfect = replace(evaluation, items=tuple(replace(item, answer=item.gold) for item in evaluation.items))
    found = report_errors(perfect, near, 10)
    assert (found.explained, found.rows, found.sentence) == ((), (), "None of 30 answers is wrong.")
    assert report_again(perfect, found) == found


def test_it_can_be_made_again_from_items(planted: tuple[Evaluation, Nearby]) -> None:
    found = report_errors(*planted, 2)
    assert report_again(planted[0], found) == found


@pytest.mark.parametrize("field", ["similarity", "row", "label", "doubted"])
def test_a_changed_neighbour_does_not_go_unseen(planted: tuple[Evaluation, Nearby], field: str) -> None:
    found = report_errors(*planted, 10)
    near = found.explained[1].neighbours[3]
    other = {"similarity": near.similarity - 1e-4, "row": near.row + 1, "label": "c", "doubted": not near.doubted}
    neighbours = list(found.explained[1].neighbours)
    neighbours[3] = replace(near, **{field: other[field]})
    explained = list(found.explained)
    explained[1] = replace(explained[1], neighbours=tuple(neighbours))
    changed = replace(found, explained=tuple(explained))
    assert report_again(planted[0], changed) != changed


def test_other_answers_are_explained_otherwise(planted: tuple[Evaluation, Nearby]) -> None:
    evaluation, near = planted
    found = report_errors(evaluation, near, 10)
    items = list(evaluation.items)
    items[0] = replace(items[0], answer="a")
    assert report_again(replace(evaluation, items=tuple(items)), found) != found


def test_why_nothing_is_explained_is_said(planted: tuple[Evaluation, Nearby]) -> None:
    found = unexplained(planted[0], "there are no vectors")
    assert found.sentence == "Wrong answers are not explained: there are no vectors."
    assert report_again(planted[0], found) == found
