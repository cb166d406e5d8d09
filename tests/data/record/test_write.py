"""The end of preparation: everything that was found and done is on disk, once, the same bytes each time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.data.card import DataCard, SourceFile, StageHash
from metier.data.cleaning.rows import Doubt, Finding, Row
from metier.data.prepare import load_prepared
from metier.data.record.decisions import Decision, load_decisions, write_decisions
from metier.data.record.findings import content_hash, places_of, read_doubts, read_steps
from metier.data.record.honour import Honoured
from metier.data.record.restore import read_card
from metier.data.record.write import Found, tell_found, write_data_record
from metier.errors import DataError
from metier.events import Event, Table
from metier.recipe.sections import DataSection
from metier.store.run_folder import RunFolder

SECTION = DataSection(train="tickets.csv", licenses={"*": "CC-BY-4.0"})


Rows = tuple[list[Row], dict[int, str]]
Write = Callable[..., DataCard]


@pytest.fixture
def prepared(plain_run: RunFolder) -> RunFolder:
    """A run whose data is prepared."""
    return plain_run


@pytest.fixture
def write(seen_rows: Callable[[RunFolder], Rows]) -> Callable[..., DataCard]:
    """`write(run, section, card=…)`: the record of a run with findings about three rows."""

    def run(run: RunFolder, section: DataSection = SECTION, *, card: DataCard | None = None, **more: Any) -> DataCard:
        card = card or load_prepared(run.data).card
        return write_data_record(run.data, card, found_in(*seen_rows(run)), section, **more)

    return run


def found_in(rows: list[Row], ids: dict[int, str]) -> Found:
    doubts = tuple(
        Doubt(key=row.key, step="wrong_labels", reason="wrong label", detail="reads like another", others=(0,))
        for row in rows[3:6]
    )
    findings = (
        Finding(step="odd_texts", version=1, looked_at=len(rows), seconds=1.5),
        Finding(step="wrong_labels", version=2, looked_at=len(rows), doubts=doubts, seconds=0.25),
    )
    places = places_of(rows, findings, record_id=lambda row: ids[row.key])
    done = {"wrong_labels": {"dropped": 1, "flagged": 2}}
    stages = (StageHash(name="repaired", rows=len(rows), sha256="a" * 64),)
    return Found(findings=findings, places=places, done=done, stages=stages)


def test_the_card_says_what_was_found(write: Write, prepared: RunFolder) -> None:
    card = write(prepared)
    assert card == read_card(prepared.data)
    assert [(step.step, step.version, step.doubts, dict(step.done)) for step in card.findings] == [
        ("odd_texts", 1, 0, {}), ("wrong_labels", 2, 3, {"dropped": 1, "flagged": 2}),
    ]  # fmt: skip
    assert [stage.name for stage in card.stages] == ["repaired"]
    assert [source.licence for source in card.sources] == ["CC-BY-4.0"]
    assert (card.decisions, card.answers, card.folds, card.ablation) == (0, (), (), None)
    assert [step.doubts for step in read_steps(prepared.data).steps] == [0, 3]
    assert len(list(read_doubts(prepared.data))) == 3


def test_the_same_data_gives_the_same_bytes(write: Write, prepared: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other")
    shutil.copytree(prepared.path, other.path)
    first = write(prepared)
    assert write(other) == first
    for path in prepared.data.iterdir():
        assert path.read_bytes() == (other.data / path.name).read_bytes(), path.name


def test_croissant_is_written_and_valid(write: Write, prepared: RunFolder) -> None:
    write(prepared)
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(prepared.data / "croissant.json")  # raises on errors
    assert not dataset.metadata.ctx.issues.errors
    said = "\n".join(map(str, dataset.metadata.ctx.issues.warnings))
    assert not re.sub(r"(?m)^.*(citeAs|datePublished)\" is recommended.*$", "", said).strip(), said
    value = json.loads((prepared.data / "croissant.json").read_text(encoding="utf-8"))
    assert value["name"] == "tickets"
    assert any("Step wrong_labels, version 2" in line for line in value["rai:dataPreprocessingProtocol"])


def test_unknown_licences_are_told_or_refused(write: Write, prepared: RunFolder) -> None:
    card = write(prepared, DataSection(train="tickets.csv"))
    assert card.notices[-1] == ("licence unknown: tickets.csv; say it in data.licenses, or data.unknown_license: allow")
    assert write(prepared, DataSection(train="tickets.csv", unknown_license="allow")).sources[0].licence is None
    with pytest.raises(DataError, match=r"the licence of tickets\.csv is not known, and data\.unknown_license is"):
        write(prepared, DataSection(train="tickets.csv", unknown_license="refuse"))


def test_files_of_answers_have_a_licence_too(write: Write, prepared: RunFolder) -> None:
    card = load_prepared(prepared.data).card
    answers = SourceFile(name="all.cm", path="/d/all.cm", sha256="ab" * 32, format="lines", encoding="utf-8",
                         delimiter=None, rows=40, columns=("text",))  # fmt: skip
    section = DataSection(train="t.csv", licenses={"all.cm": "MIT", "*": "CC0-1.0"})
    whole = write(prepared, section, card=replace(card, answers=(answers,)))
    assert [file.licence for file in whole.files] == ["CC0-1.0", "MIT"]


@pytest.mark.parametrize("texts", [True, False])
def test_decisions_travel_with_the_data(write: Write, prepared: RunFolder, tmp_path: Path, texts: bool) -> None:
    record = next(load_prepared(prepared.data).train.records())
    line = Decision(
        source=record.source, row=record.row, id=record.id, content=content_hash(record.text, record.gold),
        split="train", decision="relabel", value="refund", note="she is sure", by="ann", at="2026-11-20T10:00:00+00:00",
        sheet="r.xlsx",
    )  # fmt: skip
    write_decisions(tmp_path / "decisions.jsonl", [line])
    honoured = Honoured(load_decisions(tmp_path / "decisions.jsonl"))
    honoured.settle(record)
    card = write(prepared, honoured=honoured, texts=texts)
    assert card.decisions == 1
    assert "decisions.jsonl: 1 decision applied (1 relabel)" in card.notices
    (kept,) = load_decisions(prepared.data / "decisions.jsonl").lines
    assert kept == (line if texts else replace(line, value=None, note=None))


def test_one_line_for_each_step_that_found_something(write: Write, prepared: RunFolder) -> None:
    seen: list[Event] = []
    card = write(prepared)
    tell_found(card, [seen.append])
    rows = card.findings[1].looked_at
    assert seen == [
        Table(
            title="Found in the data",
            columns=("step", "found", "done"),
            rows=[("wrong labels", f"3 doubts in {rows} rows", "1 dropped, 2 flagged")],
        )
    ]
    seen.clear()
    tell_found(replace(card, findings=card.findings[:1]), [seen.append])
    assert seen == []
