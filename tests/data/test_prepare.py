from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.prepare import load_prepared, prepare_data
from metier.data.prepared import PreparedData
from metier.errors import DataError, RunFolderError
from metier.events import Event, Notice, Table
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
Rows = Callable[..., str]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rejected(tmp_path: Path) -> list[tuple[int, str]]:
    return [(row["row"], row["reason"]) for row in lines(tmp_path / "prepared" / "rejected.jsonl")]


def test_a_csv_becomes_three_splits(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    prepared = prepare(train=write("d.csv", rows(60)))
    sizes = [len(split) for split in (prepared.train, prepared.validation, prepared.test)]
    assert sum(sizes) == 60
    assert min(sizes) > 0
    assert prepared.labels == ("order", "refund")
    assert {path.name for path in (tmp_path / "prepared").iterdir()} == {
        "train.parquet", "validation.parquet", "test.parquet", "rejected.jsonl", "changed.jsonl", "card.json",
        "input.json", "findings.json", "doubts.jsonl", "croissant.json",
    }  # fmt: skip
    everything = [
        record for split in (prepared.train, prepared.validation, prepared.test) for record in split.records()
    ]
    assert sorted(record.row for record in everything) == list(range(1, 61))
    assert len({record.id for record in everything}) == 60
    assert not prepared.card.splits["test"].official


def test_the_same_input_gives_the_same_bytes(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    path = write("d.csv", rows(60) + "my refund number 3 is late,refund\n  spaces  here ,order\n")
    prepare(train=path, folder="one")
    prepare(train=path, folder="two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    prepare(train=path, folder="three", seed=18)
    assert (tmp_path / "one" / "test.parquet").read_bytes() != (tmp_path / "three" / "test.parquet").read_bytes()


def test_what_was_prepared_is_loaded(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    prepared = prepare(train=write("d.csv", rows()))
    loaded = load_prepared(tmp_path / "prepared")
    assert loaded == prepared
    assert list(loaded.test.records()) == list(prepared.test.records())
    (tmp_path / "prepared" / "test.parquet").unlink()
    with pytest.raises(RunFolderError, match="is missing or damaged"):
        len(loaded.test)


def test_adding_rows_moves_no_old_row(write: Write, prepare: Prepare, rows: Rows) -> None:
    first = prepare(train=write("d.csv", rows(200)), folder="one")
    second = prepare(train=write("d.csv", rows(300)), folder="two")
    for name in ("train", "validation", "test"):
        old = {record.id for record in getattr(first, name).records()}
        assert old <= {record.id for record in getattr(second, name).records()}


def test_official_splits_are_kept_as_they_are(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    train = write("train.csv", rows(40) + "shared with test,order\nshared with validation,order\n")
    write("dev.csv", "text,label\nshared with validation,refund\nShared  with TEST,order\nown,refund\n")
    test = "text,label\nshared with test,refund\nbill,order\nbill,order\nbill,refund\n,order\ncash,new\nbroken\n"
    write("test.csv", test)
    prepared = prepare(train=train.parent)
    assert [(r.text, r.label, r.flags) for r in prepared.test.records()] == [
        ("shared with test", "refund", ()),
        ("bill", "order", ("contradiction",)),
        ("bill", "order", ("duplicate", "contradiction")),
        ("bill", "refund", ("duplicate", "contradiction")),
        ("cash", "new", ("label_unseen",)),
    ]
    assert [r.text for r in prepared.validation.records()] == ["shared with validation", "own"]
    assert len(prepared.train) == 40
    assert sorted(rejected(tmp_path)) == [
        (2, "also in test"), (5, "empty text"), (7, "broken row"), (41, "also in test"), (42, "also in validation"),
    ]  # fmt: skip
    assert prepared.card.splits["test"].official
    assert any(
        "test has 1 label that train does not have (`new`): every answer there counts as wrong (1 row)" in n
        for n in prepared.card.notices
    )


def test_duplicates_and_contradictions_leave_train_only(
    write: Write, prepare: Prepare, rows: Rows, tmp_path: Path
) -> None:
    more = "again and again,order\nAgain and  again,order\ntorn,order\ntorn,refund\n"
    write("test.csv", "text,label\nsomething else,order\nother,refund\n")
    prepared = prepare(train=write("train.csv", rows(40) + more), test=tmp_path / "test.csv")
    assert rejected(tmp_path) == [(42, "duplicate"), (43, "contradiction"), (44, "contradiction")]
    details = [row["detail"] for row in lines(tmp_path / "prepared" / "rejected.jsonl")]
    assert details[1] == "same text as row 44, with another label"
    assert details[0] == "same text and label as row 41"
    assert prepared.card.rejected == {"contradiction": 2, "duplicate": 1}
    kept = prepare(
        train=tmp_path / "train.csv", test=tmp_path / "test.csv", duplicates="keep", contradictions="keep", folder="k"
    )
    flags = {r.row: r.flags for split in (kept.train, kept.validation) for r in split.records() if r.row > 40}
    assert set(flags) == {41, 42, 43, 44}


def test_groups_stay_together(write: Write, prepare: Prepare) -> None:
    body = "".join(f"text {i},{'ab'[i % 2]},g{i // 5}\n" for i in range(200))
    prepared = prepare(train=write("d.csv", "text,label,customer\n" + body), group="customer")
    groups = [
        {record.group for record in split.records()} for split in (prepared.train, prepared.validation, prepared.test)
    ]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert prepared.card.splits["train"].groups == len(groups[0])


def test_a_column_that_looks_like_a_group_is_named(write: Write, prepare: Prepare) -> None:
    body = "".join(f"text {i},{'ab'[i % 2]},g{i // 5}\n" for i in range(100))
    prepared = prepare(train=write("d.csv", "text,label,customer_id\n" + body))
    assert any("without data.group: customer_id they may be torn" in notice for notice in prepared.card.notices)


def test_labels_are_renamed_ignored_and_kept(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    values = ["0", "1.0", "1", "2", "-", ""]
    body = "".join(f"text number {i},{values[i % 6]}\n" for i in range(120))
    prepared = prepare(
        train=write("d.csv", "text,label\n" + body),
        label_names={"0": "dovish", "1": "hawkish"},
        ignore_labels=["-"],
        labels=["dovish", "hawkish"],
    )
    assert prepared.labels == ("dovish", "hawkish")
    assert prepared.card.rejected == {"empty label": 20, "ignored label": 20, "label not kept": 20}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"labels": ["ordr", "refund"]}, r"data.labels: `ordr` is no label .* Did you mean `order`\?", id="typo"
        ),
        pytest.param(
            {"labels": ["order"]}, "train has only the label `order`, wanted two labels or more", id="one label"
        ),
        pytest.param(
            {"ignore_labels": ["order", "refund"]},
            "no usable row is left for train; rejected: 40 ignored label",
            id="none",
        ),
        pytest.param({"test_size": 0.0001}, "data.test_size: the test split would be empty: too few groups", id="test"),
    ],
)
def test_too_little_is_an_error(
    write: Write, prepare: Prepare, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    # Two groups that hold both labels: moving one to repair a draw would empty the other side.
    body = "".join(f"text {i},{['order', 'refund'][i % 2]},{'gh'[i // 20]}\n" for i in range(40))
    group = {"group": "g"} if "size" in str(fields) else {}
    with pytest.raises(DataError, match=message):
        prepare(train=write("d.csv", "text,label,g\n" + body), **group, **fields)
    assert not (tmp_path / "prepared").exists()


def test_a_validation_split_without_rows_is_an_error(write: Write, prepare: Prepare) -> None:
    write("test.csv", "text,label,g\nother,order,x\n")
    body = "".join(f"text {i},{['order', 'refund'][i % 2]},g\n" for i in range(40))
    train = write("train.csv", "text,label,g\n" + body)
    message = r"data.validation_size: the validation split would be empty: too few groups for .* Give more rows"
    with pytest.raises(DataError, match=message):
        prepare(train=train.parent, group="g")


def test_all_rows_broken_says_where_the_first_is(write: Write, prepare: Prepare) -> None:
    with pytest.raises(
        DataError, match="rejected: 2 broken row; the first broken row is in line 2: 3 fields, wanted 2"
    ):
        prepare(train=write("d.csv", "text,label\na,b,c\nd,e,f\n"), text="text", label="label")


def test_the_same_content_under_another_name_is_an_error(write: Write, prepare: Prepare, rows: Rows) -> None:
    write("a.csv", rows())
    with pytest.raises(DataError, match=r"data.test: b.csv has the same content as a.csv, the train file"):
        prepare(train=write("a.csv", rows()), test=write("b.csv", rows()))


def test_subsets_are_listed_with_their_reason(write: Write, prepare: Prepare, rows: Rows) -> None:
    path = write("d.csv", rows(300))
    full = prepare(train=path, folder="full")
    prepared = prepare(train=path, examples_per_label=10, max_test_examples=7, folder="part")
    assert prepared.card.splits["train"].label_counts == {"order": 10, "refund": 10}
    # The same records; doubts about them depend on what train has beside them.
    one, other = ([replace(each, flags=()) for each in data.validation.records()] for data in (prepared, full))
    assert one == other
    assert len(prepared.test) == 7
    assert set(prepared.card.rejected) == {"over examples_per_label", "over max_test_examples"}
    assert len(prepare(train=path, max_examples=30, folder="most").train) == 30


def test_changes_are_listed_by_row(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    prepared = prepare(train=write("d.csv", rows(40) + "too   many\u200b spaces,order\n"))
    assert lines(tmp_path / "prepared" / "changed.jsonl") == [
        {
            "source": "d.csv", "row": 41, "repairs": ["invisible characters", "white space"], "step": "repairs",
            "version": 1, "sha256": text_sha256('{"text": "too   many\u200b spaces", "label": "order"}'), "detail": "",
        }
    ]  # fmt: skip
    assert prepared.card.changed == {"invisible characters": 1, "white space": 1}


def test_a_rejected_row_can_be_given_back(write: Write, prepare: Prepare, rows: Rows, tmp_path: Path) -> None:
    prepare(train=write("d.csv", rows(40) + ' ,"or\nder"\nbroken\n'))
    row, broken = sorted(lines(tmp_path / "prepared" / "rejected.jsonl"), key=lambda row: row["row"])
    assert json.loads(row["content"]) == {"text": " ", "label": "or\nder"}
    assert broken["content"] == "broken"


def test_rare_and_similar_labels_are_named(write: Write, prepare: Prepare, rows: Rows) -> None:
    more = "one of its kind,single\nsecond spelling,Re-fund\nre fund,Re fund\n- missing,-\n"
    prepared = prepare(train=write("d.csv", rows(60) + more))
    notices = " | ".join(prepared.card.notices)
    assert "one training example only, kept: `-`" in notices
    assert "`single`" in notices
    assert "labels `Re fund` and `Re-fund` differ only in how they are written" in notices
    assert "label `-` (1 row) looks like a missing label; see data.ignore_labels" in notices
    assert {r.label for r in prepared.train.records() if "rare_label" in r.flags} == {
        "single",
        "Re-fund",
        "Re fund",
        "-",
    }


def test_settings_that_match_nothing_are_named(write: Write, prepare: Prepare, rows: Rows) -> None:
    prepared = prepare(train=write("d.csv", rows()), label_names={"9": "nine"}, ignore_labels=["n/a"])
    assert "data.label_names: `9` does not occur in the data" in prepared.card.notices
    assert "data.ignore_labels: `n/a` does not occur in the data" in prepared.card.notices


def test_observers_hear_every_notice_and_a_table_without_text(write: Write, prepare: Prepare, rows: Rows) -> None:
    heard: list[Event] = []
    prepared = prepare(
        train=write("d.csv", rows(40) + "Geheim Meier,order\nGeheim Meier,refund\n"), observers=[heard.append]
    )
    assert [event.message for event in heard if isinstance(event, Notice)] == list(prepared.card.notices)
    (table,) = [event for event in heard if isinstance(event, Table)]
    assert [row[0] for row in table.rows] == ["train", "validation", "test", "rejected"]
    assert "Meier" not in str(heard)
    assert "Meier" not in str(prepared.card)


def test_user_ids_groups_and_sources_travel(write: Write, prepare: Prepare) -> None:
    body = "".join(f"text {i},{'ab'[i % 2]},T-{i},c{i}\n" for i in range(60))
    prepared = prepare(train=write("d.csv", "text,label,ticket,customer\n" + body), id="ticket", group="customer")
    record = next(prepared.train.records())
    number = record.row - 1
    assert (record.user_id, record.group, record.source) == (f"T-{number}", f"c{number}", "d.csv")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["alpha", "Beta  ", "gam\u200bma", "", "d,e", 'f"g', "h\ni"]), st.sampled_from("ab ")
        ),
        max_size=40,
    )
)
def test_every_row_is_in_a_split_or_rejected(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    import csv

    path = tmp_path / "d.csv"
    whole = [*[(f"filler {i}", "ab"[i % 2]) for i in range(30)], *rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *whole])
    prepared = prepare_data(DataSection(train=str(path)), seed=1, folder=tmp_path / "prepared")
    splits = [list(split.records()) for split in (prepared.train, prepared.validation, prepared.test)]
    used = [record.row for split in splits for record in split]
    out = [row for row, _ in rejected(tmp_path)]
    assert sorted(used + out) == list(range(1, len(whole) + 1))
    keys = [{record.id.split("-")[0] for record in split} for split in splits]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]


