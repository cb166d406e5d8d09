"""The closer looks on the page: every drawing has its table, what was not looked at has no section."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from metier.evaluation.evidence import ErrorReport, Robustness, SeedStatement, SliceReport, Trust
from metier.evaluation.results import FoldReport
from metier.evaluation.standings import JudgeReport
from metier.report import closer, trainings
from metier.report.closer_figures import MOST_SEEDS, MOST_SLICES, CloserFigures, draw_closer
from metier.report.figures import draw_figures
from metier.report.formats import percent
from metier.report.page import render_page, shown_sections
from metier.report.sentences import limitations, not_measured
from metier.report.summary import Looks, RunSummary
from metier.report.tables import Table, differences_table

SECTIONS = {
    "trust": Trust, "slices": SliceReport, "robustness": Robustness, "errors": ErrorReport, "seeds": SeedStatement,
    "folds": FoldReport, "judge": JudgeReport,
}  # fmt: skip


def cells(table: Table | None) -> list[list[str]]:
    """The texts of a table."""
    assert table is not None
    return [[cell.text for cell in row.cells] for row in table.rows]


def texts(svg: str) -> list[str]:
    """Everything written in a figure."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_stands_only_where_somebody_looked(summary: RunSummary, planted: Any, name: str) -> None:
    nobody = replace(summary, looks=Looks())
    assert not SECTIONS.keys() & shown_sections(nobody).keys()
    assert draw_closer(nobody) == CloserFigures()
    alone = replace(summary, looks=replace(Looks(), **{name: getattr(planted, name)()}))
    assert SECTIONS.keys() & shown_sections(alone).keys() == {name}
    assert f'<section id="{name}">' in render_page(alone, draw_figures(alone))


def test_a_task_without_probabilities_has_no_section_for_them(summary: RunSummary, planted: Any) -> None:
    silent = replace(
        planted.trust(), calibration={}, tempered=None, curve=None, alone=None, reason="texts have no probabilities"
    )
    made = replace(summary, looks=Looks(trust=silent))
    assert "trust" not in shown_sections(made)
    assert "Texts have no probabilities." in render_page(made, draw_figures(made))


def test_probabilities_before_and_after(summary: RunSummary) -> None:
    found = cells(closer.trust_table(summary.looks.trust))
    assert [row[0] for row in found] == ["zero_shot", "tfidf", "tuned", "tuned, temperature 1.62"]
    assert [row[1] for row in found] == ["0.300", "0.080", "0.050", "0.010"]
    drawn = draw_closer(summary).reliability
    assert [drawing.name for drawing in drawn] == ["reliability-1", "reliability-2", "reliability-3"]
    assert [drawing.alt.split(":")[0] for drawing in drawn] == [
        "Reliability of zero_shot", "Reliability of tuned", "Reliability of tuned, temperature 1.62",
    ]  # fmt: skip
    assert "claims 0.950, right 0.650 of 24" in drawn[0].alt


def test_every_bin_of_a_drawing_stands_in_its_table(summary: RunSummary) -> None:
    assert summary.looks.trust is not None
    for name, found, _ in closer.calibrations(summary.looks.trust):
        table = cells(closer.reliability_table(name, found))
        assert len(table) == len(found.bins) == 10
        assert table[0][1] == "24"


def test_the_promise_on_both_sets(summary: RunSummary, planted: Any) -> None:
    found = cells(closer.promise_table(summary.looks.trust))
    assert found[0][:5] == ["validation", "82 %", "100 %", "99.1 %", "328"]
    assert found[1][:5] == ["test", "80 %", "99.4 %", "98.1 %", "192"]
    assert closer.promise_table(planted.trust(threshold=None)) is None
    assert closer.promise_table(None) is None


def test_the_curve_as_a_table_and_a_drawing(summary: RunSummary) -> None:
    found = cells(closer.coverage_table(summary.looks.trust))
    assert [row[0] for row in found][-3:] == ["90 %", "95 %", "100 %"]
    assert found[-1] == ["100 %", "95 %", "0 %", "0.500"]
    (drawing,) = draw_closer(summary).coverage
    assert "100 % answered, 95 % right" in drawing.alt
    assert "The broken line is what was promised." in drawing.caption
    assert {"% answered by itself", "% right among them"} <= set(texts(drawing.svg))


