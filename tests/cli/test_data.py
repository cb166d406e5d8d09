"""`metier data`: report, review and restore, as a person uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.cleaning.rows import Doubt, Finding
from metier.data.prepare import load_prepared, prepare_data
from metier.data.record.decisions import load_decisions
from metier.data.record.findings import RowPlace, content_hash, write_findings
from metier.data.record.sheet import read_sheet, write_sheet
from metier.recipe.sections import Recipe
from metier.store.files import write_json, write_text
from metier.store.run_folder import RunFolder, RunState

Metier = Callable[..., Any]
DATA = "text,label\n" + "".join(f"message {n} of mine,{['order', 'refund'][n % 2]}\n" for n in range(40)) + ",order\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose data is prepared, with one doubt about a training row."""
    (tmp_path / "tickets.csv").write_text(DATA, encoding="utf-8")
    folder = RunFolder(tmp_path / "run")
    fields = {"train": str(tmp_path / "tickets.csv")}
    prepare_data(Recipe.model_validate({"data": fields}).data, seed=17, folder=folder.data)
    state = RunState(recipe_hash="ab" * 32, status="running", started="2026-11-22T08:00:00+00:00")
    write_json(folder.state, state, format="run")
    write_text(folder.recipe, yaml.safe_dump({"name": "tickets", "data": fields}))
    record = next(load_prepared(folder.data).train.records())
    place = RowPlace(source=record.source, row=record.row, split="train", id=record.id,
                     content=content_hash(record.text, record.gold))  # fmt: skip
    doubt = Doubt(key=0, step="wrong_labels", reason="wrong label", detail="reads like another")
    write_findings(folder.data, [Finding(step="wrong_labels", version=1, looked_at=40, doubts=(doubt,))], {0: place})
    return folder


def test_report_writes_page_json_and_croissant(metier: Metier, run: RunFolder) -> None:
    outcome = metier("data", "report", run.path)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        f"Report:    {run.report / 'data.html'}", f"JSON:      {run.report / 'data.json'}",
        f"Croissant: {run.data / 'croissant.json'}",
    ]  # fmt: skip
    assert outcome.err.splitlines() == [
        "To decide: Under which licence may these files be used: tickets.csv?",
        "To decide: Labels that models which learned from other rows speak against. (1 wrong label)",
        f"Keep, drop, relabel or edit each doubt in a sheet: metier data review export {run.path} review.xlsx",
    ]
    assert json.loads((run.data / "croissant.json").read_text(encoding="utf-8"))["datePublished"] == "2026-11-22"
    again = metier("data", "report", run.path, "--json")
    plain = json.loads(again.out)
    assert (again.code, plain["format"], plain["card"]["rejected"]) == (0, "metier.data_report", {"empty text": 1})


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_review_goes_out_and_comes_back(metier: Metier, run: RunFolder, tmp_path: Path, suffix: str) -> None:
    sheet, out = tmp_path / f"review{suffix}", tmp_path / "decisions.jsonl"
    outcome = metier("data", "review", "export", run.path, sheet)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"1 doubt about 1 row: {sheet}\n"
    assert f"then: metier data review apply {run.path} {sheet} decisions.jsonl" in outcome.err
    untouched = metier("data", "review", "apply", run.path, sheet, out, "--by", "ann")
    assert untouched.out == f"Taken over: nothing new. Decisions: {out}\n"
    assert "1 line without a decision" in untouched.err
    write_sheet([{**row.cells, "decision": "drop"} for row in read_sheet(sheet)], sheet)
    outcome = metier("data", "review", "apply", run.path, sheet, out, "--by", "ann")
    assert (outcome.code, outcome.out) == (0, f"Taken over: 1 drop. Decisions: {out}\n")
    assert f"The next run honours them with data.decisions: {out}" in outcome.err
    (decision,) = load_decisions(out).lines
    assert (decision.decision, decision.by) == ("drop", "ann")
    assert decision.at.endswith("+00:00")


