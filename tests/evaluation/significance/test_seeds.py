"""Seeds: components recovered from planted ones, no interval below five, coverage by simulation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from metier.errors import ArgumentError
from metier.evaluation.significance.seeds import seed_statement, variance_components

Floats = npt.NDArray[np.float64]


def _scores(generator: np.random.Generator, shape: tuple[int, int], spreads: tuple[float, float, float]) -> Floats:
    """Scores around 0.7 with planted standard deviations of seeds, items and the rest."""
    seeds, items = shape
    scores: Floats = (
        0.7
        + generator.normal(0, spreads[0], (seeds, 1))
        + generator.normal(0, spreads[1], (1, items))
        + generator.normal(0, spreads[2], (seeds, items))
    )
    return scores


def test_planted_components_are_recovered() -> None:
    generator = np.random.default_rng(3)
    found = [variance_components(_scores(generator, (8, 300), (0.03, 0.3, 0.2))) for _ in range(60)]
    assert np.mean([each.seed for each in found]) == pytest.approx(0.03**2, rel=0.15)
    assert np.mean([each.item for each in found]) == pytest.approx(0.3**2, rel=0.05)
    assert np.mean([each.rest for each in found]) == pytest.approx(0.2**2, rel=0.02)
    assert np.sqrt(np.mean([each.seed_spread**2 for each in found])) == pytest.approx(0.03, rel=0.1)


def test_the_components_are_those_of_the_textbook() -> None:
    # Two-way table by hand: 2 seeds, 3 items.
    found = variance_components(np.array([[1.0, 2.0, 6.0], [2.0, 5.0, 8.0]]))
    assert found.rest == pytest.approx(0.5)
    assert found.item == pytest.approx((15.5 - 0.5) / 2)
    assert found.seed == pytest.approx((6.0 - 0.5) / 3)


def test_below_five_seeds_there_is_a_spread_and_no_interval() -> None:
    found = seed_statement([0.9, 0.92, 0.88], metric="macro_f1")
    assert found.spread == pytest.approx(0.02)
    assert found.same_items.low is None and found.same_items.reason == "3 seeds; an interval needs 5"
    assert found.sentence == (
        "3 seeds give macro F1 0.88 to 0.92 (mean 0.90). An interval for the recipe needs 5 seeds."
    )


def test_one_seed_says_nothing_of_the_recipe() -> None:
    found = seed_statement([0.9], metric="accuracy")
    assert found.spread is None and found.same_items.reason == "1 seed; an interval needs 5"
    assert found.sentence == "One seed: how much accuracy varies with the seed is not known."


def test_five_seeds_have_students_interval() -> None:
    values = [0.91, 0.93, 0.9, 0.94, 0.92]
    found = seed_statement(values, metric="accuracy")
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.same_items.low, found.same_items.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.new_items.reason == "scores are not known by item"
    assert found.sentence.startswith("Over 5 seeds the recipe gives accuracy 0.92 on these items (95 % interval")
    assert "seeds = 5" in found.sentence


def test_new_items_make_the_interval_wider() -> None:
    scores = _scores(np.random.default_rng(4), (6, 100), (0.02, 0.3, 0.2))
    found = seed_statement(scores.mean(axis=1), metric="accuracy", scores=scores)
    assert found.new_items.low is not None and found.same_items.low is not None
    assert found.new_items.low < found.same_items.low
    assert "on new items" in found.sentence
    groups = seed_statement(scores.mean(axis=1), metric="accuracy", scores=scores, groups=np.arange(100) // 4)
    assert groups.new_items.method == "student over 6 seeds and 25 items or groups"
    one = seed_statement(scores.mean(axis=1), metric="accuracy", scores=scores, groups=np.zeros(100, dtype=np.int64))
    assert one.new_items.reason == "one group says nothing about spread"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="found 0 values"):
        seed_statement([], metric="accuracy")
    with pytest.raises(ArgumentError, match="not the means of the scores"):
        seed_statement([0.5, 0.6], metric="accuracy", scores=np.ones((2, 3)))
    with pytest.raises(ArgumentError, match=r"found scores of shape \(1, 3\)"):
        variance_components(np.ones((1, 3)))


def _coverage(repeats: int, seeds: int, items: int, spreads: tuple[float, float, float]) -> float:
    generator = np.random.default_rng(6)
    held = 0
    for _ in range(repeats):
        scores = _scores(generator, (seeds, items), spreads)
        found = seed_statement(scores.mean(axis=1), metric="accuracy", scores=scores).new_items
        held += found.low is not None and found.high is not None and found.low <= 0.7 <= found.high
    return held / repeats


@pytest.mark.parametrize("spreads", [(0.05, 0.3, 0.2), (0.0, 0.3, 0.2), (0.02, 0.05, 0.3)])
def test_the_interval_of_the_recipe_covers(spreads: tuple[float, float, float]) -> None:
    assert 0.90 <= _coverage(200, 5, 60, spreads) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("spreads", [(0.05, 0.3, 0.2), (0.0, 0.3, 0.2), (0.02, 0.05, 0.3)])
def test_the_interval_of_the_recipe_covers_in_full(spreads: tuple[float, float, float]) -> None:
    assert 0.93 <= _coverage(4000, 5, 200, spreads) <= 0.98
