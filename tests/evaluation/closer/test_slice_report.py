"""Slices of a set: planted weakness is found, first, beside the best baseline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metier.evaluation.closer.slice_report import NO_SCORE, RIGHT, item_scores, large_enough, report_slices
from metier.evaluation.results import Evaluation

Make = Callable[..., Evaluation]


def test_the_planted_weak_slice_comes_first(make_evaluation: Make) -> None:
    golds = ["a", "b"] * 100
    weak = ["mail" if place < 60 else "phone" for place in range(200)]
    wrong = {"a": "b", "b": "a"}
    said = [
        wrong[gold] if where == "mail" and place % 2 else gold
        for place, (gold, where) in enumerate(zip(golds, weak, strict=True))
    ]
    tuned = make_evaluation("tuned", golds, said)
    base = make_evaluation("tfidf", golds, [gold if place % 10 else wrong[gold] for place, gold in enumerate(golds)])
    found = report_slices(tuned, base, "macro_f1", {"channel": weak}, {"language": "no library"})
    first = found.slices[0]
    assert (first.kind, first.name, first.verdict, first.n) == ("channel", "mail", "weak", 60)
    assert first.score.value == pytest.approx(0.5) and first.baseline is not None
    assert (found.metric, found.against, found.left_out) == (RIGHT, "tfidf", {"language": "no library"})
    gap = found.gaps[0]
    assert gap.value.value == pytest.approx(0.5) and gap.change is not None and (gap.change.low or 0) > 0
    assert found.kinds == {"channel": tuple(weak)}


def test_written_answers_are_scored_by_the_primary_metric(make_written: Make) -> None:
    golds = ["the money is back", "a new card comes"] * 15
    tuned = make_written("tuned", golds, [gold if place % 3 else "no idea" for place, gold in enumerate(golds)])
    name, values = item_scores(tuned.items, "generation", "chrf") or ("", np.zeros(0))
    assert name == "chrf" and values.shape == (30,) and values.max() == pytest.approx(1.0) and values.min() < 0.2
    name, values = item_scores(tuned.items, "generation", "bleu") or ("", np.zeros(0))
    assert name == "bleu"
    found = report_slices(tuned, None, "chrf", {"length": ["short", "long"] * 15}, {})
    assert found.metric == "chrf" and found.against is None and len(found.slices) == 2


def test_a_loss_is_turned_around(make_written: Make) -> None:
    tuned = make_written("tuned", ["x"] * 20, ["x"] * 20, losses=[(-2.0, 4)] * 10 + [(-8.0, 4)] * 10)
    name, values = item_scores(tuned.items, "generation", "loss") or ("", np.zeros(0))
    assert name == "minus loss" and values[:10].mean() > values[10:].mean()


def test_one_item_without_a_loss_leaves_right_and_wrong(make_written: Make) -> None:
    tuned = make_written("tuned", ["x", "y"], ["x", "z"], losses=[(-2.0, 4), None])
    name, values = item_scores(tuned.items, "generation", "loss") or ("", np.zeros(0))
    assert (name, values.tolist()) == (RIGHT, [1.0, 0.0])


def test_a_baseline_without_that_score_is_left_out(make_written: Make) -> None:
    tuned = make_written("tuned", ["x"] * 20, ["x"] * 20, losses=[(-2.0, 4)] * 20)
    copy = make_written("copy_input", ["x"] * 20, ["y"] * 20)
    found = report_slices(tuned, copy, "loss", {"length": ["1", "2"] * 10}, {})
    assert found.against is None and all(row.baseline is None for row in found.slices)


def test_small_slices_are_not_large_enough() -> None:
    assert not large_enough([str(place) for place in range(100)])
    assert not large_enough(["a"] * 50 + ["b"] * 9 + [None] * 20)
    assert large_enough(["a"] * 10 + ["b"] * 10)


def test_what_has_no_score_says_so(make_evaluation: Make) -> None:
    from dataclasses import replace

    passages = replace(make_evaluation("tuned", ["", ""], [None, None]), task="text")
    found = report_slices(passages, None, "bits_per_byte", {"length": ["a", "b"]}, {})
    assert found.left_out == {"length": NO_SCORE} and found.slices == ()