def test_wrong_decisions_end_with_2(metier: Metier, run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    metier("data", "review", "export", run.path, sheet)
    write_sheet([{**row.cells, "decision": "burn"} for row in read_sheet(sheet)], sheet)
    outcome = metier("data", "review", "apply", run.path, sheet, tmp_path / "d.jsonl")
    assert outcome.code == 2
    assert outcome.err.startswith("error: review.csv: 1 line cannot be taken over: row 2 has an unknown decision")
    assert metier("data", "review", "export", run.path, tmp_path / "r.ods").code == 2


def test_strict_runs_are_exported_without_texts(metier: Metier, run: RunFolder, tmp_path: Path) -> None:
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    write_text(run.recipe, yaml.safe_dump({**recipe, "privacy": "strict"}))
    sheet = tmp_path / "review.csv"
    outcome = metier("data", "review", "export", run.path, sheet)
    assert "1 doubt without text: it is not stored, or may not be shown" in outcome.err
    assert "message" not in sheet.read_text(encoding="utf-8-sig")


def test_restore_gives_files_and_rows_back(metier: Metier, run: RunFolder, tmp_path: Path) -> None:
    outcome = metier("data", "restore", run.path, tmp_path / "out")
    assert (outcome.code, outcome.out) == (
        0, f"1 file restored, each with the hash that it had: {tmp_path / 'out'}\n",
    )  # fmt: skip
    assert (tmp_path / "out" / "tickets.csv").read_bytes() == DATA.encode()
    outcome = metier("data", "restore", run.path, tmp_path / "rows.jsonl", "--rows")
    assert (
        outcome.out == f"1 rejected row and 0 changed rows, 1 of them equal to their file: {tmp_path / 'rows.jsonl'}\n"
    )
    (tmp_path / "tickets.csv").unlink()
    outcome = metier("data", "restore", run.path, tmp_path / "again")
    assert outcome.code == 2
    assert "tickets.csv is missing" in outcome.err
    moved = metier("data", "restore", run.path, tmp_path / "again", "--from", tmp_path / "out")
    assert moved.code == 0


@pytest.mark.parametrize("command", [["report"], ["restore"], ["review"], ["review", "export"], ["review", "apply"]])
def test_every_command_has_a_help(metier: Metier, command: list[str]) -> None:
    outcome = metier("data", *command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: metier data {' '.join(command)}")


def test_what_was_not_recorded_is_not_passed_over(metier: Metier, run: RunFolder, tmp_path: Path) -> None:
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    recipe["data"]["answers"] = str(tmp_path / "all.cm")
    write_text(run.recipe, yaml.safe_dump(recipe))
    outcome = metier("data", "restore", run.path, tmp_path / "out")
    assert "  not restored: data.answers: the run did not record its hash" in outcome.err.splitlines()


def test_short_helps_are_not_cut(metier: Metier) -> None:
    for command in (["data"], ["data", "review"]):
        assert "..." not in metier(*command, "--help").out.partition("Commands:")[2]


def test_a_machine_gets_one_object_each_time(metier: Metier, run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    for arguments, kind, wanted in (
        (["review", "export", run.path, sheet], "review", {"doubts": 1, "rows": 1, "cut": 0}),
        (["review", "apply", run.path, sheet, tmp_path / "d.jsonl"], "review", {"undecided": 1, "decisions": {}}),
        (["restore", run.path, tmp_path / "rows.jsonl", "--rows"], "restored", {"rejected": 1, "changed": 0}),
    ):
        outcome = metier("data", *arguments, "--json")
        plain = json.loads(outcome.out)
        assert (outcome.code, plain["format"]) == (0, f"metier.{kind}")
        assert {name: plain[name] for name in wanted} == wanted
    outcome = metier("data", "restore", run.path, tmp_path / "out", "--json")
    assert [file["name"] for file in json.loads(outcome.out)["files"]] == ["tickets.csv"]