def test_a_curve_of_thousands_stays_small(summary: RunSummary, planted: Any) -> None:
    trust = planted.trust()
    steps = tuple((number + 1) / 20_000 for number in range(20_000))
    curve = replace(trust.curve, coverage=steps, risk=tuple(0.04 * part for part in steps), threshold=steps)
    (drawing,) = draw_closer(replace(summary, looks=Looks(trust=replace(trust, curve=curve)))).coverage
    assert len(drawing.svg) < 40_000
    assert "100 % answered, 96 % right" in drawing.alt


def test_slices_the_worst_first_with_support_and_correction(summary: RunSummary, planted: Any) -> None:
    worst, others = closer.slices_tables(summary)
    assert len(cells(worst)) == closer.FEW_SLICES
    assert cells(worst)[0] == ["de", "0.610", "−0.340", "0.004", "+0.100", "40", "weak"]
    assert ["<b>en</b>", "0.970", "+0.020", "0.004", "+0.100", "40", "strong"] in cells(others)
    assert cells(others)[-1][-1] == "too few" and "unknown" in cells(others)[-1]
    many = replace(summary, looks=Looks(slices=planted.slices(400)))
    _, rest = closer.slices_tables(many)
    assert rest is not None and len(rest.rows) == closer.MOST_SLICES - closer.FEW_SLICES
    assert "253 more slices are in the file slices.json alone" in rest.caption
    (drawing,) = draw_closer(many).slices
    assert f"The {MOST_SLICES} worst of 402 slices" in drawing.caption
    assert "one.csv" not in drawing.alt  # too few records to be drawn


def test_gaps_base_against_tuned(summary: RunSummary) -> None:
    found = cells(closer.gaps_table(summary))
    assert found == [["language", "de", "<b>en</b>", "0.360", "0.050", "0.120", "+0.240"]]
    page = render_page(summary, draw_figures(summary))
    assert "&lt;b&gt;en&lt;/b&gt;" in page and "<b>en" not in page
    assert "Not looked at: cluster: no vectors of the test records were at hand." in page


def test_changes_of_wording(summary: RunSummary) -> None:
    found = cells(closer.robustness_table(summary))
    assert [row[0] for row in found] == ["typos", "upper case", "lower case"]
    assert found[0][1:4] == ["0.950", "0.870", "+0.080"]
    assert [row[-1] for row in found] == ["hurts", "cannot tell", "holds"]
    (drawing,) = draw_closer(summary).robustness
    assert "typos +0.080 (+0.060 to +0.100)" in drawing.alt


def test_errors_lead_to_rows(summary: RunSummary, planted: Any) -> None:
    rows = cells(closer.rows_table(summary))
    assert rows[0] == ["tickets.csv row 10", "x", "12", "doubted"]
    assert rows[1][-1] == "not doubted"
    explained = cells(closer.explained_table(summary))
    assert explained[0][:3] == ["tickets.csv row 900", "refund <&>", "x"]
    assert explained[1][2] == "(none)"
    assert explained[0][3].startswith("tickets.csv row 10 (0.93) x, doubted; tickets.csv row 11 (0.83) x;")
    assert explained[0][4] == "a training row near it has a doubted label"
    many = replace(summary, looks=Looks(errors=planted.errors(200)))
    table = closer.rows_table(many)
    assert table is not None and len(table.rows) == closer.MOST_ROWS and "The first 25 of 30." in table.caption


