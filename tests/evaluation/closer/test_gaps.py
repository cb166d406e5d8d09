"""Gaps between slices, beside what chance alone shows."""

from __future__ import annotations

import numpy as np
import pytest

from metier.evaluation.closer.gaps import measure_gaps
from metier.evaluation.significance.paired import Resampling

FAST = Resampling(resamples=500)


def _names(n: int) -> list[str | None]:
    return [("de", "en", "fr")[place % 3] for place in range(n)]


def test_a_planted_gap_is_found_and_beyond_chance() -> None:
    names = _names(600)
    generator = np.random.default_rng(1)
    right = np.array([float(generator.random() < (0.6 if name == "de" else 0.9)) for name in names])
    (gap,) = measure_gaps(right, {"language": names}, how=FAST)
    assert (gap.kind, gap.slices, gap.worst) == ("language", 3, "de")
    assert gap.value.value == pytest.approx(gap.best_score - gap.worst_score)
    assert gap.value.low is not None and gap.value.high is not None
    assert gap.value.low < 0.3 < gap.value.high
    assert gap.by_chance is not None and gap.by_chance < 0.1
    assert gap.chance_p is not None and gap.chance_p < 0.01
    assert gap.sentence.startswith(f"By language {gap.worst_score:.2f} (de) to {gap.best_score:.2f} (")
    assert "chance alone would show" in gap.sentence
    assert gap.baseline is None and gap.change is None


def test_a_gap_of_chance_is_called_so() -> None:
    generator = np.random.default_rng(2)
    ps = []
    for _ in range(60):
        right = (generator.random(150) < 0.8).astype(float)
        (gap,) = measure_gaps(right, {"language": _names(150)}, how=Resampling(resamples=200))
        ps.append(gap.chance_p or 0)
    assert np.mean(np.array(ps) <= 0.05) <= 0.12


def test_training_that_widens_a_gap_is_told() -> None:
    names = _names(600)
    generator = np.random.default_rng(3)
    before = (generator.random(600) < 0.7).astype(float)
    after = np.array([1.0 if name != "de" else value for name, value in zip(names, before, strict=True)])
    (gap,) = measure_gaps(after, {"language": names}, baseline=before, how=FAST)
    assert gap.baseline is not None and gap.change is not None
    assert gap.change.low is not None and gap.change.low > 0
    assert "wider than before" in gap.sentence
    (back,) = measure_gaps(before, {"language": names}, baseline=after, how=FAST)
    assert "narrower than before" in back.sentence
    (same,) = measure_gaps(before, {"language": names}, baseline=np.roll(before, 3), how=FAST)
    assert "cannot be told" in same.sentence


def test_slices_that_are_all_alike_are_not_named_as_best_and_worst() -> None:
    (gap,) = measure_gaps(np.zeros(60), {"language": _names(60)}, how=FAST)
    assert gap.sentence.startswith("By language 0.00 in every slice: a gap of 0.00")


def test_small_slices_and_kinds_of_one_slice_are_passed_over() -> None:
    names: list[str | None] = ["a"] * 50 + ["b"] * 5
    assert measure_gaps(np.ones(55), {"source": names}, how=FAST) == ()
    three: list[str | None] = ["a"] * 50 + ["b"] * 5 + ["c"] * 45 + [None] * 3
    (gap,) = measure_gaps(np.array(([0.0, 1.0] * 52)[:103]), {"source": three}, how=FAST)
    assert gap.slices == 2 and gap.value.n == 95


def test_groups_are_drawn_whole_and_have_no_chance() -> None:
    names: list[str | None] = (["a"] * 10 + ["b"] * 10) * 10
    right = np.array([float(place % 3 > 0) for place in range(200)])
    (gap,) = measure_gaps(right, {"source": names}, groups=np.arange(200) // 10, how=FAST)
    assert gap.by_chance is None and gap.chance_p is None
    assert "20 groups" in gap.value.method or gap.value.reason is not None
