"""Decisions of a person in the next run: the rows are what was decided, with lineage, and policy leaves them be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.prepare import load_prepared, prepare_data
from metier.data.record.decisions import Decision, load_decisions, write_decisions
from metier.data.record.findings import content_hash, read_doubts
from metier.data.record.read import read_data_record
from metier.data.record.review import apply_review, export_review
from metier.data.record.sheet import read_sheet, write_sheet
from metier.data.records import Record
from metier.recipe.sections import Recipe
from metier.store.run_folder import RunFolder

WHEN = "2026-11-22T09:00:00+00:00"
SENTENCES = (
    "the grinder that I bought last week in your shop makes a terrible noise when it is switched on",
    "my two bags of decaf from the spring sale arrived torn open and half of the beans were gone",
    "please send the kettle to the office because nobody is at home to open the door before six",
    "why does the monthly box cost three euros more than the page promised when I signed up for it",
)
OTHER = {"order": "refund", "refund": "order"}
MakeRun = Callable[..., RunFolder]


def lines_of(run: RunFolder, name: str) -> list[dict[str, Any]]:
    text = (run.data / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def train_records(run: RunFolder) -> list[Record]:
    return list(load_prepared(run.data).train.records())


def decide(record: Record, kind: str, value: str | None = None, split: str = "train") -> Decision:
    return Decision(
        source=record.source, row=record.row, id=record.id, content=content_hash(record.text, record.gold),
        split=split, decision=kind, value=value, by="ann", at=WHEN, sheet="r.xlsx",
    )  # fmt: skip


def everything(run: RunFolder) -> dict[int, Record]:
    prepared = load_prepared(run.data)
    splits = (prepared.train, prepared.validation, prepared.test)
    return {record.row: record for split in splits for record in split.records()}


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., RunFolder]:
    """`again(decisions, **fields)`: prepares `tickets.csv` once more, with decisions; skips where none are honoured."""

    def run(decisions: Path, name: str = "again", **fields: Any) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        values = {"train": str(tmp_path / "tickets.csv"), "decisions": str(decisions), **fields}
        prepare_data(Recipe.model_validate({"data": values}).data, seed=17, folder=folder.data)
        if not (folder.data / "findings.json").exists():
            pytest.skip("prepare_data does not write the record of the data yet")
        return folder

    return run


@pytest.fixture
def decided(plain_run: RunFolder, tmp_path: Path) -> tuple[Path, list[Record]]:
    """Decisions about five rows of train: drop, relabel, edit, keep, and one that no longer fits."""
    rows = train_records(plain_run)[2:7]
    lines = [
        decide(rows[0], "drop"), decide(rows[1], "relabel", OTHER[rows[1].gold]),
        decide(rows[2], "edit", "quite another text, written by a person"), decide(rows[3], "keep"),
        Decision(source="tickets.csv", row=39, id="0123456789abcdef-0", content="0", split="train", decision="drop"),
    ]  # fmt: skip
    write_decisions(tmp_path / "decisions.jsonl", lines)
    return tmp_path / "decisions.jsonl", rows


def test_rows_are_what_was_decided(
    decided: tuple[Path, list[Record]], again: Callable[..., RunFolder], plain_run: RunFolder
) -> None:
    path, (dropped, relabelled, edited, kept, _) = decided
    run = again(path)
    before, after = everything(plain_run), everything(run)
    assert dropped.row not in after
    assert after[relabelled.row].gold == OTHER[relabelled.gold]
    assert after[edited.row].text == "quite another text, written by a person"
    assert after[edited.row].id == edited.id
    assert after[kept.row].gold == kept.gold
    touched = {dropped.row, relabelled.row, edited.row}
    assert {row: record.text for row, record in before.items() if row not in touched} == {
        row: record.text for row, record in after.items() if row not in touched
    }


def test_every_decision_leaves_a_line(decided: tuple[Path, list[Record]], again: Callable[..., RunFolder]) -> None:
    path, (dropped, relabelled, edited, _, _) = decided
    run = again(path)
    by_row = {line["row"]: line for line in lines_of(run, "changed") if line["step"] == "decisions"}
    assert by_row.keys() == {relabelled.row, edited.row}
    assert by_row[relabelled.row]["repairs"] == ["answer given by a person"]
    assert by_row[relabelled.row]["detail"] == (
        f"`{relabelled.gold}` became `{OTHER[relabelled.gold]}`: relabel by ann on 2026-11-22, in r.xlsx"
    )
    assert by_row[edited.row]["detail"] == "edit by ann on 2026-11-22, in r.xlsx"
    (gone,) = [line for line in lines_of(run, "rejected") if line["step"] == "decisions"]
    assert (gone["row"], gone["reason"], gone["version"]) == (dropped.row, "dropped by a person", 1)
    assert gone["sha256"]
    card = load_prepared(run.data).card
    assert (card.decisions, card.rejected["dropped by a person"]) == (4, 1)
    assert any("4 decisions applied (1 keep, 1 drop, 1 relabel, 1 edit)" in said for said in card.notices)
    assert any("not applied, no row with that text is there any more: tickets.csv row 39" in said
               for said in card.notices)  # fmt: skip
    assert load_decisions(run.data / "decisions.jsonl").lines == load_decisions(path).lines


def test_an_edited_row_can_be_decided_about_again(
    decided: tuple[Path, list[Record]], again: Callable[..., RunFolder]
) -> None:
    path, (_, _, edited, _, _) = decided
    second = again(path)
    record = everything(second)[edited.row]
    write_decisions(path, [*load_decisions(path).lines, decide(record, "drop")])
    third = again(path, "third")
    assert edited.row not in everything(third)


def test_ids_stay_when_a_copy_was_dropped(make_run: MakeRun, again: Callable[..., RunFolder], tmp_path: Path) -> None:
    """The first of three copies is dropped; the others keep the ids that decisions about them name."""
    rows = "".join(f"message {n} about {n * 7},{['order', 'refund'][n % 2]}\n" for n in range(40))
    run = make_run(f"text,label\n{rows}" + "a copy of one text,order\n" * 3, data={"duplicates": "keep"})
    copies = sorted((record for record in everything(run).values() if "copy" in record.text), key=lambda r: r.row)
    assert [record.id[-2:] for record in copies] == ["-0", "-1", "-2"]
    write_decisions(tmp_path / "d.jsonl", [decide(copies[0], "drop", split="unsplit")])
    left = everything(again(tmp_path / "d.jsonl", duplicates="keep"))
    assert copies[0].row not in left
    assert [left[record.row].id for record in copies[1:]] == [record.id for record in copies[1:]]


def test_a_test_set_of_ones_own_stays_as_it_is(
    make_run: MakeRun, again: Callable[..., RunFolder], tmp_path: Path
) -> None:
    tests = "".join(f"question {n} of the test set {n * 3},{['order', 'refund'][n % 2]}\n" for n in range(8))
    (tmp_path / "test.csv").write_text(f"text,label\n{tests}", encoding="utf-8")
    rows = "".join(f"message {n} about {n * 7},{['order', 'refund'][n % 2]}\n" for n in range(40))
    run = make_run(f"text,label\n{rows}", data={"test": str(tmp_path / "test.csv")})
    first, second = list(load_prepared(run.data).test.records())[:2]
    lines = [decide(first, "drop", split="train"), decide(second, "relabel", OTHER[second.gold], split="test")]
    write_decisions(tmp_path / "d.jsonl", lines)
    after = again(tmp_path / "d.jsonl", test=str(tmp_path / "test.csv"))
    rows_after = {record.row: record for record in load_prepared(after.data).test.records()}
    assert first.row in rows_after
    assert rows_after[second.row].gold == OTHER[second.gold]
    assert any("the row is of the test set now, which stays as it is" in said
               for said in load_prepared(after.data).card.notices)  # fmt: skip


def test_a_reviewed_doubt_is_doubted_no_more(
    make_run: MakeRun, again: Callable[..., RunFolder], tmp_path: Path
) -> None:
    """A whole round: doubts out as a sheet, decisions in, the next run has neither the rows nor the doubts."""
    rows = [f"message {n} about parcel {n * 7} and nothing else at all" for n in range(60)]
    text = "text,label\n" + "".join(f"{row},{['order', 'refund'][n % 2]}\n" for n, row in enumerate(rows))
    for said, label in zip(SENTENCES, ["order", "refund"] * 2, strict=True):
        text += f"{said},{label}\n{said} today,{label}\n"
    run = make_run(text)
    if not (run.data / "findings.json").exists():
        pytest.skip("prepare_data does not write the record of the data yet")
    doubts = [doubt for doubt in read_doubts(run.data) if doubt.step == "duplicates"]
    assert doubts, "no planted pair stands in one split"
    sheet = tmp_path / "review.csv"
    export_review(run.data, sheet, reasons=sorted({doubt.reason for doubt in doubts}))
    write_sheet([{**row.cells, "decision": "keep"} for row in read_sheet(sheet)], sheet)
    apply_review(run.data, sheet, tmp_path / "d.jsonl", by="ann", at=WHEN)
    after = again(tmp_path / "d.jsonl")
    assert [doubt for doubt in read_doubts(after.data) if doubt.step == "duplicates"] == []
    (finding,) = [step for step in load_prepared(after.data).card.findings if step.step == "duplicates"]
    assert finding.doubts == 0


def test_a_run_without_decisions_has_none(plain_run: RunFolder) -> None:
    assert load_prepared(plain_run.data).card.decisions == 0
    assert not (plain_run.data / "decisions.jsonl").exists()
    assert read_data_record(plain_run).decided == 0
