"""A run's record: everything counted, the first rows kept, texts only where they may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from metier.data.cleaning.rows import Doubt, Finding
from metier.data.cleaning.steps import STEPS
from metier.data.record.decisions import Decision, write_decisions
from metier.data.record.findings import read_doubts, write_findings
from metier.data.record.read import GRAVEST, read_about, read_data_record, read_licences, read_recipe
from metier.errors import DataError, RunFolderError
from metier.store.files import write_json, write_text
from metier.store.run_folder import DataFolder, RunFolder, read_state
from metier.store.values import to_plain

SECRET = "Zebra Quartz called about invoice 43"


def change_recipe(run: RunFolder, **sections: Any) -> None:
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    write_text(run.recipe, yaml.safe_dump({**recipe, **sections}))


def test_everything_is_counted_and_the_first_rows_are_kept(doubted_run: RunFolder) -> None:
    record = read_data_record(doubted_run, shown=1)
    assert [(group.what, group.reason, group.step, group.count, len(group.rows)) for group in record.groups] == [
        ("doubted", "wrong label", "wrong_labels, version 2", 3, 1),
        ("doubted", "near duplicate", "near_duplicates, version 1", 2, 1),
    ]  # fmt: skip
    assert [step.step for step in record.steps] == ["near_duplicates", "wrong_labels"]
    assert [stage.name for stage in record.stages] == ["read", "repaired"]
    (line,) = record.groups[0].rows
    assert (line.source, line.row, line.split, line.text, line.suggestion) == (
        "tickets.csv", 1, "train", SECRET, "refund",
    )  # fmt: skip


def test_what_a_person_should_decide(doubted_run: RunFolder) -> None:
    record = read_data_record(doubted_run)
    says = "Labels that models which learned from other rows speak against."
    assert [(entry.what, entry.rows, dict(entry.reasons)) for entry in record.to_decide] == [
        ("Under which licence may these files be used: tickets.csv?", 0, {}),
        (says, 3, {"wrong label": 3}),
        ("Near duplicates.", 2, {"near duplicate": 2}),
    ]
    assert record.to_decide[1].how == "metier data review export run review.xlsx --only wrong_labels"


def test_what_is_grave_comes_first_and_the_command_can_be_copied(
    doubted_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"quality": ("gopher_word_length", "gopher_hash_ratio"), "poison": ("trigger of a label",),
               "personal data": ("personal data",)}  # fmt: skip
    place = next(read_doubts(doubted_run.data)).place
    findings = [
        Finding(step=step, version=1, looked_at=9,
                doubts=tuple(Doubt(key=0, step=step, reason=reason, detail="d") for reason in some))
        for step, some in reasons.items()
    ]  # fmt: skip
    write_findings(doubted_run.data, findings, {0: place})
    monkeypatch.chdir(doubted_run.path.parent.parent)
    typed = RunFolder(doubted_run.path.relative_to(doubted_run.path.parent.parent))
    _, planted, personal, quality = read_data_record(typed).to_decide
    assert planted.what.startswith("Groups of rows that look planted")
    assert personal.how.endswith("--only 'personal data'")
    assert set(GRAVEST) <= {*(step.name for step in STEPS), "personal data"}
    assert dict(quality.reasons) == {"gopher_word_length": 1, "gopher_hash_ratio": 1}
    assert quality.how == f"metier data review export {typed.path.as_posix()} review.xlsx --only quality"


@pytest.mark.parametrize("sections", [{"report": {"examples": False}}, {"privacy": "strict"},
                                      {"privacy": {"mode": "strict"}}], ids=["examples", "strict", "mode"])  # fmt: skip
def test_texts_stay_out_where_they_must(doubted_run: RunFolder, sections: dict[str, Any]) -> None:
    change_recipe(doubted_run, **sections)
    record = read_data_record(doubted_run)
    assert not record.texts
    assert "Zebra" not in json.dumps(to_plain(record))
    assert record.groups[0].rows[0].split == "train"


def test_rejected_and_changed_rows_are_there(make_run: Callable[..., RunFolder], unlooked: dict[str, Any]) -> None:
    rows = "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(30))
    run = make_run(f"text,label\n{rows},a\n,b\ntwo  spaces,a\n", data=unlooked)
    record = read_data_record(run)
    assert [(group.what, group.reason, group.count) for group in record.groups] == [
        ("rejected", "empty text", 2), ("changed", "white space", 1),
    ]  # fmt: skip
    assert [line.row for line in record.groups[0].rows] == [31, 32]
    assert not any(step.doubts for step in record.steps)


def test_decisions_are_shown_with_who_and_when(doubted_run: RunFolder) -> None:
    decision = Decision(
        source="tickets.csv", row=4, id="a-0", content="0", split="train", decision="relabel", value="refund",
        reasons=("wrong_labels, version 2: wrong label",), by="ann", at="2026-11-20T10:00:00+00:00", sheet="r.xlsx",
    )  # fmt: skip
    write_decisions(DataFolder(doubted_run.data).decisions, [decision])
    record = read_data_record(doubted_run)
    assert record.decided == 1
    (group,) = [group for group in record.groups if group.what == "decided"]
    assert (group.reason, group.rows[0].row, group.rows[0].detail, group.rows[0].others) == (
        "relabel", 4, "by ann on 2026-11-20, in r.xlsx", "wrong_labels, version 2: wrong label",
    )  # fmt: skip


def test_licences_are_those_of_the_recipe(make_run: Callable[..., RunFolder], unlooked: dict[str, Any]) -> None:
    rows = "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(30))
    run = make_run("text,label\n" + rows, data={**unlooked, "licenses": {"*": "cc-by-4.0"}})
    assert read_licences(run, read_recipe(run)).sources[0].licence == "CC-BY-4.0"
    assert read_data_record(run).to_decide == ()
    change_recipe(run, data={"unknown_license": "allow"})
    assert read_data_record(run).to_decide == ()
    change_recipe(run, data={"licenses": {"*": "freeware"}})
    with pytest.raises(DataError, match="is no SPDX licence expression"):
        read_data_record(run)


def test_about_is_what_the_recipe_and_the_run_say(doubted_run: RunFolder) -> None:
    change_recipe(doubted_run, card={"author": "A clinic", "language": ["de"]})
    about = read_about(doubted_run, read_recipe(doubted_run))
    assert (about.name, about.published, about.creator, about.languages) == (
        "tickets", "2026-11-22", "A clinic", ("de",),
    )  # fmt: skip
    state = replace(read_state(doubted_run), finished="2026-12-01T01:00:00+00:00")
    write_json(doubted_run.state, state, format="run")
    assert read_about(doubted_run, read_recipe(doubted_run)).published == "2026-12-01"


def test_a_run_without_recipe_is_refused(doubted_run: RunFolder) -> None:
    doubted_run.recipe.unlink()
    with pytest.raises(RunFolderError, match=r"recipe\.yaml: is missing or damaged\. Run the recipe again\."):
        read_data_record(doubted_run)


def test_a_damaged_log_is_named(doubted_run: RunFolder) -> None:
    (doubted_run.data / "rejected.jsonl").write_text('{"source": "a.csv"}\n', encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"rejected\.jsonl, line 1: row: is missing\. Run the recipe again\."):
        read_data_record(doubted_run)