def test_seeds_are_listed_and_their_interval_is_the_recipes(summary: RunSummary, planted: Any) -> None:
    found = {row[0]: row[1] for row in cells(trainings.seeds_table(summary.looks.seeds))}
    assert found["seed 17"] == "0.930" and found["mean, for more seeds and more records"] == "0.938"
    assert found["mean gain over tfidf"] == "+0.030"
    assert found["of it between seeds alone"] == "0.004"
    (drawing,) = draw_closer(summary).seeds
    assert "the recipe 0.938 (0.918 to 0.958)" in drawing.alt
    assert draw_closer(replace(summary, looks=Looks(seeds=planted.seeds(1)))).seeds == ()
    (many,) = draw_closer(replace(summary, looks=Looks(seeds=planted.seeds(50)))).seeds
    assert f"seed {16 + MOST_SEEDS} " in many.alt and f"seed {17 + MOST_SEEDS} " not in many.alt


def test_folds_stand_side_by_side(summary: RunSummary) -> None:
    found = cells(trainings.folds_table(summary.looks.folds))
    assert found[0] == ["fold 1", "80", "0.900", "0.930", "encoder"]
    assert found[2] == ["fold 3", "80", "unknown", "0.920", "llm"]
    assert "The model that is kept is new." in render_page(summary, draw_figures(summary))


@pytest.mark.parametrize(("quotable", "shown"), [(False, "no"), (True, "yes")])
def test_a_judge_is_shown_with_what_it_is_worth(summary: RunSummary, planted: Any, quotable: bool, shown: str) -> None:
    made = replace(summary, looks=Looks(judge=planted.judge(quotable=quotable)))
    (found,) = cells(trainings.judge_table(made.looks.judge))
    assert found == ["tuned against few_shot", "0.620", "0.550", "+0.210", "0.700", "0.400", "100", shown]
    page = render_page(made, draw_figures(made))
    assert "It prefers the first answer." in page and "plays no part in the verdict" in page
    assert ("its kappa with people is below 0.6" in page) != quotable


def test_reasons_are_those_of_the_finding() -> None:
    from metier.evaluation.closer.neighbours import REASONS

    assert dict(closer.REASONS) == dict(REASONS)


def test_intervals_after_several_openings_stand_in_the_table_of_differences(summary: RunSummary) -> None:
    plain = differences_table(summary, summary.comparison.differences)
    assert "At 97.5 %" not in [column.title for column in plain.columns]
    rows = tuple(replace(row, after_openings=row.difference) for row in summary.comparison.differences)
    shared = differences_table(replace(summary, comparison=replace(summary.comparison, differences=rows)), rows)
    assert [column.title for column in shared.columns][2] == "At 97.5 %"
    assert shared.rows[0].cells[2].text == "+0.799 to +0.860"
    assert "opened twice" in shared.caption


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (0.0, "0 %"), (1.0, "100 %"), (0.8, "80 %"), (0.992, "99.2 %"), (0.9987, "99.87 %"),
     (0.99999, "> 99.99 %"), (0.00001, "< 0.01 %"), (0.004, "0.4 %")],
)  # fmt: skip
def test_shares_are_never_rounded_to_all_or_nothing(value: float | None, text: str) -> None:
    assert percent(value) == text


class _Outline(HTMLParser):
    """Open tags, ids and headings of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.faults: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append(int(tag[1]))
        if tag not in {"meta", "link", "br", "hr", "img", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_the_whole_page_is_sound(summary: RunSummary) -> None:
    page = render_page(summary, draw_figures(summary))
    read = _Outline(page)
    assert (read.open, read.faults) == ([], [])
    assert len(read.ids) == len(set(read.ids))
    assert all(after <= before + 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert page.count("<table") == page.count("<caption>")
    sections = [anchor for anchor in shown_sections(summary) if f'<section id="{anchor}"' in page]
    assert set(SECTIONS) < set(sections) and len(sections) == len(shown_sections(summary))
    assert "src=" not in page and "@import" not in page
    assert page == render_page(summary, draw_figures(summary))


def test_what_was_looked_at_is_no_longer_called_unmeasured(summary: RunSummary) -> None:
    def unmeasured(made: RunSummary) -> bool:
        return any("calibration" in line for line in not_measured(made))

    assert not unmeasured(summary) and unmeasured(replace(summary, looks=Looks()))
    assert any("5 trainings speak of the recipe" in line for line in limitations(summary))
