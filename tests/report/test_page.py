"""The page is whole, safe and honest."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from metier.report.figures import draw_figures
from metier.report.kinds import KINDS
from metier.report.page import render_page
from metier.report.summary import RunSummary

LOOKS = {"trust", "slices", "robustness", "errors", "seeds", "folds", "judge"}
"""Sections of the closer looks, which nobody took here; `looks/` has those."""
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Reads a page strictly: every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.faults: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if len(found) != len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> does not close the last open tag")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all `tag` elements."""
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        """All text as a reader sees it, white space folded."""
        return " ".join("".join(self.words).split())


def page_of(summary: RunSummary) -> str:
    """The page of a run."""
    return render_page(summary, draw_figures(summary))


@pytest.fixture
def page(summary: RunSummary) -> str:
    """The page of the run with everything in it."""
    return page_of(summary)


def test_structure_is_whole(page: str) -> None:
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert read.faults == []
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))


def test_headings_tables_and_figures_can_be_read_aloud(page: str) -> None:
    read = Reader(page)
    assert read.headings.count(1) == 1
    assert read.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert len(read.named("table")) == len(read.named("caption")) > 10
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in read.named("svg"))
    assert all(attrs.get("scope") in ("row", "col") for attrs in read.named("th"))
    assert read.named("html")[0]["lang"] == "en"


def test_sections_stand_in_order_and_links_lead_somewhere(page: str) -> None:
    read = Reader(page)
    sections = [attrs["id"] for attrs in read.named("section")]
    assert sections == [anchor for anchor in KINDS["classification"].sections if anchor not in LOOKS]
    links = [str(attrs["href"]) for attrs in read.named("a")]
    assert links
    assert all(link.startswith("#") and link[1:] in read.ids for link in links)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    read = Reader(page)
    assert not re.search(r"https?://|@import|src=|url\((?!#)", page)
    assert not {"script", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in read.tags}
    assert [attrs["href"] for attrs in read.named("link")] == ["data:,"]
    references = [attrs[key] for _, attrs in read.tags for key in ("href", "xlink:href") if attrs.get(key)]
    assert all(str(reference).startswith(("#", "data:,")) for reference in references)
    clips = re.findall(r"url\(#([^)]+)\)", page)
    assert set(clips) <= set(read.ids)


def test_texts_are_escaped_and_kept(page: str) -> None:
    read = Reader(page)
    assert "<script>alert" not in page
    assert '<script>alert("x")</script> & $5 | `a` *b*' in read.text
    assert "مرحبا، أريد إلغاء طلبي" in read.text
    assert "The <support> team" in read.text


@pytest.mark.parametrize("texts_present", [True, False], ids=["summary has texts", "summary has none"])
def test_examples_off_shows_ids_and_rows_only(make_summary: Callable[..., RunSummary], texts_present: bool) -> None:
    made = make_summary(recipe={"report": {"examples": False}})
    if not texts_present:
        made = replace(made, examples=tuple(replace(example, text=None) for example in made.examples))
    text = Reader(page_of(made)).text
    assert "My parcel" not in text
    assert "money back" not in text
    assert "00f3a9c07b5d" in text
    assert "tickets.csv row 100" in text
    assert "report.examples: false" in text


def test_unknown_is_a_word_with_its_reason(page: str) -> None:
    text = Reader(page).text
    assert "unknown no answer to 3 labels" in text
    assert "unknown a label was never answered" in text
    assert re.search(r"few_shot.{0,60}unknown", text)


def test_verdict_comes_first_with_sentence_openings_and_gates(page: str, summary: RunSummary) -> None:
    text = Reader(page).text
    verdict = text[text.index("Verdict ?") : text.index("What tuned has to beat")]
    assert summary.comparison.sentence in verdict
    assert "240" in verdict
    assert "The test set was opened twice, this run included." in verdict
    assert "1 of 2 gates failed: the command ended with exit code 3." in verdict


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"openings": 1}, "The test set was opened once, by this run."),
        ({"openings": None}, "How often this test set was opened was not recorded."),
        ({"gates": ()}, "The recipe declares no gates."),
        ({"differences": (), "accuracy_differences": ()}, "No baseline was measured"),
        ({"best_baseline": None}, "no baseline was measured"),
        ({"verdict": "improved"}, "▲ improved"),
        ({"candidate": "nobody"}, "Scores by label are unknown"),
    ],
    ids=["opened once", "openings unknown", "no gates", "no baselines", "no best", "improved", "no such candidate"],
)
def test_what_is_not_there_is_said(summary: RunSummary, changes: dict[str, object], expected: str) -> None:
    made = replace(summary, comparison=replace(summary.comparison, **changes))  # type: ignore[arg-type]
    read = Reader(page_of(made))
    assert expected in read.text
    assert read.faults == []


def test_a_bare_run_still_makes_a_page(summary: RunSummary) -> None:
    data = replace(summary.data, rejected={}, changed={}, notices=(), sources=())
    bare = replace(
        summary, overfitting=None, examples=(), attempts=(), stage_seconds={}, seconds=0.0, peak_memory_bytes=None,
        lock={}, data=data,
    )  # fmt: skip
    read = Reader(page_of(bare))
    assert read.faults == []
    for sentence in (
        "overfitting was not measured", "No row was rejected.", "No record was changed.", "Time in all: unknown",
        "No candidate is marked as promoted.", "None to show.",
    ):  # fmt: skip
        assert sentence in read.text


def test_many_labels_become_a_table_of_pairs(make_summary: Callable[..., RunSummary]) -> None:
    labels = tuple(f"label {number:02d}" for number in range(31))
    read = Reader(page_of(make_summary(labels=labels)))
    assert "There are too many labels for a map that can be read." in read.text
    assert "The 20 most frequent of 24 kinds of mistake" in read.text


def test_control_characters_do_not_reach_the_page(make_summary: Callable[..., RunSummary]) -> None:
    made = make_summary(labels=("a\x00b\x1b[31m", "c\ud800"))
    example = replace(made.examples[0], text="x\x00y\x08z")
    page = page_of(replace(made, examples=(example,)))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", page)
    page.encode("utf-8")


def test_page_has_one_file_name_for_each_reader(page: str) -> None:
    assert "data/rejected.jsonl" in page
    assert "metier verify" in page
    assert str(Path.home()) not in page
