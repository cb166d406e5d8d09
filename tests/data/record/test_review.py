"""Doubtful rows go out to a person, decisions come back: all of them or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pytest

from metier.data.cleaning.rows import Doubt, Finding
from metier.data.prepare import load_prepared
from metier.data.record.decisions import load_decisions
from metier.data.record.findings import RowPlace, content_hash, read_doubts, write_findings
from metier.data.record.honour import Honoured
from metier.data.record.review import Applied, apply_review, export_review
from metier.data.record.sheet import COLUMNS, read_sheet, write_sheet
from metier.data.sources import read_table
from metier.errors import ArgumentError, DataError
from metier.store.fingerprint import file_sha256
from metier.store.run_folder import RunFolder

SECRET = "Zebra Quartz called about invoice 43"
WHEN = "2026-11-22T09:00:00+00:00"


@pytest.fixture(params=[".csv", ".xlsx"])
def sheet(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"review{request.param}"


def cells_of(sheet: Path) -> list[dict[str, str]]:
    return [dict(row.cells) for row in read_sheet(sheet)]


def fill(sheet: Path, changes: Mapping[int, Mapping[str, str]]) -> None:
    """Fill in lines of a sheet by the row of the spreadsheet, as a person would."""
    rows = cells_of(sheet)
    for number, cells in changes.items():
        rows[number - 2].update(cells)
    write_sheet(rows, sheet)


def line_of(sheet: Path, reason: str, row: int | None = None, split: str | None = None) -> int:
    """The spreadsheet's row of a doubt."""
    for number, cells in enumerate(cells_of(sheet), start=2):
        here = cells["suspected"] == reason and row in (None, int(cells["row"])) and split in (None, cells["split"])
        if here:
            return number
    raise AssertionError(f"no {reason} of row {row}")


def apply(run: RunFolder, sheet: Path, out: Path, **more: Any) -> Applied:
    return apply_review(run.data, sheet, out, by="ann", at=WHEN, **more)


def test_a_sheet_has_one_line_a_doubt(doubted_run: RunFolder, sheet: Path) -> None:
    done = export_review(doubted_run.data, sheet)
    assert (done.doubts, done.rows, done.without_text, done.cut) == (5, 4, 0, 0)
    cells = cells_of(sheet)
    assert tuple(cells[0]) == COLUMNS
    secret = cells[line_of(sheet, "wrong label", 1) - 2]
    assert secret["text"] == SECRET
    assert (secret["file"], secret["answer"], secret["why"]) == ("tickets.csv", "order", "reads like another label")
    assert (secret["suggestion"], secret["sure"], secret["decision"]) == ("refund", "0.910", "")
    assert cells[line_of(sheet, "wrong label", 2) - 2]["text"].startswith("=HYPERLINK(1)")
    near = cells[line_of(sheet, "near duplicate") - 2]
    assert near["see also"].startswith("tickets.csv row ")


def test_only_some_reasons(doubted_run: RunFolder, sheet: Path) -> None:
    assert export_review(doubted_run.data, sheet, reasons=["near duplicate"]).doubts == 2
    assert export_review(doubted_run.data, sheet.with_stem("step"), reasons=["wrong_labels"]).doubts == 3
    with pytest.raises(ArgumentError, match=r"--only: `nonsense` was not suspected of any row, wanted one of near dup"):
        export_review(doubted_run.data, sheet.with_stem("other"), reasons=["nonsense"])


def test_texts_can_stay_at_home(doubted_run: RunFolder, sheet: Path, tmp_path: Path) -> None:
    done = export_review(doubted_run.data, sheet, texts=False)
    assert done.without_text == 5
    cells = cells_of(sheet)[line_of(sheet, "wrong label", 1) - 2]
    assert cells["text"] == f"row 1 (hash {content_hash(SECRET, 'order')})"
    assert cells["answer"] == ""
    assert SECRET not in json.dumps(cells_of(sheet))
    fill(sheet, {line_of(sheet, "wrong label", 1): {"decision": "relabel"}})
    assert apply(doubted_run, sheet, tmp_path / "d.jsonl").decisions == {"relabel": 1}


def test_a_sheet_is_not_written_over(doubted_run: RunFolder, sheet: Path) -> None:
    export_review(doubted_run.data, sheet)
    with pytest.raises(ArgumentError, match=r"is there already, wanted a new file\. It may hold decisions"):
        export_review(doubted_run.data, sheet)


