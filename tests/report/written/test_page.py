"""The page of written answers: whole, safe, honest, and nothing of it where texts are not wanted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from metier.data.records import Conversation, Message
from metier.report import answers
from metier.report.answers import folded
from metier.report.figures import draw_figures
from metier.report.gather import gather_summary
from metier.report.kinds import KINDS
from metier.report.page import render_page
from metier.report.summary import RunSummary
from metier.report.tables import differences_table, systems_table
from metier.report.written import fields_table, length_table, loss_table
from metier.store.run_folder import RunFolder

VOID = {"meta", "link", "br"}
LOOKS = {"trust", "slices", "robustness", "errors", "seeds", "folds", "judge"}
"""Sections of the closer looks, which nobody took here."""


class Reader(HTMLParser):
    """Reads a page strictly: every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.faults: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> does not close the last open tag")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def sections(self) -> list[str | None]:
        """Ids of the sections."""
        return [attrs["id"] for tag, attrs in self.tags if tag == "section"]

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join("".join(self.words).split())


def page_of(summary: RunSummary) -> str:
    """The page of a run."""
    return render_page(summary, draw_figures(summary))


def test_written_answers_have_a_whole_page(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    page = page_of(found)
    read = Reader(page)
    assert (read.faults, read.open) == ([], [])
    assert read.sections == [anchor for anchor in KINDS["generation"].sections if anchor not in {"fields", *LOOKS}]
    assert {"labels", "confusion", "examples"}.isdisjoint(read.sections)
    assert found.comparison.sentence in read.text
    assert "<script>" not in page
    assert "Labels in each split" not in page
    assert not {"script", "img", "iframe"} & {tag for tag, _ in read.tags}


def test_answers_stand_side_by_side_as_they_were_written(make_summary: Callable[..., RunSummary]) -> None:
    page = page_of(make_summary())
    assert "Hello,\n\nparcel 13 is on the way and comes on day 7.\n\nYours, the clerk</div>" in page
    assert "def answer():\n    if True:\n        return 42" in page
    text = Reader(page).text
    assert "The first 10 of 20 test records in the order of their ids, which are hashes of the question" in text
    assert (
        "the 3 best and the 3 worst of tuned against nearest_answer, the best baseline, by chrF of one answer" in text
    )
    assert len(re.findall("among the best: ", text)) == len(re.findall("among the worst: ", text)) == 3
    assert "unfinished: it ran into the limit of tokens" in text
    assert "cannot be asked: it is too long" in text
    assert "no answer" in text


def test_what_stood_around_every_question_is_shown_once(make_summary: Callable[..., RunSummary]) -> None:
    text = Reader(page_of(make_summary())).text
    assert text.count("You are a clerk.") == 1
    assert "Instruction of every question Answer the mail." in text


def test_metrics_are_named_and_lower_ones_labelled(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    titles = [column.title for column in systems_table(found).columns]
    assert titles == ["System", "chrF", "ROUGE-L", "BLEU", "Exact match", "Token F1"]
    assert "Unfinished answers (lower is better)" in [column.title for column in length_table(found).columns]
    text = Reader(page_of(found)).text
    assert "Loss (lower is better) on the test set." in text
    assert re.search(r"BLEU: BLEU\|nrefs:1\|", text) and re.search(r"chrF: chrF2\|nrefs:1\|", text)


def test_what_was_not_measured_says_why(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    loss = loss_table(found)
    assert loss is not None
    assert [row.cells[0].text for row in loss.rows] == ["zero_shot", "few_shot", "tuned"]
    assert "Without probabilities, so not measured: copy_input, nearest_answer." in loss.caption
    cells = {row.cells[0].text: row.cells for row in length_table(found).rows}
    assert (cells["tuned"][-2].text, cells["tuned"][-2].note) == ("1", "cannot be asked: it is too long (1)")
    assert "the system gives no probabilities of texts" in Reader(page_of(found)).text


def test_a_value_of_fewer_records_says_of_how_many(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    tuned = found.test[-1]
    fewer = {**tuned.metrics, "rougeL": replace(tuned.metrics["rougeL"], n=18)}
    row = systems_table(replace(found, test=(*found.test[:-1], replace(tuned, metrics=fewer)))).rows[-1]
    assert row.cells[2].note.endswith(", n = 18")
    assert "n =" not in row.cells[1].note


def test_json_answers_are_laid_out_by_field(json_run: RunSummary) -> None:
    table = fields_table(json_run)
    assert table is not None
    assert [row.cells[0].text for row in table.rows] == ["intent", "reply"]
    read = Reader(page_of(json_run))
    assert (read.faults, read.open) == ([], [])
    assert "fields" in read.sections
    assert "Answers that are JSON objects are laid out by field" in read.text
    assert "no valid JSON object" in read.text
    shown = next(e for e in json_run.written if json.loads(e.gold)["intent"] == "refund" and e.row % 5 != 1)
    record = answers.shown_record(shown, "field_f1", "tuned")
    assert record.own is not None
    assert [(field.name, field.same) for field in record.own.fields] == [("intent", True), ("reply", None)]
    assert [field.same for field in record.gold.fields] == [None, None]


def test_a_wrong_short_field_is_marked(json_run: RunSummary) -> None:
    wrong = [
        field.same
        for example in json_run.written
        if (example.row - 1) % 5 == 0
        for field in (answers.shown_record(example, "field_f1", "tuned").own or pytest.fail()).fields[:1]
    ]
    assert wrong
    assert not any(wrong)


@pytest.mark.parametrize("task", ["generation", "chat"])
def test_no_text_reaches_the_page_where_the_recipe_forbids_it(
    make_summary: Callable[..., RunSummary], task: str
) -> None:
    page = page_of(make_summary(task=task, recipe={"report": {"examples": False}}))
    assert "no question and no answer is shown" in page
    assert not re.search("parcel (?!-)\\d|clerk|assistant", page.replace("parcel-mails", ""))


def test_long_conversations_fold_their_beginning(make_summary: Callable[..., RunSummary]) -> None:
    turns = [Message(role=("user", "assistant")[n % 2], content=f"turn {n}") for n in range(9)]
    call = '{"tool_calls": [{"name": "look"}]}'
    turns[3] = Message(role="assistant", content="", more=call)
    records = [
        Conversation(id=f"0{n}aa-0", text="x", source="t.jsonl", row=n + 1, tools='[{"name": "look"}]',
                     messages=(*turns, Message(role="assistant", content=f"the end {n}")))
        for n in range(4)
    ]  # fmt: skip
    said = {"zero_shot": ["no"] * 4, "tuned": ["the end 0"] * 4}
    found = make_summary(records, said, task="chat")
    record = answers.shown_record(found.written[0], "chrf", "tuned")
    assert [name for name, _ in record.turns] == ["Earlier turns (4)", *["Asked", "Answered"] * 2, "Asked", "Tools"]
    assert '"look"' in record.turns[0][1].text
    assert Reader(page_of(found)).faults == []


@pytest.mark.parametrize(
    ("text", "head", "size"),
    [
        ("short", "", ""),
        ("word " * 200, "word", "1,000 characters"),
        ("x" * 13_000, "x", "the first 12,000 of 13,000 characters"),
    ],
    ids=["short", "folded", "cut"],
)
def test_long_texts_are_folded_and_what_is_cut_is_said(text: str, head: str, size: str) -> None:
    found = folded(text)
    assert found.size == size
    assert found.head.startswith(head) and bool(found.head) == bool(size)
    assert len(found.text) <= answers.LONGEST + 1


@pytest.mark.parametrize(
    ("text", "code"),
    [("a b", False), ("```\nx\n```", True), ("def f():\n    return", True), ('{"a": 1}', True), ("1. a\n2. b", False)],
)
def test_code_is_set_in_a_fixed_width(text: str, code: bool) -> None:
    assert folded(text).code == code


@pytest.mark.parametrize(
    ("golds", "code"),
    [
        (["find . -type f | xargs ls -l", "tar -xzf a.tar.gz", "Use ls."], True),
        (["Hello, the parcel (number 4) is on its way.", "Yes, it is on the way.", "ls -l /tmp"], False),
        (['{"a": [1, {"b": 2}]}'] * 3, False),
    ],
    ids=["commands", "prose", "objects"],
)
def test_commands_are_set_in_a_fixed_width_all_of_them(
    make_summary: Callable[..., RunSummary], golds: list[str], code: bool
) -> None:
    found = make_summary()
    some = tuple(replace(example, gold=gold) for example, gold in zip(found.written, golds, strict=False))
    shown = answers.readings(replace(found, written=some)).first
    assert [record.others[0].text.code for record in shown if record.others[0].text] == [code] * 3


def test_passages_have_documents_and_no_answers(make_reading: Callable[..., RunSummary]) -> None:
    found = make_reading(40)
    read = Reader(page_of(found))
    assert (read.faults, read.open) == ([], [])
    assert read.sections == [anchor for anchor in KINDS["text"].sections if anchor not in LOOKS]
    assert "Bits per byte (lower is better)" in read.text
    assert "Of all test documents 10 by the order of their hashes, the 3 best and the 3 worst" in read.text
    assert "Paragraph" not in read.text
    table = differences_table(found, found.comparison.differences)
    assert "Gained" not in [column.title for column in table.columns]
    assert table.caption.startswith("Bits per byte of each baseline minus that of tuned (positive is better)")


def test_figures_are_those_of_the_metrics(make_summary: Callable[..., RunSummary]) -> None:
    names = {drawing.name for drawing in draw_figures(make_summary()).every()}
    assert {"systems-chrf", "systems-rougeL", "systems-loss", "differences-chrf", "loss-001", "overfitting"} <= names
    assert "confusion" not in names


def test_gathering_is_quick(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    gather_summary(folder)
    start = time.process_time()
    gather_summary(folder)
    assert time.process_time() - start < 0.5


def test_control_characters_do_not_reach_the_page(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    broken = replace(found.written[0], gold="x\x00y\x08z\ud800")
    page = page_of(replace(found, written=(broken, *found.written[1:])))
    page.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", page)
