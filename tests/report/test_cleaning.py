"""What cleaning found and changed stands on page, card and in the terminal, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from metier.cli.tables import final_text
from metier.data.record.summary import StepRecord
from metier.evaluation.results import Ablation, Estimate, Evaluation
from metier.evaluation.swap_values import SwapChange, SwapReport
from metier.report.card import render_card
from metier.report.cleaning import ablation_table, changed, steps_table, swaps_lines, swaps_table
from metier.report.figures import draw_figures
from metier.report.page import render_page
from metier.report.summary import RunSummary

STEPS = (
    StepRecord(step="leakage", version=1, looked_at=900),
    StepRecord(
        step="wrong_labels", version=2, looked_at=900, doubts=31, counts={"wrong label": 31}, done={"dropped": 12}
    ),
)
ABLATION = Ablation(
    metric="macro_f1", change=Estimate(value=0.012, low=-0.004, high=0.028, n=300, method="bca bootstrap (2000)"),
    verdict="underpowered", sentence="Cleaning changed macro F1 by +0.012 [−0.004, +0.028], n = 300: no difference.",
    records={"cleaned": 812, "raw": 1024}, steps={"cleaned": 153, "raw": 140, "planned": 153},
    notes=("One training each <here>.",),
)  # fmt: skip


def agreement(value: float, dimension: str = "gender", **settings: Any) -> Evaluation:
    found = Estimate(value=value, low=value - 0.02, high=min(1.0, value + 0.02), n=120, method="wilson")
    return Evaluation(
        system="tuned", kind="", set=f"copies-{dimension}", task="classification", labels=(), n=120,
        metrics={"accuracy": found}, per_class={}, confusion={}, settings={"dimension": dimension, **settings},
    )  # fmt: skip


@pytest.fixture
def cleaned(summary: RunSummary) -> RunSummary:
    """A run with everything that this is about."""
    swaps = (agreement(0.95, left_out={"bound to its group": 3}), agreement(1.0, "religion"))
    return replace(summary, steps=STEPS, ablation=ABLATION, swaps=swaps)


def words(page: str) -> str:
    """The text of a page, white space folded."""
    heard: list[str] = []
    reader = HTMLParser()
    reader.handle_data = heard.append  # type: ignore[method-assign]
    reader.feed(page)
    return " ".join("".join(heard).split())


def page_of(summary: RunSummary) -> str:
    return render_page(summary, draw_figures(summary))


def test_the_page_says_it(cleaned: RunSummary) -> None:
    text = words(page_of(cleaned))
    assert ABLATION.sentence in text and "One training each <here>." in text
    assert "812" in text and "1,024" in text and "153 steps were planned for both" in text
    assert "wrong labels" in text and "31 wrong label" in text and "12 dropped" in text
    assert "1 more step found nothing" in text
    assert "0.050" in text and "0.030 to 0.070" in text and "3 bound to its group" in text
    assert f"metier data report {cleaned.folder}" in text


def test_the_card_says_it(cleaned: RunSummary) -> None:
    card = render_card(cleaned)
    assert "Cleaning changed macro F1 by +0.012" in card and "One training each \\<here\\>." in card
    assert "Answers that change" in card


def test_the_terminal_says_it(cleaned: RunSummary) -> None:
    text = final_text(cleaned, report="index.html", uses=[])
    assert ABLATION.sentence in text.splitlines()
    assert "Swapped gender: 5.0% [3.0%, 7.0%] of 120 answers change." in text.splitlines()
    assert swaps_lines(cleaned)[1] == "Swapped religion: 0.0% [0.0%, 2.0%] of 120 answers change."


def test_bias_is_shown_as_a_change_from_the_base(cleaned: RunSummary) -> None:
    share = Estimate(value=0.02, low=0.01, high=0.04, n=120, method="wilson")
    change = SwapChange(
        dimension="gender", n=120, changed=share, moved=share, base_changed=share, base_moved=share,
        change=replace(share, value=0.037, low=0.012, high=0.061), p_value=0.004, p_holm=0.008, moved_change=share,
        verdict="more",
    )  # fmt: skip
    found = SwapReport(system="tuned", base="zero_shot", dimensions=(change,), sentence="They change <more often>.")
    against = replace(cleaned, looks=replace(cleaned.looks, swaps=found))
    text = words(page_of(against))
    assert "Change from the base" in text and "+0.037" in text and "+0.012 to +0.061" in text and "0.008" in text
    assert "not asked" in text  # religion
    assert swaps_lines(against)[-1] == found.sentence
    assert "Change from the base" in render_card(against) and "Change from the base" not in render_card(cleaned)


def test_nothing_is_said_where_nothing_was_done(summary: RunSummary) -> None:
    assert (steps_table(summary), ablation_table(summary.ablation), swaps_table(summary)) == (None, None, None)
    text = words(page_of(summary))
    assert "What cleaning changed" not in text and "Answers that change" not in text
    assert "Cleaning changed" not in render_card(summary)


def test_without_a_comparison_only_the_sentence_stands(make_summary: Callable[..., RunSummary]) -> None:
    none = replace(ABLATION, change=None, sentence="Cleaning changed nothing that is learned from.", notes=(), steps={})
    made = make_summary(ablation=none)
    assert "Cleaning changed nothing that is learned from." in words(page_of(made))
    assert ablation_table(none) is None


@pytest.mark.parametrize(
    ("stays", "share"),
    [
        (Estimate(value=0.9, low=0.8, high=0.97, n=50, method="wilson"), (0.1, 0.03, 0.2)),
        (Estimate(value=None, low=None, high=None, n=0, method="none", reason="no item"), (None, None, None)),
        (Estimate(value=1.0, low=None, high=None, n=3, method="none", reason="too few"), (0.0, None, None)),
    ],
)
def test_what_changes_is_what_does_not_stay(stays: Estimate, share: tuple[float | None, ...]) -> None:
    found = changed(replace(agreement(0.5), metrics={"exact_match": stays}))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(share)
