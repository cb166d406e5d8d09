"""The first screen's four answers say what the evidence says, and never more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from metier.evaluation.results import Comparison, Difference, Estimate, GateResult
from metier.report.figures import draw_figures
from metier.report.page import render_page
from metier.report.questions import Reply, decisive, replies, reply_lines
from metier.report.summary import Looks, RunSummary

PASSED = GateResult(gate="verdict", wanted="improved", found="improved", passed=True)


def row(baseline: str, gain: float, verdict: str, *, after: float | None = None, **changes: Any) -> Difference:
    """The candidate minus one baseline; `after` is the lower end after several openings."""
    left = None
    if after is not None:
        left = Estimate(value=gain, low=after, high=gain + 0.05, n=240, method="planted")
    values: dict[str, Any] = {
        "baseline": baseline, "metric": "macro_f1", "candidate_value": 0.94, "baseline_value": 0.94 - gain,
        "difference": Estimate(value=gain, low=gain - 0.03, high=gain + 0.03, n=240, method="planted"),
        "p_value": 0.004, "p_holm": None, "gained": 9, "lost": 2, "smallest_detectable": 0.04, "verdict": verdict,
        "after_openings": left,
    }  # fmt: skip
    return Difference(**{**values, **changes})


def judged(summary: RunSummary, verdict: str, rows: tuple[Difference, ...], **changes: Any) -> RunSummary:
    """The run with this verdict, nothing looked at closer, no failed gate, one opening."""
    found: Comparison = replace(
        summary.comparison, verdict=verdict, differences=rows, accuracy_differences=(), gates=(PASSED,), openings=1,
        best_baseline=rows[0].baseline if rows else None, sentence="A sentence.",
    )  # fmt: skip
    looks = changes.pop("looks", Looks())
    recipe = {**summary.recipe, **changes.pop("recipe", {})}
    return replace(summary, comparison=replace(found, **changes), looks=looks, recipe=recipe)


def shipped(summary: RunSummary) -> Reply:
    """The last answer."""
    return replies(summary)[-1]


BETTER = (row("tfidf", 0.1, "improved"), row("majority", 0.6, "improved"))


@pytest.mark.parametrize(
    ("verdict", "gain", "answer", "ship", "why"),
    [
        ("improved", 0.1, "Yes", "Yes, with a person", "nothing that was measured lets it answer alone"),
        ("improved", 0.01, "Yes", "Hardly worth it", "below 0.020, the smallest that the recipe calls useful"),
        ("regressed", -0.1, "No, it is worse", "No", "Use tfidf instead."),
        ("no evidence", 0.0, "No useful gain", "No", "It brings no useful gain. Use tfidf instead."),
        ("underpowered", 0.02, "Cannot tell", "Cannot tell", "About 910 more test records would tell."),
        ("not worse", -0.005, "Not worse", "Yes, with a person", "No alternative is better by 0.050 or more"),
    ],
)
def test_the_verdict_decides(summary: RunSummary, verdict: str, gain: float, answer: str, ship: str, why: str) -> None:
    made = judged(summary, verdict, (row("tfidf", gain, verdict, items_needed=1150),), not_worse_margin=0.05)
    better, sure, alone, last = replies(made)
    assert better.answer == answer
    assert "0.940 against" in better.told and "240 test records" in better.told
    assert "(n = 240, p = 0.004)" in sure.told and " to " in sure.answer
    assert alone.answer == "Not measured"
    assert last.answer == ship
    assert why in last.told


def test_the_baseline_that_is_not_beaten_decides(summary: RunSummary) -> None:
    rows = (row("tfidf", 0.1, "improved"), row("probe", 0.02, "underpowered"), row("zero_shot", 0.03, "underpowered"))
    made = judged(summary, "underpowered", rows)
    found = decisive(made.comparison)
    assert found is not None and found.baseline == "probe"
    assert "of probe" in replies(made)[0].told
    best = judged(summary, "improved", BETTER)
    first = decisive(best.comparison)
    assert first is not None and first.baseline == "tfidf"


@pytest.mark.parametrize(
    ("changes", "answer", "why"),
    [
        ({"gates": (replace(PASSED, passed=False),)}, "No", "1 of 1 gate of the recipe failed: verdict."),
        ({"openings": None}, "Cannot tell", "How often this test set was opened was not recorded."),
        ({"set": "validation", "openings": None}, "Not yet", "The test set is still closed."),
        ({"recipe": {"data": {"leaks": "allow"}}}, "Cannot tell", "Leaks between train and test were allowed"),
        ({"set": "out_of_fold", "openings": None}, "Yes, with a person", "was itself never tested"),
    ],
    ids=["gate", "openings unknown", "validation", "leaks", "out of fold"],
)
def test_better_is_not_enough(summary: RunSummary, changes: dict[str, Any], answer: str, why: str) -> None:
    found = shipped(judged(summary, "improved", BETTER, **changes))
    assert found.answer == answer
    assert why in found.told


def test_several_openings_take_a_narrow_yes_back(summary: RunSummary) -> None:
    lucky = (row("tfidf", 0.1, "improved", after=-0.002), row("majority", 0.6, "improved", after=0.5))
    made = judged(summary, "improved", lucky, openings=3)
    assert shipped(made).answer == "Cannot tell"
    assert "3 looks at these records, and that many could explain the gain" in shipped(made).told
    sure = replies(made)[1]
    assert sure.tone == "doubt"
    assert "Shared by 3 looks at these records: −0.002 to +0.150 at 98.33 %." in sure.told
    safe = (row("tfidf", 0.1, "improved", after=0.05), row("majority", 0.6, "improved", after=0.5))
    assert shipped(judged(summary, "improved", safe, openings=3)).answer.startswith("Yes")
    unknown = judged(summary, "improved", BETTER, openings=3)
    assert shipped(unknown).answer == "Cannot tell"
    assert "which this interval does not know of" in replies(unknown)[1].told


@pytest.mark.parametrize(
    ("kept", "ship", "tone", "told"),
    [
        (True, "Yes, as far as measured", "good", "The promise of 99 % right held on the test set."),
        (None, "Yes, with a person", "doubt", "can neither confirm nor refute the promise of 99 % right"),
        (False, "Yes, with a person", "bad", "did not hold on the test set: do not rely on it"),
    ],
)
def test_what_it_answers_alone_is_promised_only_where_the_promise_held(
    summary: RunSummary, planted: Any, kept: bool | None, ship: str, tone: str, told: str
) -> None:
    made = judged(summary, "improved", BETTER, looks=Looks(trust=planted.trust(kept=kept)))
    alone = replies(made)[2]
    assert (alone.answer, alone.tone) == ("80 % of answers", tone)
    assert "Answers 80 % by itself with 99.4 % right" in alone.told and told in alone.told
    assert "`metier predict --abstain`" in alone.told and "0.870" in alone.told
    assert shipped(made).answer == ship


def test_without_a_promise_everything_goes_to_a_person(summary: RunSummary, planted: Any) -> None:
    nothing = planted.trust(threshold=None, kept=None)
    made = judged(summary, "improved", BETTER, looks=Looks(trust=nothing))
    assert replies(made)[2].answer == "Nothing"
    assert shipped(made).answer == "Yes, with a person"
    silent = replace(nothing, calibration={}, curve=None, alone=None, reason="written answers have no probabilities")
    alone = replies(replace(made, looks=Looks(trust=silent)))[2]
    assert (alone.answer, alone.told) == ("Unknown", "Written answers have no probabilities.")


def test_weaknesses_stand_beside_a_yes(summary: RunSummary, planted: Any) -> None:
    made = judged(summary, "improved", BETTER, looks=planted.every_look())
    told = shipped(made).told
    assert "It is weak in 1 slice, most in language de (0.610, n = 40)." in told
    assert "(typos) lowers its share of right answers by 0.080 (n = 100)." in told
    assert "By language it is less equal than tfidf." in told
    assert told.endswith("What was not measured stands under What this cannot say.")
    assert "Over 5 seeds the recipe gives" in replies(made)[1].told


def test_nothing_to_compare_with_says_so(summary: RunSummary) -> None:
    made = judged(summary, "underpowered", ())
    assert [reply.answer for reply in replies(made)] == ["Cannot tell", "Cannot tell", "Not measured", "Cannot tell"]
    unknown = Estimate(value=None, low=None, high=None, n=240, method="none", reason="a label was never answered")
    lost = judged(summary, "underpowered", (row("tfidf", 0.0, "underpowered", difference=unknown),))
    assert replies(lost)[1].told == "A label was never answered."
    flat = Estimate(value=0.0, low=None, high=None, n=240, method="none", reason="no answer differs")
    same = judged(summary, "underpowered", (row("tfidf", 0.0, "underpowered", difference=flat),))
    assert replies(same)[1].answer == "No interval"
    assert "no answer differs (n = 240)" in replies(same)[1].told


def test_advice_is_told_once(summary: RunSummary) -> None:
    made = judged(summary, "no evidence", (row("tfidf", 0.0, "no evidence"),), advice="Do not train; use tfidf.")
    assert replies(made)[0].told.endswith("Do not train; use tfidf.")
    assert shipped(made).told == "Do not train; use tfidf."
    assert reply_lines(made)[0] == "Better?     A sentence. Do not train; use tfidf."
    said = replace(made, comparison=replace(made.comparison, sentence="So: Do not train; use tfidf."))
    assert reply_lines(said)[0].count("Do not train") == 1


def test_page_and_terminal_show_all_four(summary: RunSummary) -> None:
    page = render_page(summary, draw_figures(summary))
    lines = reply_lines(summary)
    assert [line.split("  ")[0].rstrip() for line in lines] == ["Better?", "How sure?", "Alone?", "Ship it?"]
    for reply in replies(summary):
        assert f"<h3>{reply.question}</h3>" in page
        assert f'<p class="answered"><bdi>{reply.answer}</bdi></p>' in page