def test_a_run_without_doubts_has_nothing_to_review(
    make_run: Callable[..., RunFolder], sheet: Path, unlooked: dict[str, Any]
) -> None:
    run = make_run("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)), data=unlooked)
    with pytest.raises(DataError, match=r"holds no doubts: there is nothing to review"):
        export_review(run.data, sheet)


def test_decisions_come_back_and_are_honoured(doubted_run: RunFolder, sheet: Path, tmp_path: Path) -> None:
    export_review(doubted_run.data, sheet)
    fill(sheet, {
        line_of(sheet, "wrong label", 1): {"decision": " Relabel ", "note": "clear"},
        line_of(sheet, "wrong label", 2): {"decision": "edit", "new value": "=a  better\u00a0text "},
        line_of(sheet, "near duplicate", split="train"): {"decision": "drop"},
        line_of(sheet, "wrong label", split="test"): {"decision": "keep"},
    })  # fmt: skip
    out = tmp_path / "decisions.jsonl"
    done = apply(doubted_run, sheet, out)
    assert done.decisions == {"keep": 1, "drop": 1, "relabel": 1, "edit": 1}
    assert (done.undecided, done.already) == (1, 0)
    decisions = load_decisions(out)
    assert {(one.by, one.at, one.sheet_sha256) for one in decisions.lines} == {("ann", WHEN, file_sha256(sheet))}
    first = next(one for one in decisions.lines if one.row == 1)
    assert (first.decision, first.value, first.note) == ("relabel", "refund", "clear")
    assert first.reasons == ("wrong_labels, version 2: wrong label",)
    honoured = Honoured(decisions)
    prepared = load_prepared(doubted_run.data)
    settled = {
        record.row: honoured.settle(record)[1]
        for split in (prepared.train, prepared.validation, prepared.test)
        for record in split.records()
    }
    assert (settled[1].text, settled[1].answer) == (SECRET, "refund")
    assert settled[2].text == "=a better text"
    assert sum(row.dropped for row in settled.values()) == 1
    assert honoured.notices() == ["decisions.jsonl: 4 decisions applied (1 keep, 1 drop, 1 relabel, 1 edit)"]


def test_applying_again_changes_nothing_and_a_new_sheet_adds(
    doubted_run: RunFolder, sheet: Path, tmp_path: Path
) -> None:
    export_review(doubted_run.data, sheet)
    line, out = line_of(sheet, "wrong label", 1), tmp_path / "decisions.jsonl"
    fill(sheet, {line: {"decision": "drop"}})
    apply(doubted_run, sheet, out)
    before = out.read_bytes()
    again = apply_review(doubted_run.data, sheet, out, by="ben", at="2027-01-01T00:00:00+00:00")
    assert (again.decisions, again.already) == ({}, 1)
    assert out.read_bytes() == before
    fill(sheet, {line: {"decision": "keep"}})
    apply(doubted_run, sheet, out)
    decisions = load_decisions(out)
    assert [one.decision for one in decisions.lines] == ["drop", "keep"]
    assert [one.decision for one in decisions.latest.values()] == ["keep"]


FAULTS = {
    "unknown decision": ({"decision": "dorp"}, r"has an unknown decision \(is drop meant\?\); there are keep, drop"),
    "no decision": ({"new value": "refund"}, r"has a new value and no decision"),
    "unknown id": ({"id": "0123456789abcdef", "decision": "keep"}, r"has an id that this run does not have"),
    "no id": ({"id": "", "decision": "keep"}, r"has no id"),
    "another row": ({"row": "7", "decision": "keep"}, r"has another row than its id: its id belongs to another row"),
    "another file": ({"file": "x.csv", "decision": "keep"}, r"has another file than its id: its id belongs to"),
    "edited text": ({"text": "my own words", "decision": "keep"},
                    r"has another text than it had: write it into `new value`, with decision edit"),
    "edited answer": ({"answer": "refund", "decision": "keep"},
                      r"has another answer than it had: write it into `new value`, with decision relabel"),
    "unknown label": ({"decision": "relabel", "new value": "refunds"},
                      r"has a new value that is no label of this data \(is `refund` meant\?\)"),
    "same label": ({"decision": "relabel", "new value": "order"}, r"has the answer that it would get: keep is meant"),
    "useless value": ({"decision": "drop", "new value": "x"}, r"has a new value, which drop does not use"),
    "no new text": ({"decision": "edit"}, r"has no new value: the new text"),
    "same text": ({"decision": "edit", "new value": SECRET}, r"has the text that it would get: keep is meant"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_by_its_row_and_nothing_is_applied(doubted_run: RunFolder, tmp_path: Path, case: str) -> None:
    sheet, out = tmp_path / "review.csv", tmp_path / "decisions.jsonl"
    export_review(doubted_run.data, sheet)
    cells, message = FAULTS[case]
    line = line_of(sheet, "wrong label", 1)
    fill(sheet, {line: cells, line_of(sheet, "wrong label", 2): {"decision": "keep"}})
    with pytest.raises(DataError, match=rf"review\.csv: 1 line cannot be taken over: row {line} {message}") as caught:
        apply(doubted_run, sheet, out)
    assert "Zebra" not in str(caught.value)
    assert "nothing was written" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("decision", ["drop", "edit"])
def test_the_test_set_stays_as_it_is(doubted_run: RunFolder, tmp_path: Path, decision: str) -> None:
    sheet = tmp_path / "review.csv"
    export_review(doubted_run.data, sheet)
    fill(sheet, {line_of(sheet, "near duplicate", split="test"): {"decision": decision, "new value": ""}})
    with pytest.raises(DataError, match=rf"is of the test set, which stays as it is: keep or relabel, not {decision}"):
        apply(doubted_run, sheet, tmp_path / "d.jsonl")


def test_all_faults_are_named_together(doubted_run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    export_review(doubted_run.data, sheet)
    fill(sheet, {number: {"decision": "?"} for number in range(2, 7)})
    with pytest.raises(
        DataError, match=r"5 lines cannot be taken over: row 2 .*; row 3 .*; row 4 .*; row 5 .*; row 6 "
    ):
        apply(doubted_run, sheet, tmp_path / "d.jsonl")


def test_lines_of_settled_doubts_do_no_harm(doubted_run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    export_review(doubted_run.data, sheet)
    rows = cells_of(sheet)
    write_sheet([{**rows[0], "id": "0123456789abcdef"}, {**rows[1], "decision": "keep"}], sheet)
    done = apply(doubted_run, sheet, tmp_path / "d.jsonl")
    assert (done.decisions, done.undecided) == ({"keep": 1}, 1)


def test_a_text_that_was_edited_in_place_is_not_lost_in_silence(doubted_run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    export_review(doubted_run.data, sheet)
    fill(sheet, {3: {"text": "what I would rather have"}})
    with pytest.raises(DataError, match=r"row 3 has another text than it had: write it into `new value`"):
        apply(doubted_run, sheet, tmp_path / "d.jsonl")


def test_a_sheet_has_room_for_so_many_lines(
    doubted_run: RunFolder, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.data.record.review.MOST_LINES", 4)
    with pytest.raises(ArgumentError, match=r"--only: 5 doubts are more than a sheet holds, wanted at most 4\. Choose"):
        export_review(doubted_run.data, sheet)
    assert export_review(doubted_run.data, sheet, reasons=["wrong label"]).doubts == 3


def test_one_line_twice_and_two_opinions(doubted_run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    export_review(doubted_run.data, sheet)
    rows = cells_of(sheet)
    write_sheet([*rows, rows[0]], sheet)
    with pytest.raises(DataError, match=r"row 7 has the id of row 2"):
        apply(doubted_run, sheet, tmp_path / "d.jsonl")
    write_sheet(rows, sheet)
    one, two = line_of(sheet, "near duplicate", split="test"), line_of(sheet, "wrong label", split="test")
    fill(sheet, {one: {"decision": "keep"}, two: {"decision": "relabel", "new value": "order"}})
    label = cells_of(sheet)[two - 2]["answer"]
    fill(sheet, {two: {"new value": {"order": "refund", "refund": "order"}[label]}})
    with pytest.raises(DataError, match=rf"row {two} decides otherwise than row {one}, which is about the same row of"):
        apply(doubted_run, sheet, tmp_path / "d.jsonl")
    fill(sheet, {two: {"decision": "keep", "new value": ""}})
    assert apply(doubted_run, sheet, tmp_path / "d.jsonl").decisions == {"keep": 1}
    (only,) = load_decisions(tmp_path / "d.jsonl").lines
    assert len(only.reasons) == 2


def test_a_workbook_sorted_by_a_person_is_taken(doubted_run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.xlsx"
    export_review(doubted_run.data, sheet)
    book = openpyxl.load_workbook(sheet)
    page = book["review"]
    rows = [[cell.value for cell in row] for row in page.iter_rows(min_row=2)]
    page.delete_rows(2, len(rows))
    for row in reversed(rows):
        row[COLUMNS.index("row")] = int(row[COLUMNS.index("row")])  # what a spreadsheet makes of digits
        row[COLUMNS.index("decision")] = "keep"
        page.append(row)
    book.save(sheet)
    assert apply(doubted_run, sheet, tmp_path / "d.jsonl").decisions == {"keep": 4}


def test_a_rejected_row_is_shown_and_may_be_kept(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    rows = [f"text {n},{'ab'[n % 2]}" for n in range(30)]
    run = make_run("text,label\n" + "\n".join([*rows, "text 3,b", "text  4,1.0"]) + "\n",
                   data={"label_names": {"1": "a"}})  # fmt: skip
    rejected = [json.loads(line) for line in (run.data / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    row = next(one for one in rejected if one["reason"] == "duplicate")
    assert row["row"] in (31, 32)
    texts = {31: ("text 3", "b"), 32: ("text 4", "a")}
    text, answer = texts[row["row"]]
    prepared = load_prepared(run.data)
    records = [one for split in (prepared.train, prepared.validation, prepared.test) for one in split.records()]
    key = next(one.id for one in records if one.text == text).partition("-")[0]
    place = RowPlace(source="tickets.csv", row=row["row"], split="train", id=f"{key}-1",
                     content=content_hash(text, answer))  # fmt: skip
    doubt = Doubt(key=0, step="dup", reason="duplicate", detail="the same text")
    write_findings(run.data, [Finding(step="dup", version=1, looked_at=32, doubts=(doubt,))], {0: place})
    sheet = tmp_path / "r.csv"
    export_review(run.data, sheet, label_names={"1": "a"})
    (line,) = read_table(sheet).rows
    assert (line["text"], line["answer"], line["split"]) == (text, answer, "rejected from train")
    fill(sheet, {2: {"decision": "keep"}})
    assert apply(run, sheet, tmp_path / "d.jsonl", label_names={"1": "a"}).decisions == {"keep": 1}


def test_conversations_can_be_answered_anew_but_not_edited(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    talk = "".join(json.dumps({"question": f"how is {n}?", "answer": f"it is {n}"}) + "\n" for n in range(30))
    run = make_run(talk, file="talk.jsonl", task="generation", data={"text": "question", "answer": "answer"})
    record = next(load_prepared(run.data).train.records())
    place = RowPlace(source=record.source, row=record.row, split="train", id=record.id,
                     content=content_hash(record.text, record.gold))  # fmt: skip
    doubt = Doubt(key=0, step="s", reason="loss", detail="hard to learn")
    write_findings(run.data, [Finding(step="s", version=1, looked_at=30, doubts=(doubt,))], {0: place})
    sheet = tmp_path / "r.csv"
    export_review(run.data, sheet)
    fill(sheet, {2: {"decision": "edit", "new value": "another question"}})
    with pytest.raises(DataError, match=r"is a conversation, which a cell cannot replace: change it in its file"):
        apply(run, sheet, tmp_path / "d.jsonl")
    fill(sheet, {2: {"decision": "relabel", "new value": ""}})
    with pytest.raises(DataError, match=r"has no new value: the right answer"):
        apply(run, sheet, tmp_path / "d.jsonl")
    fill(sheet, {2: {"decision": "relabel", "new value": "it is fine"}})
    apply(run, sheet, tmp_path / "d.jsonl")
    (decision,) = load_decisions(tmp_path / "d.jsonl").lines
    assert decision.value == "it is fine"


def test_a_text_longer_than_a_cell_is_not_edited(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    rows = "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(30))
    run = make_run(f"text,label\n{'long ' * 8_000},a\n{rows}")
    prepared = load_prepared(run.data)
    record = next(one for split in (prepared.train, prepared.validation, prepared.test) for one in split.records()
                  if one.row == 1)  # fmt: skip
    place = RowPlace(source=record.source, row=1, split="train", id=record.id,
                     content=content_hash(record.text, record.gold))  # fmt: skip
    doubt = Doubt(key=0, step="s", reason="too long", detail="long")
    write_findings(run.data, [Finding(step="s", version=1, looked_at=31, doubts=(doubt,))], {0: place})
    sheet = tmp_path / "r.xlsx"
    assert export_review(run.data, sheet).cut == 1
    fill(sheet, {2: {"decision": "edit", "new value": "short"}})
    assert record not in list(prepared.test.records())
    with pytest.raises(DataError, match=r"has a text that is longer than a cell: change it in its file"):
        apply(run, sheet, tmp_path / "d.jsonl")
    fill(sheet, {2: {"decision": "drop", "new value": ""}})
    assert apply(run, sheet, tmp_path / "d.jsonl").decisions == {"drop": 1}


def test_every_id_of_the_sheet_is_one_of_the_run(doubted_run: RunFolder, sheet: Path) -> None:
    export_review(doubted_run.data, sheet)
    assert [cells["id"] for cells in cells_of(sheet)] == [doubt.id for doubt in read_doubts(doubted_run.data)]
