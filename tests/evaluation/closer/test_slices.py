"""Slices: planted weak ones are found, noise is not, and numbers have the right intervals."""

from __future__ import annotations

import numpy as np
import pytest

from metier.errors import ArgumentError
from metier.evaluation.closer.slices import score_slices
from metier.evaluation.significance.paired import Resampling, pass_difference
from metier.evaluation.statistics import fisher_mid_p, newcombe_unpaired_interval, wilson_interval


def _languages(n: int) -> list[str | None]:
    return [("de", "en", "fr")[place % 3] for place in range(n)]


def test_a_planted_weak_slice_stands_first() -> None:
    names = _languages(300)
    right = np.array([0.0 if name == "de" and place % 2 else 1.0 for place, name in enumerate(names)])
    found = score_slices(right, {"language": names})
    worst = found[0]
    assert (worst.kind, worst.name, worst.n, worst.verdict) == ("language", "de", 100, "weak")
    assert worst.score.value == 0.5
    assert (worst.score.low, worst.score.high) == wilson_interval(50, 100)
    assert (worst.against_rest.low, worst.against_rest.high) == newcombe_unpaired_interval(50, 100, 200, 200)
    assert worst.p_value == fisher_mid_p(50, 100, 200, 200)
    assert worst.p_corrected is not None and worst.p_corrected < 1e-6
    assert [row.verdict for row in found[1:]] == ["strong", "strong"]
    assert worst.baseline is None and worst.gain is None


def test_the_other_system_stands_beside_it() -> None:
    names = _languages(300)
    generator = np.random.default_rng(1)
    right, before = generator.random(300) < 0.8, generator.random(300) < 0.5
    found = score_slices(right.astype(float), {"language": names}, baseline=before.astype(float))
    for row in found:
        inside = np.array([name == row.name for name in names])
        assert row.gain == pass_difference(right[inside], before[inside])[0]
        assert row.baseline is not None and row.baseline.value == pytest.approx(before[inside].mean())


def test_few_items_stand_last_and_say_nothing() -> None:
    names: list[str | None] = ["rare"] * 5 + ["common"] * 95
    found = score_slices(np.array([0.0] * 5 + [1.0] * 95), {"source": names})
    assert [(row.name, row.verdict) for row in found] == [("common", "strong"), ("rare", "too few")]
    assert found[1].p_value is None and found[1].p_corrected is None


def test_items_of_no_slice_are_in_no_comparison() -> None:
    names: list[str | None] = ["a"] * 50 + ["b"] * 50 + [None] * 100
    found = score_slices(np.array([1.0] * 50 + [0.0] * 150), {"source": names})
    worst = next(row for row in found if row.name == "b")
    assert worst.against_rest.value == -1.0 and worst.n == 50


def test_graded_scores_are_resampled() -> None:
    generator = np.random.default_rng(2)
    names = _languages(240)
    scores = np.array([0.4 if name == "fr" else 0.6 for name in names]) + generator.normal(0, 0.1, 240)
    found = score_slices(scores, {"language": names}, baseline=scores - 0.1, how=Resampling(resamples=500))
    worst = found[0]
    assert (worst.name, worst.verdict) == ("fr", "weak")
    assert worst.score.method == "bca bootstrap (500)"
    inside = np.array([name == "fr" for name in names])
    error = scores[inside].std(ddof=1) / np.sqrt(80)
    assert worst.score.low == pytest.approx(scores[inside].mean() - 1.96 * error, abs=0.006)
    assert worst.p_value is not None and worst.p_value < 1e-4
    assert worst.gain is not None and worst.gain.value == pytest.approx(0.1)


def test_groups_make_a_slice_less_sure() -> None:
    names: list[str | None] = (["a"] * 10 + ["b"] * 10) * 10
    groups = np.repeat(np.arange(20), 10)
    right = np.array([float(name == "b" or place % 40 < 10) for place, name in enumerate(names)])
    alone = score_slices(right, {"source": names})[0]
    together = score_slices(right, {"source": names}, groups=groups, how=Resampling(resamples=500))[0]
    assert alone.p_value is not None and together.p_value is not None
    assert together.p_value > alone.p_value
    assert together.score.method.endswith("20 groups)")


def test_noise_is_rarely_called_weak() -> None:
    generator = np.random.default_rng(3)
    called = 0
    for _ in range(200):
        right = (generator.random(400) < 0.8).astype(float)
        names = [f"s{place}" for place in generator.integers(0, 10, 400)]
        called += any(row.verdict in ("weak", "strong") for row in score_slices(right, {"source": names}))
    assert called / 200 <= 0.09


def test_one_slice_has_no_rest() -> None:
    found = score_slices(np.ones(20), {"source": ["a"] * 20})
    assert found[0].against_rest.reason == "there are no other items" and found[0].verdict == "no evidence"
    graded = score_slices(np.linspace(0, 1, 20), {"source": ["a"] * 20}, how=Resampling(resamples=300))
    assert graded[0].against_rest.reason == "there are no other items"


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ArgumentError, match="another length in: language, the other system"):
        score_slices(np.ones(3), {"language": ["a"]}, baseline=np.ones(2))
    with pytest.raises(ArgumentError, match="found 0 scores"):
        score_slices(np.ones(0), {})
