"""A run's record: everything counted, the first rows kept, texts only where they may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from metier.data.record.decisions import Decision, write_decisions
from metier.data.record.read import read_about, read_data_record, read_licences, read_recipe
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
    assert [(entry.what, entry.rows) for entry in record.to_decide] == [
        ("Under which licence may these files be used: tickets.csv?", 0),
        ("near duplicate: keep, drop, relabel or edit?", 2),
        ("wrong label: keep, drop, relabel or edit?", 3),
    ]
    assert record.to_decide[2].how == 'metier data review export run review.xlsx --only "wrong label"'


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
