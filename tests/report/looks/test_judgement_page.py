"""The page of a comparison of named systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.errors import RunFolderError
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_evaluation
from metier.evaluation.looks import write_look
from metier.evaluation.results import Difference, Estimate, Item
from metier.evaluation.standings import Judgement, Standing
from metier.report.judgement_page import claims_table, gather_judgement, is_judgement, standings_table, write_judgement
from metier.store.run_folder import RunFolder, claim_run_folder, finish_run

EVIL = "<i>rules & co</i>"
LABELS = ("a", "b")


def estimate(value: float, spread: float = 0.05) -> Estimate:
    """With a symmetric interval."""
    return Estimate(value=value, low=value - spread, high=value + spread, n=40, method="planted")


def standing(system: str, value: float, word: str, gain: float | None = None, **changes: Any) -> Standing:
    """One row."""
    claim = None
    if gain is not None:
        claim = Difference(
            baseline="ours", metric="accuracy", candidate_value=value, baseline_value=value - gain,
            difference=estimate(gain), p_value=0.01, p_holm=0.02, gained=3, lost=1, smallest_detectable=0.1,
            verdict="improved", items_needed=900, after_openings=estimate(gain, 0.08),
        )  # fmt: skip
    values: dict[str, Any] = {
        "system": system, "kind": EVIL, "value": estimate(value), "difference": claim, "standing": word,
        "seconds": None, "price": None, "unanswered": 0,
    }  # fmt: skip
    return Standing(**{**values, **changes})


@pytest.fixture
def judgement() -> Judgement:
    """Ours, one that is better and paid for, one that is worse."""
    rows = (
        standing("ours", 0.8, "reference", seconds=estimate(0.5, 0.1)),
        standing("hosted", 0.9, "better", 0.1, price=estimate(0.0021, 0.0), currency="USD", unanswered=2),
        standing("rules", 0.6, "worse", -0.2),
    )
    return Judgement(
        reference="ours", metric="accuracy", n=40, margin=0.05, standings=rows, smallest_useful_gain=0.02, openings=2,
        resamples=200, seed=1, sentence="Better than ours: hosted.",
    )  # fmt: skip


@pytest.fixture
def make_folder(tmp_path: Path, judgement: Judgement) -> Callable[..., RunFolder]:
    """A folder as `metier compare RECIPE` leaves it."""

    def make(*looks: object, set_name: str = "test") -> RunFolder:
        folder = RunFolder(tmp_path / "compared")
        claim_run_folder(folder.path, recipe_hash="0" * 64, recipe_text="version: 1\n", resume=False)
        place = folder.results(set_name).parent
        items = tuple(
            Item(id=f"{n}-0", group=None, gold=LABELS[n % 2], answer="a", label_logprobs=None, prompt_hash=None,
                 source="t.csv", row=n)
            for n in range(40)
        )  # fmt: skip
        for row in reversed(judgement.standings):
            about = About(system=row.system, kind=row.kind)
            evaluation = evaluate_items(items, about=about, set_name=set_name, labels=LABELS, resamples=200, seed=1)
            write_evaluation(evaluation, place)
        for look in looks:
            write_look(look, place)
        finish_run(folder, 0)
        return folder

    return make


def test_the_page_stands_alone_and_says_how_they_stand(
    make_folder: Callable[..., RunFolder], judgement: Judgement, planted: Any
) -> None:
    folder = make_folder(judgement, planted.judge())
    assert is_judgement(folder)
    page = write_judgement(folder).read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.figures.iterdir()) == ["standings.svg", "systems.svg"]
    assert "Better than ours: hosted." in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert EVIL not in page and "&lt;i&gt;rules &amp; co&lt;/i&gt;" in page
    assert "The test set was opened twice, this comparison included." in page
    assert '<section id="judge">' in page and "It prefers the first answer." in page
    assert page.count("<table") == page.count("<caption>") == 4


def test_every_row_has_its_numbers(judgement: Judgement) -> None:
    ours, hosted, rules = ([cell.text for cell in row.cells] for row in standings_table(judgement).rows)
    assert ours == ["ours", "0.800", "–", "reference", "0.500", "unknown", "0"]
    assert hosted == ["hosted", "0.900", "+0.100", "better", "unknown", "2.10 USD", "2"]
    assert rules[2:4] == ["−0.200", "worse"]
    free = tuple(replace(row, price=None) for row in judgement.standings)
    titles = [column.title for column in standings_table(replace(judgement, standings=free)).columns]
    assert "Price of 1,000" not in titles


def test_claims_are_shown_after_several_openings_too(judgement: Judgement) -> None:
    table = claims_table(judgement)
    assert table is not None
    assert [column.title for column in table.columns][3] == "At 97.5 %"
    assert [cell.text for cell in table.rows[0].cells] == [
        "hosted", "0.010", "0.020", "+0.020 to +0.180", "3", "1", "0.100", "900",
    ]  # fmt: skip
    alone = replace(judgement, standings=judgement.standings[:1])
    assert claims_table(alone) is None
    once = claims_table(replace(judgement, openings=1))
    assert once is not None and len(once.columns) == 7


def test_on_validation_nothing_was_opened(make_folder: Callable[..., RunFolder], judgement: Judgement) -> None:
    folder = make_folder(replace(judgement, set="validation", openings=None), set_name="validation")
    page = write_judgement(folder).read_text(encoding="utf-8")
    assert "the test set stayed closed, and no opening was counted" in page
    assert "40 validation records" in page


def test_systems_stand_in_the_order_of_the_judgement(
    make_folder: Callable[..., RunFolder], judgement: Judgement
) -> None:
    assert [each.system for each in gather_judgement(make_folder(judgement)).systems] == ["ours", "hosted", "rules"]


def test_another_folder_is_refused(make_folder: Callable[..., RunFolder]) -> None:
    folder = make_folder()
    assert not is_judgement(folder)
    with pytest.raises(RunFolderError, match="holds no comparison of named systems, wanted the folder of"):
        gather_judgement(folder)


def test_metier_report_writes_it_again(
    make_folder: Callable[..., RunFolder], judgement: Judgement, capsys: pytest.CaptureFixture[str]
) -> None:
    from metier.cli.report import report

    folder = make_folder(judgement)
    assert report(folder.path) == 0
    assert capsys.readouterr().out == f"Report: {folder.report_page}\n"
