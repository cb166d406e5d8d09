"""The page of the data is whole, safe and says what the record says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from metier.data.card import DataCard, SourceFile, SplitCard, StageHash
from metier.data.record.licences import Licences, SourceLicence
from metier.data.record.summary import DataRecord, RowGroup, RowLine, StepRecord, ToDecide
from metier.report.data_page import LONGEST_TEXT, render_data_page, write_data_report

EVIL = '<script>alert("x")</script> & `a`'
VOID = {"meta", "link"}


@pytest.fixture
def record() -> DataRecord:
    """A record with everything in it; every number is planted."""
    source = SourceFile(
        name="tickets.csv", path="/data/tickets.csv", sha256="ab" * 32, format="csv", encoding="utf-8", delimiter=",",
        rows=1234, columns=("text", "label"),
    )  # fmt: skip
    other = replace(source, name=f"{EVIL}.csv", rows=6)
    split = SplitCard(
        name="train", rows=1000, groups=990, label_counts={"a": 500, EVIL: 500}, fingerprint="cd" * 32, official=False,
        flags={"duplicate": 7},
    )  # fmt: skip
    card = DataCard(
        sources=(source, other), text_columns=("text",), template=None, label_column="label", group_column=None,
        found_by_itself=(), labels=("a", EVIL),
        splits={"train": split, "test": replace(split, name="test", rows=200, official=True)},
        rejected={"empty text": 34}, notices=(f"column `{EVIL}` looks odd",), changed={"white space": 21},
        fingerprint="ef" * 32,
    )  # fmt: skip
    step = StepRecord(
        step="near_duplicates", version=3, looked_at=1240, doubts=60, counts={"near duplicate": 60, "clusters": 0},
        tables={
            "pairs_by_split": [
                {"split": "train", "rows": 40, "share": 0.5, "median": 195.04}, {"split": EVIL, "rows": None},
            ],
        },
        notes=(f"not looked at: {EVIL}",), done={"dropped from train": 12, "flagged": 48},
    )  # fmt: skip
    rows = tuple(
        RowLine(source="tickets.csv", row=number, split="train", detail=EVIL, others="tickets.csv row 9",
                suggestion="drop", score=0.91, text=EVIL * 30)
        for number in range(1, 4)
    )  # fmt: skip
    gone = RowLine(source="tickets.csv", row=77, split=None, detail="the text columns are empty")
    return DataRecord(
        name=EVIL, run="run-1", card=card, steps=(step,),
        stages=(StageHash(name="read", rows=1240, sha256="12" * 32),),
        licences=Licences(sources=(SourceLicence(source="tickets.csv", licence="CC-BY-NC-4.0"),
                                   SourceLicence(source=f"{EVIL}.csv", licence=None))),
        groups=(
            RowGroup(what="doubted", reason="near duplicate", step="near_duplicates, version 3", count=60, rows=rows),
            RowGroup(what="rejected", reason="empty text", step="", count=1, rows=(gone,)),
        ),
        to_decide=(ToDecide(what="Near copies.", rows=60, how=f"metier {EVIL}", reasons={"near_duplicate": 60}),),
        texts=True, decided=2,
    )  # fmt: skip


class Reader(HTMLParser):
    """Reads a page strictly: every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.faults: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("id"):
            self.ids.append(str(dict(attrs)["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> does not close the last open tag")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text as a reader sees it."""
        return " ".join("".join(self.words).split())


def test_structure_is_whole(record: DataRecord) -> None:
    page = render_data_page(record)
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert (read.faults, read.open) == ([], [])
    assert len(read.ids) == len(set(read.ids))
    links = [str(found["href"]) for tag, found in read.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") and link[1:] in read.ids for link in links)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("h1") == 1
    assert tags.count("table") == tags.count("caption") == 9
    assert all(found.get("scope") in ("row", "col") for tag, found in read.tags if tag == "th")


def test_what_comes_from_outside_is_text(record: DataRecord) -> None:
    read = Reader(render_data_page(record))
    assert "script" not in [tag for tag, _ in read.tags]
    assert 'alert("x")' in read.text


def test_nothing_is_loaded_from_anywhere(record: DataRecord) -> None:
    page = render_data_page(record)
    assert not re.search(r"https?://|@import|src=|url\(", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_the_numbers_are_those_of_the_record(record: DataRecord) -> None:
    text = Reader(render_data_page(record)).text
    for words in (
        "Rows read1,240 from 2 files", "12 dropped from train, 48 flagged", "The first 3 of 60 rows: near duplicate.",
        "tickets.csv, row 1 see also tickets.csv row 9", "sure: 0.910", "All rows: empty text.", "tickets.csv, row 77",
        "CC-BY-NC-4.0 forbids commercial use", "licence unknown:", "7 duplicate", "own file", "pairs by split",
        "2 decisions of a person so far", "Near copies. 60 near duplicate 60 metier", "0.500", "195.0",
    ):  # fmt: skip
        assert words in text, words
    assert "0 clusters" not in text


def test_a_long_text_is_cut_and_a_hidden_one_is_not_there(record: DataRecord) -> None:
    plain = replace(record, groups=(replace(record.groups[0], rows=(RowLine(
        source="a", row=1, split="train", text="Zebra" + "x" * 2 * LONGEST_TEXT),)),))  # fmt: skip
    page = render_data_page(plain)
    assert "Zebra" in page
    assert "x" * (LONGEST_TEXT + 1) not in page
    hidden = render_data_page(replace(plain, texts=False))
    assert "Zebra" not in hidden
    assert "No text of a row is shown." in hidden


def test_a_record_with_nothing_in_it_says_so(record: DataRecord) -> None:
    card = replace(record.card, rejected={}, changed={}, notices=())
    empty = replace(record, card=card, steps=(), stages=(), groups=(), to_decide=())
    text = Reader(render_data_page(empty)).text
    for words in ("Nothing waits for a person.", "No cleaning step looked at these rows",
                  "No row was rejected, no record was repaired.", "Nothing was found in any row"):  # fmt: skip
        assert words in text, words


def test_page_and_json_are_written(record: DataRecord, tmp_path: Path) -> None:
    page, values = write_data_report(record, tmp_path / "report")
    assert page == tmp_path / "report" / "data.html"
    plain = json.loads(values.read_text(encoding="utf-8"))
    assert plain["format"] == "metier.data_report"
    assert plain["groups"][0]["count"] == 60
    assert plain["card"]["rejected"] == {"empty text": 34}
    assert Reader(page.read_text(encoding="utf-8")).faults == []


def test_the_same_record_gives_the_same_bytes(record: DataRecord) -> None:
    assert render_data_page(record) == render_data_page(record)
