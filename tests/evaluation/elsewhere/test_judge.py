"""A judge model is audited: both orders, position, length, people; and withheld where it does not hold (EV-8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metier.data.records import Input
from metier.errors import DataError, MetierError
from metier.evaluation.elsewhere.judge import (
    CHOICES,
    AnswerPair,
    JudgeAudit,
    PairVerdict,
    ask_judge,
    audit_judge,
    judge_inputs,
    judge_prompt,
    win_rate_at_equal_length,
)
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions

Rule = Callable[[str, str], str]
"""From the first and the second answer to a choice."""


class Judge:
    """Judges by a rule that was planted."""

    name, kind, trained_on = "planted judge", "rule", "nothing"
    parameters = None
    bytes = None
    settings: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen: Sequence[Input] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        self.seen = inputs
        for given in inputs:
            first, _, second = given.text.partition("First answer:\n")[2].partition("\n\nSecond answer:\n")
            said = self.rule(first, second)
            yield Answer(id=given.id, label=said if said in CHOICES else None)


def _pairs(
    n: int, *, ours_better: float, seed: int = 1, longer: float = 0.0
) -> tuple[list[AnswerPair], dict[str, str]]:
    """Pairs whose better answer says so; people see that. `longer`: how often ours has more words."""
    generator = np.random.default_rng(seed)
    pairs, human = [], {}
    for place in range(n):
        ours_wins = generator.random() < ours_better
        ours, theirs = ("good", "bad") if ours_wins else ("bad", "good")
        ours = f"{ours} answer{' and words' * int(8 * (generator.random() < longer))}"
        theirs = f"{theirs} answer{' and words' * int(generator.integers(0, 6))}"
        pairs.append(AnswerPair(id=f"p{place}", question=f"question {place}", ours=ours, theirs=theirs))
        human[f"p{place}"] = "ours" if ours_wins else "theirs"
    return pairs, human


def _fair(first: str, second: str) -> str:
    return "first" if first.startswith("good") else "second"


def _biased(points: float, seed: int = 3) -> Rule:
    """Chooses the first place in so many points of all judgements, whatever stands there; else it is fair."""
    generator = np.random.default_rng(seed)
    return lambda first, second: "first" if generator.random() < points / 100 else _fair(first, second)


def _audit(rule: Rule, n: int = 200, *, human: int | None = None, **planted: Any) -> JudgeAudit:
    pairs, labels = _pairs(n, **{"ours_better": 0.7, **planted})
    people = dict(list(labels.items())[: n if human is None else human])
    return audit_judge(ask_judge(Judge(rule), pairs), people, judge="planted", resamples=400)


def test_a_judge_without_bias_that_agrees_with_people_has_a_headline() -> None:
    audit = _audit(_fair)
    assert audit.flags == () and audit.withheld is None and audit.headline == audit.win_rate
    assert audit.win_rate.value == pytest.approx(0.7, abs=0.08)
    assert audit.win_rate.low is not None and audit.win_rate.high is not None
    assert audit.kappa.value == 1.0 and audit.alpha.value == 1.0 and audit.consistent.value == 1.0
    assert audit.position_bias.value == 0.0 and audit.unread == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_planted_position_bias_of_20_points_is_flagged(seed: int) -> None:
    audit = _audit(_biased(20, seed))
    assert audit.position_bias.value == pytest.approx(0.2, abs=0.09)
    assert len(audit.flags) == 1
    assert audit.flags[0].startswith("Position bias: the first answer wins")
    assert audit.consistent.value is not None and audit.consistent.value < 0.9


def test_a_bias_to_the_second_place_is_flagged_too() -> None:
    generator = np.random.default_rng(5)
    audit = _audit(lambda first, second: "second" if generator.random() < 0.2 else _fair(first, second))
    assert audit.flags[0].startswith("Position bias: the second answer wins")


def test_a_judge_that_only_sees_the_order_says_nothing() -> None:
    audit = _audit(lambda first, second: "first")
    assert audit.position_bias.value == 1.0 and audit.win_rate.value == 0.5 and audit.consistent.value == 0.0
    assert audit.flags == ("Position bias: the order alone decides (+100 points).",)
    assert audit.headline is None and "agrees with people by kappa = 0.00" in str(audit.withheld)


@pytest.mark.slow
def test_noise_without_bias_is_rarely_flagged() -> None:
    """A judge that errs evenly: about one audit in twenty is flagged by chance."""
    flagged = 0
    for seed in range(60):
        generator = np.random.default_rng(100 + seed)
        noisy: Rule = lambda first, second, g=generator: (  # type: ignore[misc]  # noqa: E731
            str(g.choice(["first", "second"])) if g.random() < 0.3 else _fair(first, second)
        )
        pairs, _ = _pairs(120, ours_better=0.6, seed=seed)
        flagged += bool(audit_judge(ask_judge(Judge(noisy), pairs), {}, resamples=300).flags)
    assert flagged <= 8


@pytest.mark.parametrize(
    ("human", "rule", "reason"),
    [
        (49, _fair, "only 49 pairs were judged by people too, and 50 are needed"),
        (50, _fair, None),
        (
            200,
            lambda first, second: "second" if first.startswith("good") else "first",
            "agrees with people by kappa = -",
        ),
    ],
)
def test_no_headline_without_people_who_agree(human: int, rule: Rule, reason: str | None) -> None:
    audit = _audit(rule, human=human)
    assert audit.human_n == human
    if reason is None:
        assert audit.withheld is None and audit.headline is not None
    else:
        assert audit.headline is None and reason in str(audit.withheld)


def test_moderate_agreement_is_withheld_with_its_number() -> None:
    generator = np.random.default_rng(9)
    audit = _audit(lambda first, second: _fair(first, second) if generator.random() < 0.8 else "tie", ours_better=0.5)
    assert audit.kappa.value is not None and audit.kappa.value > 0.3
    if audit.kappa.value < 0.6:
        assert audit.withheld == f"it agrees with people by kappa = {audit.kappa.value:.2f}, and 0.6 is needed"


def test_the_win_rate_at_equal_length_takes_length_off() -> None:
    """A judge that takes the longer answer: ours is longer and wins, and at equal length it does not."""
    audit = _audit(lambda first, second: "first" if len(first) > len(second) else "second", longer=0.8, ours_better=0.5)
    assert audit.longer_wins.value == 1.0 and audit.win_rate.value is not None and audit.win_rate.value > 0.65
    at_equal = audit.win_rate_equal_length
    assert at_equal.value is not None and abs(at_equal.value - 0.5) < 0.15


def test_length_control_recovers_a_planted_rate() -> None:
    generator = np.random.default_rng(2)
    gaps = generator.normal(40, 100, size=2000).round().astype(int)
    pulls = np.tanh(gaps / gaps.std())
    wins = generator.random(2000) < 1 / (1 + np.exp(-(0.4 + 1.5 * pulls)))
    verdicts = [
        PairVerdict(
            id=str(n), group=None, ours_first="first" if win else "second",
            theirs_first="second" if win else "first", length_gap=int(gap),
        )
        for n, (win, gap) in enumerate(zip(wins, gaps, strict=True))
    ]  # fmt: skip
    found = win_rate_at_equal_length(verdicts, resamples=100)
    truth = 1 / (1 + math.exp(-0.4))
    assert found.value == pytest.approx(truth, abs=0.04) and float(np.mean(wins)) > truth + 0.03
    assert found.low is not None and found.high is not None and found.low < truth < found.high


@pytest.mark.parametrize(
    ("said", "score", "winner", "pull"),
    [
        (("first", "second"), 1.0, "ours", 0.0), (("second", "first"), 0.0, "theirs", 0.0),
        (("first", "first"), 0.5, "tie", 1.0), (("second", "second"), 0.5, "tie", -1.0),
        (("tie", "tie"), 0.5, "tie", 0.0), (("first", "tie"), 1.0, "ours", 0.5), (("tie", "first"), 0.0, "theirs", 0.5),
        (("first", None), None, None, None),
    ],
)  # fmt: skip
def test_two_orders_make_one_verdict(said: tuple[str, str | None], score: Any, winner: Any, pull: Any) -> None:
    verdict = PairVerdict(id="p", group=None, ours_first=said[0], theirs_first=said[1], length_gap=1)
    assert (verdict.score, verdict.winner, verdict.pull) == (score, winner, pull)


def test_unread_judgements_are_told_and_count_for_nothing() -> None:
    generator = np.random.default_rng(4)
    audit = _audit(lambda first, second: "?" if generator.random() < 0.1 else _fair(first, second))
    assert audit.n + audit.unread == 200 and audit.unread > 20
    assert audit.flags[-1] == f"Of {audit.unread} of 200 pairs a judgement could not be read."


def test_groups_widen_the_interval() -> None:
    pairs, _ = _pairs(120, ours_better=0.5)
    grouped = []
    for n, pair in enumerate(pairs):
        ours, theirs = ("good", "bad") if (n // 12) % 2 else ("bad", "good")
        grouped.append(replace(pair, ours=ours, theirs=theirs, group=str(n // 12)))
    audit = audit_judge(ask_judge(Judge(_fair), grouped), {}, resamples=400)
    assert "10 groups" in audit.win_rate.method
    assert audit.win_rate.high is not None and audit.win_rate.low is not None
    assert audit.win_rate.high - audit.win_rate.low > 0.4


def test_what_a_judge_sees_names_no_system() -> None:
    pair = AnswerPair(id="p", question="why?", ours="one", theirs="two", reference="gold")
    inputs = judge_inputs([pair])
    assert [given.id for given in inputs] == ["p/ours first", "p/theirs first"]
    assert inputs[0].text == "Question:\nwhy?\n\nReference answer:\ngold\n\nFirst answer:\none\n\nSecond answer:\ntwo"
    assert not any(word in given.text for given in inputs for word in ("ours", "theirs"))
    assert judge_prompt().labels == ("first", "second", "tie")


def test_what_is_no_judgement_is_refused() -> None:
    pairs, _ = _pairs(3, ours_better=1.0)
    with pytest.raises(DataError, match="an id twice or none at all"):
        ask_judge(Judge(_fair), [*pairs, pairs[0]])
    verdicts = ask_judge(Judge(_fair), pairs)
    with pytest.raises(DataError, match="human labels: 1 are another word, wanted ours, theirs or tie"):
        audit_judge(verdicts, {"p0": "good"})
    with pytest.raises(DataError, match="human labels: 1 are of no pair that was judged"):
        audit_judge(verdicts, {"p9": "ours"})
    silent = Judge(_fair)
    silent.answer = lambda inputs, options: iter(())  # type: ignore[method-assign, assignment, misc]
    with pytest.raises(MetierError, match="its answers are not those of the inputs"):
        ask_judge(silent, pairs)
