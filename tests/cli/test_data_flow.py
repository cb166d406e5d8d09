"""From a messy file to reviewed data, by commands alone, on a run that `metier run --until data` made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.prepare import load_prepared
from metier.data.record.sheet import read_sheet, write_sheet
from metier.store.run_folder import RunFolder

Metier = Callable[..., Any]
SENTENCES = (
    "the grinder that I bought last week in your shop makes a terrible noise when it is switched on",
    "my two bags of decaf from the spring sale arrived torn open and half of the beans were gone",
    "please send the kettle to the office because nobody is at home to open the door before six",
    "why does the monthly box cost three euros more than the page promised when I signed up for it",
)
"""Each stands twice in the file, the second time with a word more."""
PAIRS = "".join(
    f"{said},{label}\n{said} today,{label}\n" for said, label in zip(SENTENCES, ["order", "refund"] * 2, strict=True)
)
MESSY = (
    "text,label\n"
    + "".join(f"message {n} about parcel {n * 7} of mine,{['order', 'refund'][n % 2]}\n" for n in range(60))
    + f"{PAIRS},order\nno label here,\ntwo  spaces in it,refund\n"
    + "message 3 about parcel 21 of mine,order\n"
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a messy file and a recipe, and the current folder of the person."""
    (tmp_path / "messy.csv").write_text(MESSY, encoding="utf-8")
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_recipe(desk: Path, **data: Any) -> None:
    values = {"name": "tickets", "data": {"train": "messy.csv", "licenses": {"*": "CC0-1.0"}, **data}}
    (desk / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture
def run(metier: Metier, desk: Path) -> RunFolder:
    """The data of that recipe, prepared; skips while the flow does not write its record."""
    outcome = metier("run", "recipe.yaml", "--until", "data", "--output", "one")
    assert outcome.code == 0, outcome.err
    folder = RunFolder(desk / "one")
    if not (folder.data / "findings.json").exists():
        pytest.skip("prepare_data does not write the record of the data yet")
    return folder


def test_the_run_says_what_each_step_found(metier: Metier, desk: Path, run: RunFolder) -> None:
    outcome = metier("run", "recipe.yaml", "--until", "data", "--output", "other", "--set", "seed=18")
    found = outcome.err.partition("Found in the data")[2]
    card = load_prepared(RunFolder(desk / "other").data).card
    assert found, outcome.err
    for step in card.findings:
        assert (step.title in found) == bool(step.doubts or step.done), step.step
    assert "grinder" not in outcome.err


@pytest.mark.slow  # plans beside the packaged encoder, which is then in the user's cache
def test_check_says_it_too(metier: Metier, desk: Path, tiny_model: Callable[..., Path], run: RunFolder) -> None:
    outcome = metier("check", "recipe.yaml", "--set", f"model={tiny_model('llama').as_posix()}",
                     "--set", "training.max_length=64", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    steps = json.loads(outcome.out)["data"]["steps"]
    assert any(line.startswith("duplicates: ") for line in steps)


def test_the_page_shows_every_step(metier: Metier, run: RunFolder) -> None:
    outcome = metier("data", "report", run.path, "--json")
    assert outcome.code == 0, outcome.err
    value = json.loads(outcome.out)
    assert {"duplicates", "wrong_labels"} <= {step["step"] for step in value["steps"]}
    assert [stage["name"] for stage in value["stages"]][:2] == ["read", "repaired"]
    reasons = {(group["what"], group["reason"], group["step"]) for group in value["groups"]}
    assert ("rejected", "empty text", "records, version 1") in reasons
    assert ("rejected", "contradiction", "splits, version 1") in reasons
    assert ("changed", "white space", "repairs, version 1") in reasons
    assert value["licences"]["sources"] == [{"source": "messy.csv", "licence": "CC0-1.0"}]
    page = (run.report / "data.html").read_text(encoding="utf-8")
    assert "near duplicate" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_person_decides_and_the_next_run_honours_it(metier: Metier, desk: Path, run: RunFolder) -> None:
    outcome = metier("data", "review", "export", run.path, "review.xlsx")
    assert outcome.code == 0, outcome.err
    sheet = desk / "review.xlsx"
    rows = [row.cells for row in read_sheet(sheet)]
    near = [row for row in rows if row["suspected"].startswith("near") and row["split"] == "train"]
    assert near, "no planted pair stands in train"
    decided = [{**row, "decision": "drop" if row["row"] == near[0]["row"] else ""} for row in rows]
    write_sheet(decided, sheet)
    outcome = metier("data", "review", "apply", run.path, "review.xlsx", "decisions.jsonl", "--by", "ann")
    assert outcome.out == "Taken over: 1 drop. Decisions: decisions.jsonl\n", outcome.err
    write_recipe(desk, decisions="decisions.jsonl")
    outcome = metier("run", "recipe.yaml", "--until", "data", "--output", "two")
    assert outcome.code == 0, outcome.err
    assert "decisions.jsonl: 1 decision applied (1 drop)" in outcome.err
    card = load_prepared(RunFolder(desk / "two").data).card
    assert card.rejected["dropped by a person"] == 1
    report = json.loads(metier("data", "report", "two", "--json").out)
    assert ("decided", "drop") in {(group["what"], group["reason"]) for group in report["groups"]}


def test_changed_decisions_are_a_new_run(metier: Metier, desk: Path, run: RunFolder) -> None:
    """The same recipe with other decisions is other data: a run that is not complete says so and is not mixed."""
    record = next(load_prepared(run.data).train.records())
    from metier.data.record.decisions import Decision, write_decisions
    from metier.data.record.findings import content_hash

    line = Decision(source=record.source, row=record.row, id=record.id, split="train", decision="drop",
                    content=content_hash(record.text, record.gold), by="ann", at="2026", sheet="r.csv")  # fmt: skip
    write_decisions(desk / "decisions.jsonl", [])
    write_recipe(desk, decisions="decisions.jsonl")
    assert metier("run", "recipe.yaml", "--until", "data", "--output", "two").code == 0
    write_decisions(desk / "decisions.jsonl", [line])
    outcome = metier("run", "recipe.yaml", "--until", "data", "--output", "two", "--resume")
    assert outcome.code == 2, outcome.err
    assert "has changed" in outcome.err or "another" in outcome.err


def test_the_input_comes_back(metier: Metier, desk: Path, run: RunFolder) -> None:
    """DQ-6, with the commands of a person."""
    assert metier("data", "restore", run.path, "back").code == 0
    assert (desk / "back" / "messy.csv").read_bytes() == MESSY.encode()
    outcome = metier("data", "restore", run.path, "rows.jsonl", "--rows")
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in (desk / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(line["checked"] for line in lines)
    assert {line["row"] for line in lines if line["what"] == "rejected"} >= {4, 69, 70, 72}
    assert {line["row"] for line in lines if line["what"] == "changed"} == {71}