def test_the_room_loads_no_torch() -> None:
    code = "import sys, metier.data.prepare, metier.data.draft; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_rare_labels_leave_train_or_become_one(write: Write, prepare: Prepare, rows: Rows) -> None:
    more = "".join(f"a matter of its own kind {number},odd {number % 2}\n" for number in range(6))
    train = write("d.csv", rows(60) + more)
    rejected = prepare(train=train, rare_labels="reject", folder="rejected")
    assert rejected.card.rejected["rare label"] == 6
    assert rejected.labels == ("order", "refund")
    assert "6 rows left train: labels with fewer than 5 rows (data.rare_labels: reject)" in rejected.card.notices
    merged = prepare(train=train, rare_labels="merge", folder="merged")
    assert merged.labels == ("order", "other", "refund")
    assert "rare label" not in merged.card.rejected
    kept = prepare(train=train, rare_below=3, folder="kept")
    assert not [record for record in kept.train.records() if "rare_label" in record.flags and record.label == "order"]


def test_near_copies_of_test_rows_leave_train_and_are_marked_in_validation(
    write: Write, prepare: Prepare, rows: Rows, tmp_path: Path
) -> None:
    said = "the grinder that I ordered on monday morning came with a broken lid and without the small brush"
    train = write("train.csv", rows(40) + f"{said} today,order\n")
    write("dev.csv", f"text,label\n{said} again,order\nmy own question about tea,refund\n")
    write("test.csv", f"text,label\n{said},order\nwhere is my refund,refund\n")
    prepared = prepare(train=train.parent)
    assert (41, "near duplicate in test") in rejected(tmp_path)
    flags = {record.text: record.flags for record in prepared.validation.records()}
    assert "near_in_test" in flags[f"{said} again"]
    assert "near_in_test" not in flags["my own question about tea"]
