"""Splits by time: test is the newest, train the oldest, and nothing is torn."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.prepared import PreparedData
from metier.data.records import Choice
from metier.data.roster import Roster, RosterBuilder
from metier.data.splitting import cut_by_time
from metier.errors import DataError
from metier.store.fingerprint import text_sha256

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
Row = tuple[int, str | None]
"""Date and group."""


def roster_of(rows: list[Row]) -> Roster:
    builder = RosterBuilder()
    for row, (when, group) in enumerate(rows):
        record = Choice(id="", text=f"text{row}", label="ab"[row % 2], group=group, source="f", row=row)
        builder.add(record, text_sha256(f"text{row}")[:16], 0, when=float(when))
    return builder.roster()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.none() | st.sampled_from("GHI")), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
)
def test_what_is_taken_is_newer_and_nothing_is_torn(rows: list[Row], share: float) -> None:
    roster = roster_of(rows)
    everyone = np.arange(len(rows), dtype=np.int64)
    last = {group: max(when for when, other in rows if other == group) for _, group in rows if group is not None}
    counts_by = [when if group is None else last[group] for when, group in rows]
    cut = cut_by_time(roster, everyone, share=share)
    if cut is None:
        assert len(set(counts_by)) == 1
        return
    assert sorted([*cut.rest, *cut.drawn]) == everyone.tolist()
    assert len(cut.rest) and len(cut.drawn)
    assert max(counts_by[place] for place in cut.rest) < min(counts_by[place] for place in cut.drawn) == cut.since
    # No other boundary comes nearer to the share.
    sizes = [sum(date >= since for date in counts_by) for since in set(counts_by)]
    assert abs(len(cut.drawn) - share * len(rows)) <= min(
        abs(size - share * len(rows)) for size in sizes if size < len(rows)
    )


def dated(count: int = 100, *, per_day: int = 1, form: str = "%Y-%m-%d") -> list[tuple[int, str]]:
    """Row numbers and dates, in an order that says nothing about them."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    days = [(7 * row) % count // per_day for row in range(count)]
    return [(day, (start + timedelta(days=day)).strftime(form)) for day in days]


def lines(days: list[tuple[int, str]], group: Callable[[int], str] = str) -> str:
    body = [f"text number {i},{'ab'[i % 2]},{date},{group(i)}" for i, (_, date) in enumerate(days)]
    return "\n".join(["text,label,created,thread", *body]) + "\n"


def days_of(prepared: PreparedData, days: list[tuple[int, str]]) -> list[list[int]]:
    splits = (prepared.train, prepared.validation, prepared.test)
    return [[days[record.row - 1][0] for record in split.records()] for split in splits]


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%Y-%m-%dT%H:%M:%SZ"])
def test_train_is_the_oldest_and_test_the_newest(write: Write, prepare: Prepare, form: str) -> None:
    days = dated(form=form)
    prepared = prepare(train=write("d.csv", lines(days)), time="created")
    train, validation, test = days_of(prepared, days)
    assert (train, validation, test) == (
        [day for day, _ in days if day < 68], [day for day, _ in days if 68 <= day < 80],
        [day for day, _ in days if day >= 80],
    )  # fmt: skip
    assert (
        "split by time (data.time: created): train 2025-01-01 to 2025-03-09, validation 2025-03-10 to 2025-03-21, "
        "test 2025-03-22 to 2025-04-10" in prepared.card.notices
    )


def test_rows_of_one_day_stay_together(write: Write, prepare: Prepare) -> None:
    days = dated(per_day=9)
    train, validation, test = map(set, days_of(prepare(train=write("d.csv", lines(days)), time="created"), days))
    assert max(train) < min(validation) <= max(validation) < min(test)


def test_groups_stay_whole_by_their_last_date(write: Write, prepare: Prepare) -> None:
    days = dated()
    rows = lines(days, group=lambda i: "long" if days[i][0] in (3, 99) else f"thread {i}")
    prepared = prepare(train=write("d.csv", rows), time="created", group="thread")
    train, _, test = days_of(prepared, days)
    assert 3 in test and 99 in test and 3 not in train
    notice = "1 row of test no newer than the newest of train: they belong to newer ones (group, leaks)"
    assert notice in prepared.card.notices


def test_rows_without_a_date_leave_with_that_reason(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    days = [(day, "soon" if day == 5 else "" if day == 70 else date) for day, date in dated()]
    prepared = prepare(train=write("d.csv", lines(days)), time="created")
    assert prepared.card.rejected == {"no date": 2}
    assert "2 rows left train: no date that can be read (data.time)" in prepared.card.notices
    rejected = (tmp_path / "prepared" / "rejected.jsonl").read_text(encoding="utf-8")
    assert rejected.count("`created` is empty, or holds no date that can be read") == 2


def test_an_older_copy_of_a_test_text_leaves_train(write: Write, prepare: Prepare) -> None:
    days = dated()
    rows = lines(days) + "said again,a,2025-01-05,x\nsaid again,a,2025-04-09,y\n"
    prepared = prepare(train=write("d.csv", rows), time="created")
    assert prepared.card.rejected == {"also in test": 1}
    assert [record.row for record in prepared.test.records() if record.text == "said again"] == [102]


def test_official_files_are_kept_and_the_rest_is_split(write: Write, prepare: Prepare) -> None:
    days = dated()
    train = write("train.csv", lines(days))
    write("test.csv", "text,label\nfirst other,a\nsecond other,b\n")
    prepared = prepare(train=train.parent, time="created")
    assert len(prepared.test) == 2
    older, newer = days_of(prepared, days)[:2]
    assert max(older) < min(newer)
    assert any(notice.startswith("split by time (data.time: created): train 2025") for notice in prepared.card.notices)
    write("dev.csv", "text,label\nthird other,a\nfourth other,b\n")
    both = prepare(train=train.parent, time="created", folder="both")
    assert len(both.train) == 100
    assert "data.time has no effect: validation and test are files of their own" in both.card.notices


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["never"] * 40, r"data.time: is `created`, in which no row of train has a date that can be read"),
        (["2025-01-01"] * 40, "by which all rows that test is drawn from belong to one date, wanted two dates or more"),
        (
            ["2025-01-01"] * 20 + ["2025-01-02"] * 20,
            "by which all rows that validation is drawn from belong to one date, wanted two dates or more",
        ),
    ],
)
def test_too_few_dates_are_an_error(write: Write, prepare: Prepare, dates: list[str], message: str) -> None:
    rows = lines([(0, date) for date in dates])
    with pytest.raises(DataError, match=message):
        prepare(train=write("d.csv", rows), time="created")


def test_a_column_that_is_not_there_is_an_error(write: Write, prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"data.time: there is no column `creatd` in d.csv.* Did you mean `created`"):
        prepare(train=write("d.csv", lines(dated())), time="creatd")


def test_conversations_are_split_by_time_too(write: Write, prepare: Prepare) -> None:

    days = dated(60)
    rows = [{"question": f"q {i}", "answer": f"a {i}", "at": date} for i, (_, date) in enumerate(days)]
    train = write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    prepared = prepare(task="generation", train=train, time="at")
    older, middle, newest = days_of(prepared, days)
    assert max(older) < min(middle) <= max(middle) < min(newest)
