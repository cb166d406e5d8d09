"""What a change of wording costs, paired."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.errors import DataError
from metier.evaluation.closer.robustness import judge_robustness
from metier.evaluation.results import Evaluation
from metier.evaluation.statistics import mcnemar_mid_p, newcombe_interval

Make = Callable[..., Evaluation]
GOLDS = ["yes", "no"] * 100
OTHER = {"yes": "no", "no": "yes"}


def _with_errors(make: Make, count: int, start: int = 0, groups: list[str] | None = None) -> Evaluation:
    said = [OTHER[gold] if start <= place < start + count else gold for place, gold in enumerate(GOLDS)]
    return make("tuned", GOLDS, said, groups)


def test_a_change_that_hurts_is_told_with_its_interval(make_evaluation: Make) -> None:
    found = judge_robustness(
        _with_errors(make_evaluation, 10),
        {"typos": _with_errors(make_evaluation, 50), "lower_case": _with_errors(make_evaluation, 10)},
    )
    worst, same = found.drops
    assert (worst.change, worst.verdict, worst.n) == ("typos", "hurts", 200)
    assert worst.drop.value == pytest.approx(0.2)
    assert (worst.drop.low, worst.drop.high) == newcombe_interval(150, 40, 0, 10)
    assert worst.p_value == mcnemar_mid_p(40, 0) and worst.p_holm == pytest.approx(2 * worst.p_value)
    assert worst.flips.value == pytest.approx(0.2)
    assert (worst.before, worst.after) == pytest.approx((0.95, 0.75))
    assert same.verdict == "holds" and same.flips.value == 0.0
    assert found.sentence.startswith("Typos hurts: right answers fall from 0.95 to 0.75 (95 % interval of the loss")
    assert found.sentence.endswith("1 of 2 changes surely cost less than 0.02.")


def test_a_wrong_answer_that_becomes_another_is_a_flip_and_no_loss(make_evaluation: Make) -> None:
    golds = ["a", "b", "c"] * 20
    before = make_evaluation("tuned", golds, ["a"] * 60)
    after = make_evaluation("tuned", golds, ["a" if gold == "a" else "x" for gold in golds])
    row = judge_robustness(before, {"typos": after}).drops[0]
    assert row.drop.value == 0.0 and row.flips.value == pytest.approx(40 / 60)


def test_what_nobody_measured_is_said(make_evaluation: Make) -> None:
    assert judge_robustness(_with_errors(make_evaluation, 5), {}).sentence == "Robustness was not measured."


def test_no_harm_seen_is_no_promise(make_evaluation: Make) -> None:
    few = [gold if place % 2 else OTHER[gold] for place, gold in enumerate(GOLDS[:20])]
    before, after = make_evaluation("tuned", GOLDS[:20], few), make_evaluation("tuned", GOLDS[:20], few[::1])
    found = judge_robustness(before, {"typos": after})
    assert found.drops[0].verdict == "cannot tell"
    assert found.sentence == ("No change of wording was seen to hurt; 0 of 1 changes surely cost less than 0.02.")


def test_groups_are_drawn_whole(make_evaluation: Make) -> None:
    groups = [str(place // 10) for place in range(200)]
    before, after = _with_errors(make_evaluation, 10, 0, groups), _with_errors(make_evaluation, 60, 0, groups)
    row = judge_robustness(before, {"typos": after}).drops[0]
    assert "20 groups" in row.drop.method and "20 groups" in row.flips.method


def test_other_items_are_refused(make_evaluation: Make) -> None:
    with pytest.raises(DataError, match=r"robustness: typos: 200 items as they are, 4 changed"):
        judge_robustness(_with_errors(make_evaluation, 1), {"typos": make_evaluation("tuned", GOLDS[:4], GOLDS[:4])})
