"""Figures are sound SVG, tell what they show, and do not draw what is unknown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from metier.report.canvas import PAGE_COLOURS
from metier.report.figures import MOST_LABELS, draw_confusion, draw_figures, draw_loss, draw_validation
from metier.report.summary import RunSummary

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Everything written in a figure."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_figure_is_a_file_with_a_title_and_the_same_bytes_twice(summary: RunSummary) -> None:
    first, second = draw_figures(summary).every(), draw_figures(summary).every()
    assert [drawing.svg for drawing in first] == [drawing.svg for drawing in second]
    assert len({drawing.name for drawing in first}) == len(first)
    for drawing in first:
        root = ElementTree.fromstring(drawing.svg)
        assert root.tag == f"{SVG}svg"
        assert root[0].tag == f"{SVG}title"
        assert root[0].text == drawing.alt


def test_inlined_figures_take_the_colours_of_the_page(summary: RunSummary) -> None:
    for drawing in draw_figures(summary).every():
        assert not [colour for colour in PAGE_COLOURS if colour in drawing.inline]
        assert "var(--" in drawing.inline


def test_systems_are_written_with_their_values_and_unknown_is_a_word(summary: RunSummary) -> None:
    drawing = next(drawing for drawing in draw_figures(summary).systems if drawing.name == "systems-accuracy")
    found = texts(drawing.svg)
    assert {"majority", "0.112", "tuned", "0.950", "few_shot", "unknown"} <= set(found)
    assert "few_shot unknown" in drawing.alt
    assert "tuned 0.950 (0.920 to 0.980)" in drawing.alt


def test_formulas_and_markup_in_names_are_written_as_they_stand(make_summary: Callable[..., RunSummary]) -> None:
    labels = ("$\\frac{1}{0}$", "<b>&amp;</b>", "日本語 😀")
    drawing = draw_confusion(make_summary(labels=labels).test[-1])
    assert drawing is not None
    assert set(labels) <= set(texts(drawing.svg))
    assert "&lt;b&gt;&amp;amp;" in drawing.inline


@pytest.mark.parametrize(("count", "drawn"), [(2, True), (MOST_LABELS - 1, True), (MOST_LABELS + 1, False)])
def test_confusion_is_drawn_while_it_can_be_read(
    make_summary: Callable[..., RunSummary], count: int, drawn: bool
) -> None:
    labels = tuple(f"label {number:02d}" for number in range(count))
    assert (draw_confusion(make_summary(labels=labels).test[-1]) is not None) == drawn


def test_curves_need_steps_and_validations(summary: RunSummary) -> None:
    without = next(attempt for attempt in summary.attempts if attempt.history.stopped == "closed form")
    assert draw_loss(without) is None
    assert draw_validation(without, "macro_f1") is None


def test_validation_falls_back_to_the_metric_that_was_recorded(summary: RunSummary) -> None:
    drawing = draw_validation(summary.attempts[0], "weighted_recall")
    assert drawing is not None
    assert drawing.alt.startswith("macro F1 of llm")
    assert "best 0.934 at step 105" in drawing.alt


def test_a_long_training_stays_a_small_figure(summary: RunSummary) -> None:
    attempt = summary.attempts[0]
    steps = tuple(replace(attempt.history.steps[0], step=n, loss=1.0 / (n + 1)) for n in range(20_000))
    drawing = draw_loss(replace(attempt, history=replace(attempt.history, steps=steps)))
    assert drawing is not None
    assert len(drawing.svg) < 60_000


def test_pyplot_is_never_loaded(summary: RunSummary) -> None:
    before = "matplotlib.pyplot" in sys.modules
    draw_figures(summary)
    assert ("matplotlib.pyplot" in sys.modules) == before
