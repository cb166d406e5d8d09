"""The training rows nearest to wrong answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metier.data.records import Choice
from metier.errors import ArgumentError
from metier.evaluation.closer import neighbours as module
from metier.evaluation.closer.neighbours import explain_errors, nearest_rows, rows_to_check
from metier.evaluation.results import Item

Make = Callable[..., list[Item]]


def _record(place: int, label: str, flags: tuple[str, ...] = ()) -> Choice:
    return Choice(id=f"t{place}", text="", label=label, source="train.csv", row=place + 1, flags=flags)


def test_nearest_rows_equal_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    asked, rows = generator.normal(size=(40, 12)), generator.normal(size=(300, 12)) * generator.uniform(1, 9, (300, 1))
    cosines = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
    ).T
    expected = np.argsort(-np.round(cosines, 5), axis=1, kind="stable")[:, :7]
    places, near = nearest_rows(asked, rows, 7)
    assert np.array_equal(places, expected)
    assert near == pytest.approx(np.take_along_axis(cosines, expected, axis=1), abs=2e-5)
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 700)
    again = nearest_rows(asked, rows, 7)
    assert np.array_equal(again[0], places)


def test_of_equally_near_rows_the_earliest_wins() -> None:
    places, near = nearest_rows(np.ones((1, 2)), np.ones((50, 2)), 3)
    assert places.tolist() == [[0, 1, 2]]
    assert near[0] == pytest.approx([1, 1, 1])


def test_fewer_rows_than_wanted_and_vectors_of_nothing() -> None:
    places, near = nearest_rows(np.zeros((1, 2)), np.eye(2), 9)
    assert places.shape == (1, 2) and near[0].tolist() == [0, 0]


def test_every_reason(make_items: Make) -> None:
    # One direction for each kind of error.
    items = make_items(["a"] * 5, ["b", "b", "b", "b", "a"])
    vectors = np.vstack([np.eye(5)[:3], np.full((1, 5), [0, 0, 0, 1, 0]), np.eye(5)[4:]])
    train = [
        _record(0, "b"), _record(1, "b"), _record(2, "b"),
        _record(3, "b", ("contradiction",)), _record(4, "a"), _record(5, "a"),
        _record(6, "a"), _record(7, "a"), _record(8, "b"),
    ]  # fmt: skip
    rows = np.repeat(np.eye(5)[:3], 3, axis=0)
    found = explain_errors(items, vectors, train, rows, neighbours=3)
    reasons = {row.id: row.reason for row in found}
    assert reasons == {"id00000": "taught", "id00001": "doubted", "id00002": "against", "id00003": "alone"}
    assert [row.reason for row in found] == ["doubted", "taught", "alone", "against"]
    first = found[0].neighbours[0]
    assert (first.id, first.source, first.row, first.label, first.doubted) == ("t3", "train.csv", 4, "b", True)
    assert first.similarity == pytest.approx(1.0)


def test_doubts_can_come_from_outside(make_items: Make) -> None:
    train = [_record(0, "b"), _record(1, "b")]
    found = explain_errors(make_items(["a"], ["b"]), np.ones((1, 2)), train, np.ones((2, 2)), doubted=frozenset({"t1"}))
    assert found[0].reason == "doubted"
    assert [near.doubted for near in found[0].neighbours] == [False, True]


def test_rows_to_check_are_counted_over_errors(make_items: Make) -> None:
    train = [_record(0, "b"), _record(1, "b"), _record(2, "a")]
    items = make_items(["a", "a", "c"], ["b", "b", "b"])
    found = explain_errors(items, np.ones((3, 2)), train, np.ones((3, 2)), doubted=frozenset({"t1"}), neighbours=3)
    assert [(row.id, row.errors, row.doubted) for row in rows_to_check(found)] == [("t1", 3, True), ("t0", 3, False)]


def test_no_error_asks_for_nothing(make_items: Make) -> None:
    items = make_items(["a"], ["a"])
    assert explain_errors(items, np.ones((1, 2)), [_record(0, "a")], np.ones((1, 2))) == ()
    assert explain_errors(items, np.ones((1, 2)), [], np.ones((0, 2))) == ()


def test_an_unanswered_item_is_wrong_too(make_items: Make) -> None:
    items = [replace(item, answer=None) for item in make_items(["a"], ["a"])]
    found = explain_errors(items, np.ones((1, 2)), [_record(0, "a")], np.ones((1, 2)))
    assert found[0].answer is None and found[0].reason == "against"


def test_wrong_numbers_of_vectors_are_refused(make_items: Make) -> None:
    with pytest.raises(ArgumentError, match="found 2 and 1 vectors for 1 items and 1 rows"):
        explain_errors(make_items(["a"], ["b"]), np.ones((2, 2)), [_record(0, "a")], np.ones((1, 2)))
    with pytest.raises(ArgumentError, match=r"found vectors of shapes \(1, 2\) and \(1, 3\)"):
        nearest_rows(np.ones((1, 2)), np.ones((1, 3)), 1)
