"""Findings go to disk and come back; rows are named, never quoted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metier.data.card import StageHash
from metier.data.cleaning.rows import Doubt, Finding, Row
from metier.data.record.findings import (
    At,
    Doubted,
    RowPlace,
    content_hash,
    places_of,
    read_doubts,
    read_steps,
    write_findings,
)
from metier.errors import RunFolderError
from metier.store.run_folder import RunFolder

PLACE = RowPlace(source="a.csv", row=3, split="train", id="abc-0", content="00")


def row(key: int, text: str, answer: str = "yes") -> Row:
    return Row(key=key, split="train", text=text, answer=answer, labelled=True, group=None, source="a.csv", row=key + 1)


def test_what_was_written_is_read(doubted_run: RunFolder) -> None:
    file = read_steps(doubted_run.data)
    assert [(step.step, step.version, step.doubts) for step in file.steps] == [
        ("near_duplicates", 1, 2), ("wrong_labels", 2, 3),
    ]  # fmt: skip
    assert file.steps[0].done == {"flagged": 2}
    assert file.steps[1].done == {}
    assert file.steps[1].tables["labels that are mixed up"][0]["share"] == 0.25
    assert [stage.name for stage in file.stages] == ["read", "repaired"]
    doubts = list(read_doubts(doubted_run.data))
    assert len(doubts) == 5
    first = next(doubt for doubt in doubts if doubt.place.row == 1)
    assert (first.step, first.version, first.reason, first.suggestion, first.score) == (
        "wrong_labels", 2, "wrong label", "refund", 0.91,
    )  # fmt: skip
    assert all(isinstance(other, At) for doubt in doubts for other in doubt.others)
    assert len({doubt.id for doubt in doubts}) == 5


def test_no_text_is_in_the_files(doubted_run: RunFolder) -> None:
    for name in ("findings.json", "doubts.jsonl"):
        assert "Zebra" not in (doubted_run.data / name).read_text(encoding="utf-8")


def test_a_run_without_cleaning_has_no_steps(tmp_path: Path) -> None:
    assert read_steps(tmp_path).steps == ()
    assert list(read_doubts(tmp_path)) == []


def test_a_damaged_line_is_named(doubted_run: RunFolder) -> None:
    path = doubted_run.data / "doubts.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "{torn\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"doubts\.jsonl, line 6: is damaged: no JSON object"):
        list(read_doubts(doubted_run.data))


def test_what_was_done_must_belong_to_a_step(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no such step"):
        write_findings(tmp_path, [], {}, done={"secrets": {"dropped": 1}})


def test_places_are_kept_of_named_rows_only() -> None:
    rows = [row(key, f"text {key}") for key in range(100)]
    doubt = Doubt(key=7, step="s", reason="r", detail="d", others=(9,))
    finding = Finding(step="s", version=1, looked_at=100, doubts=(doubt,))
    places = places_of(rows, [finding], record_id=lambda row: f"id-{row.key}")
    assert sorted(places) == [7, 9]
    assert places[7] == RowPlace(
        source="a.csv", row=8, split="train", id="id-7", content=content_hash("text 7", "yes")
    )  # fmt: skip


def test_a_doubts_id_is_of_what_it_is_about() -> None:
    doubt = Doubted(step="s", version=1, reason="r", detail="d", place=PLACE)
    assert doubt.id == replace(doubt, detail="in other words", score=0.1, version=2).id
    for other in (
        replace(doubt, reason="q"), replace(doubt, step="t"), replace(doubt, place=replace(PLACE, row=4)),
        replace(doubt, place=replace(PLACE, content="01")), replace(doubt, place=replace(PLACE, id="abc-1")),
    ):  # fmt: skip
        assert other.id != doubt.id


@given(st.text(), st.text(), st.text(), st.text())
@example("ab", "c", "a", "bc")
@example("a\0", "b", "a", "\0b")
@example("a", "b", "a", "b")
def test_content_is_text_and_answer(text: str, answer: str, other: str, another: str) -> None:
    assert (content_hash(text, answer) == content_hash(other, another)) == ((text, answer) == (other, another))


def test_findings_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    doubt = Doubt(key=0, step="s", reason="r", detail="d", others=(1,))
    finding = Finding(step="s", version=1, looked_at=2, doubts=(doubt,), counts={"r": 1})
    places = {0: PLACE, 1: replace(PLACE, row=9)}
    for name in ("one", "two"):
        write_findings(tmp_path / name, [finding], places, stages=[StageHash(name="read", rows=1, sha256="a" * 64)])
    for name in ("findings.json", "doubts.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
