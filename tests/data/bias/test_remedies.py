"""Remedies: rows to collect, weights, copies for training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.bias.associations import Association
from metier.data.bias.mentions import Coded
from metier.data.bias.remedies import (
    AugmentSettings,
    collection,
    is_drawn,
    row_weights,
    swaps_for,
)
from metier.data.bias.screen import BiasSettings, look
from metier.data.cleaning.rows import Row
from metier.errors import DataError

Maker = Callable[..., list[Row]]


def association(count: int, rows: int, other_count: int, other_rows: int) -> Association:
    return Association(
        dimension="gender", group="female", others=("male",), kind="label", outcome="refused", count=count, rows=rows,
        other_count=other_count, other_rows=other_rows, low=0, high=0, odds_ratio=1, odds_low=1, odds_high=1, p_value=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "collect", "rows"),
    [
        ((45, 100, 30, 100), "without it", 50),
        ((30, 100, 45, 100), "with it", 28),
        ((5, 100, 0, 100), "without it", None),
    ],
)
def test_collecting_that_many_rows_evens_it_out(table: tuple[int, ...], collect: str, rows: int | None) -> None:
    one = association(*table)
    (found,) = collection([one])
    assert (found["collect"], found["rows"]) == (collect, rows)
    if rows is not None:
        with_it = rows if collect == "with it" else 0
        before, after = one.share, (one.count + with_it) / (one.rows + rows)
        assert abs(after - one.other_share) < abs(before - one.other_share) / 10


def test_which_swaps_go_with_an_association() -> None:
    found = ("gender", "disability", "region", "gender")
    assert swaps_for(found) == ("gender", "disability", "sight", "hearing")


def weighted_table(weights: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([[weights[(groups == g) & (labels == label)].sum() for label in range(2)] for g in range(2)])


def test_weights_make_group_and_label_independent() -> None:
    groups = np.array([0] * 100 + [1] * 100 + [-1] * 50 + [-2] * 5, np.int32)
    labels = np.array([0] * 70 + [1] * 30 + [0] * 40 + [1] * 60 + [0, 1] * 25 + [1] * 5, np.int32)
    column = Coded(name="gender", values=("female", "male"), codes=groups)
    train = np.ones(len(groups), np.bool_)
    weights = row_weights([column], labels, train)
    table = weighted_table(weights, groups, labels)
    assert table[0, 0] / table[0].sum() == pytest.approx(table[1, 0] / table[1].sum(), abs=1e-5)
    # Kamiran and Calders: expected count by chance over count; 110 of the 200 have label 0.
    assert weights[0] == pytest.approx(100 * 110 / 200 / 70, rel=1e-5)
    assert weights[train].mean() == pytest.approx(1.0, abs=1e-5)
    assert weights[groups < 0].tolist() == pytest.approx([1.0] * 55, abs=1e-5)


def test_weights_of_two_dimensions_settle() -> None:
    random = np.random.default_rng(1)
    first, second = random.integers(0, 2, 2000).astype(np.int32), random.integers(0, 2, 2000).astype(np.int32)
    labels = (random.random(2000) < 0.3 + 0.2 * first + 0.2 * second).astype(np.int32)
    columns = [Coded(name=name, values=("a", "b"), codes=codes) for name, codes in (("x", first), ("y", second))]
    weights = row_weights(columns, labels, np.ones(2000, np.bool_))
    for groups in (first, second):
        table = weighted_table(weights, groups, labels)
        assert table[0, 0] / table[0].sum() == pytest.approx(table[1, 0] / table[1].sum(), abs=1e-3)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-1, 3), st.booleans()), max_size=60), st.floats(1.0, 10.0))
def test_weights_stay_in_their_bounds(rows: list[tuple[int, int, bool]], bound: float) -> None:
    groups = np.array([row[0] for row in rows], np.int32)
    labels = np.array([row[1] for row in rows], np.int32)
    train = np.array([row[2] for row in rows], np.bool_)
    weights = row_weights([Coded(name="x", values=("a", "b", "c"), codes=groups)], labels, train, bound=bound)
    assert (weights[~train] == 1).all()
    assert (weights <= bound * 1.0001).all() and (weights >= 0.9999 / bound).all()
    if train.any() and bound > 1.5:
        assert weights[train].mean() == pytest.approx(1.0, abs=0.02)


def test_weights_against_what_the_screen_flags(make_rows: Maker) -> None:
    texts = ["my mother wrote"] * 100 + ["my father wrote"] * 100 + ["my father wrote"] * 10
    labels = ["yes"] * 70 + ["no"] * 30 + ["yes"] * 30 + ["no"] * 70 + ["yes"] * 10
    rows = make_rows(texts, labels, splits=["train"] * 200 + ["test"] * 10)
    _, gathered, associations = look(rows, BiasSettings())
    assert {one.dimension for one in associations if one.flagged} == {"gender"}
    weights = row_weights([gathered.asked.coded("gender")], gathered.labels.codes, gathered.in_split("train"))
    assert weights[[0, 70, 100, 130, 200]].tolist() == pytest.approx(
        [50 / 70, 50 / 30, 50 / 30, 50 / 70, 1.0], rel=1e-4
    )


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.bias\.weight_bound: is 0\.5, wanted 1 or more"):
        row_weights([], np.zeros(1, np.int32), np.ones(1, np.bool_), bound=0.5)


def test_the_share_is_drawn_by_seed() -> None:
    def drawn(share: float, seed: int = 17) -> list[int]:
        settings = AugmentSettings(largest_share=share, seed=seed)
        return [key for key in range(1000) if is_drawn(key, settings)]

    first = drawn(0.3)
    assert 250 < len(first) < 350
    assert first == drawn(0.3) != drawn(0.3, seed=18)
    assert (len(drawn(0.0)), len(drawn(1.0))) == (0, 1000)
