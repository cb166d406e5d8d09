"""Simulations: how often the statistics are wrong when the truth is known.

The quick ones run always, with limits wide enough for their few repetitions; the full ones are slow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metier.evaluation.compare import compare
from metier.evaluation.metrics import measure, point_metrics
from metier.evaluation.results import Difference, Estimate, Evaluation, Item
from metier.evaluation.statistics import (
    clustered_standard_error,
    mcnemar_mid_p,
    newcombe_interval,
    smallest_detectable,
    wilson_interval,
)
from metier.recipe.sections import EvaluationSection

ACCURACY = 0.8


def _twins(repeats: int, n: int, share: float, seed: int) -> list[tuple[int, int, int, int]]:
    """Tables (both, gained, lost, neither) of two equally good systems."""
    half = share / 2
    chances = [ACCURACY - half, half, half, 1 - ACCURACY - half]
    rows = np.random.default_rng(seed).multinomial(n, chances, size=repeats).tolist()
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _rejections(repeats: int, n: int, share: float) -> dict[str, float]:
    tables = _twins(repeats, n, share, seed=n)
    intervals = [newcombe_interval(*table) for table in tables]
    return {
        "mid-p": float(np.mean([mcnemar_mid_p(gained, lost) <= 0.05 for _, gained, lost, _ in tables])),
        "newcombe": float(np.mean([low > 0 or high < 0 for low, high in intervals])),
    }


def test_two_equal_systems_are_rarely_told_apart() -> None:
    found = _rejections(1000, 300, 0.2)
    assert 0.035 <= found["mid-p"] <= 0.065
    assert found["newcombe"] <= 0.065


@pytest.mark.slow
@pytest.mark.parametrize(("n", "share"), [(200, 0.2), (500, 0.1), (1000, 0.3)])
def test_two_equal_systems_are_rarely_told_apart_in_full(n: int, share: float) -> None:
    found = _rejections(10_000, n, share)
    assert 0.035 <= found["mid-p"] <= 0.06
    assert 0.03 <= found["newcombe"] <= 0.06


def _macro_rejections(make: Callable[..., Evaluation], repeats: int, n: int, resamples: int) -> float:
    """Share of A/A comparisons on macro F1 with a verdict of improved or regressed."""
    generator = np.random.default_rng(1)
    labels = np.array(["a", "b", "c"])
    section = EvaluationSection(primary_metric="macro_f1", resamples=resamples)
    decided = 0
    for _ in range(repeats):
        gold = generator.integers(0, 3, n)
        answers = [np.where(generator.random(n) < ACCURACY, gold, generator.integers(0, 3, n)) for _ in range(2)]
        one, other = (
            make(name, labels[gold].tolist(), labels[said].tolist()) for name, said in zip("xy", answers, strict=True)
        )
        decided += compare(one, [other], section=section).verdict in ("improved", "regressed")
    return decided / repeats


def test_two_equal_systems_rarely_differ_in_macro_f1(make_evaluation: Callable[..., Evaluation]) -> None:
    assert _macro_rejections(make_evaluation, 60, 150, 300) <= 0.15


@pytest.mark.slow
def test_two_equal_systems_rarely_differ_in_macro_f1_in_full(make_evaluation: Callable[..., Evaluation]) -> None:
    assert 0.03 <= _macro_rejections(make_evaluation, 1000, 200, 1000) <= 0.07


def _coverage(make_items: Callable[..., list[Item]], repeats: int, groups: int, resamples: int) -> tuple[float, float]:
    """Share of intervals that hold the true accuracy: cluster bootstrap, and Wilson on items as if alone."""
    generator = np.random.default_rng(2)
    size, held, naive = 10, 0, 0
    names = [str(place // size) for place in range(groups * size)]
    for _ in range(repeats):
        # The chance of a right answer varies by group: mean 0.7, strongly alike within a group.
        chances = np.repeat(generator.beta(0.7 * 2, 0.3 * 2, groups), size)
        answers = np.where(generator.random(groups * size) < chances, "a", "b").tolist()
        low, high = wilson_interval(answers.count("a"), len(answers))
        naive += low <= 0.7 <= high
        estimate = measure(make_items(["a"] * len(answers), answers, names), resamples=resamples, seed=1)["accuracy"]
        held += estimate.low is not None and estimate.high is not None and estimate.low <= 0.7 <= estimate.high
    return held / repeats, naive / repeats


def test_the_cluster_bootstrap_covers_where_single_items_do_not(make_items: Callable[..., list[Item]]) -> None:
    held, naive = _coverage(make_items, 120, 60, 300)
    assert held >= 0.88
    assert naive <= 0.85


@pytest.mark.slow
def test_the_cluster_bootstrap_covers_in_full(make_items: Callable[..., list[Item]]) -> None:
    held, naive = _coverage(make_items, 1500, 80, 1000)
    assert 0.93 <= held <= 0.97
    assert naive < 0.85


def test_the_clustered_standard_error_is_the_spread_of_the_mean() -> None:
    generator = np.random.default_rng(3)
    groups = [place // 10 for place in range(500)]
    means, errors = [], []
    for _ in range(300):
        chances = np.repeat(generator.beta(1.4, 0.6, 50), 10)
        values = (generator.random(500) < chances).astype(float)
        means.append(values.mean())
        errors.append(clustered_standard_error(values.tolist(), groups) or 0.0)
    assert float(np.mean(errors)) == pytest.approx(float(np.std(means)), rel=0.12)


def _pair(table: list[int], make_items: Callable[..., list[Item]]) -> list[Evaluation]:
    """Two systems of planted counts (both right, gained, lost, neither), two labels in turn.

    With values and without intervals of their own, which a comparison does not read.
    """
    kinds = np.random.default_rng(0).permutation(np.repeat(np.arange(4), table))
    golds = ["yes" if place % 2 else "no" for place in range(len(kinds))]
    wrong = {"yes": "no", "no": "yes"}
    found = []
    for name, right in (("tuned", (0, 1)), ("tfidf", (0, 2))):
        said = [gold if kind in right else wrong[gold] for gold, kind in zip(golds, kinds, strict=True)]
        metrics = {
            metric: Estimate(value=value, low=None, high=None, n=len(golds), method="none")
            for metric, value in point_metrics(golds, said).items()
        }
        found.append(
            Evaluation(
                system=name, kind="", set="test", task="classification", labels=("no", "yes"), n=len(golds),
                metrics=metrics, per_class={}, confusion={}, items=tuple(make_items(golds, said)),
            )
        )  # fmt: skip
    return found


def _compared(
    make_items: Callable[..., list[Item]], chances: list[float], metric: str, n: int, repeats: int
) -> list[Difference]:
    """Comparisons, from items to verdict, of systems that are both right, one-sidedly right, or wrong by `chances`."""
    section = EvaluationSection.model_validate({"primary_metric": metric, "resamples": 1000})
    tables = np.random.default_rng(n).multinomial(n, chances, size=repeats).tolist()
    pairs = (_pair(table, make_items) for table in tables)
    return [compare(candidate, [baseline], section=section).differences[0] for candidate, baseline in pairs]


def test_compare_rarely_tells_equal_systems_apart(make_items: Callable[..., list[Item]]) -> None:
    found = _compared(make_items, [0.7, 0.1, 0.1, 0.1], "accuracy", 200, 60)
    assert sum(row.verdict in ("improved", "regressed") for row in found) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_compare_rarely_tells_equal_systems_apart_and_its_intervals_cover(
    metric: str, make_items: Callable[..., list[Item]]
) -> None:
    """From items to verdict; with symmetric errors of two equal labels the true macro F1 is the accuracy."""
    same = _compared(make_items, [0.7, 0.1, 0.1, 0.1], metric, 300, 1000)
    decided = float(np.mean([row.verdict in ("improved", "regressed") for row in same]))
    assert 0.03 <= decided <= 0.07
    assert 0.035 <= float(np.mean([(row.p_value or 1.0) <= 0.05 for row in same])) <= 0.065
    better = _compared(make_items, [0.7, 0.12, 0.06, 0.12], metric, 300, 1000)
    held = [(row.difference.low or 0.0) <= 0.06 <= (row.difference.high or 0.0) for row in better]
    assert 0.93 <= float(np.mean(held)) <= 0.975


@pytest.mark.slow
def test_compare_finds_the_gain_that_it_says_it_can_find(make_items: Callable[..., list[Item]]) -> None:
    """Power within 3 points of theory: 80 % at the smallest detectable difference."""
    n, share = 300, 0.2
    gain = smallest_detectable(n, share)
    assert gain is not None
    chances = [0.7, (share + gain) / 2, (share - gain) / 2, 1 - 0.7 - share]
    found = _compared(make_items, chances, "accuracy", n, 2000)
    assert float(np.mean([(row.p_value or 1.0) <= 0.05 for row in found])) == pytest.approx(0.8, abs=0.03)
