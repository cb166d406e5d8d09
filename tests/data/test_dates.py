"""Dates in cells: what is read, what is refused, and that days and months are never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.dates import DAY_FIRST, MONTH_FIRST, Clock, read_date, said_date
from metier.data.sources import read_table
from metier.data.table import Table
from metier.errors import DataError


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("2026-01-31", "2026-01-31"),
        ("2026-1-5", "2026-01-05"),
        ("2026/01/31", "2026-01-31"),
        ("2026.01.31", "2026-01-31"),
        ("2026-01", "2026-01-01"),
        ("2026", "2026-01-01"),
        ("2026.0", "2026-01-01"),
        ("20260131", "2026-01-31"),
        ("20260131102030", "2026-01-31T10:20:30"),
        (" 2026-01-31  10:20 ", "2026-01-31T10:20"),
        ("2026-01-31T10:20:30Z", "2026-01-31T10:20:30"),
        ("2026-01-31T10:20:30.123456789Z", "2026-01-31T10:20:30.123456"),
        ("2026-01-31T10:20:30+02:00", "2026-01-31T08:20:30"),
        ("2026-01-31 10:20:30 -0530", "2026-01-31T15:50:30"),
        ("2026-01-31 10:20:30 UTC", "2026-01-31T10:20:30"),
        ("2026-W05-6", "2026-01-31"),
        ("20260131T102030Z", "2026-01-31T10:20:30"),
        ("31 January 2026", "2026-01-31"),
        ("31 Jan 2026 10:20", "2026-01-31T10:20"),
        ("31-Jan-2026", "2026-01-31"),
        ("January 31, 2026", "2026-01-31"),
        ("Jan. 31st, 2026", "2026-01-31"),
        ("Sept 3, 2026", "2026-09-03"),
        ("January 2026", "2026-01-01"),
        ("Sat, 31 Jan 2026 10:20:30 +0100", "2026-01-31T09:20:30"),
        ("Sat Jan 31 10:20:30 +0000 2026", "2026-01-31T10:20:30"),
        ("Sat Jan 31 10:20:30 2026", "2026-01-31T10:20:30"),
        ("1769854830", "2026-01-31T10:20:30"),
        ("1769854830.5", "2026-01-31T10:20:30.5"),
        ("1769854830000", "2026-01-31T10:20:30"),
        ("05/05/2026", "2026-05-05"),
    ],
)
def test_dates_that_say_one_thing_are_read(cell: str, wanted: str) -> None:
    assert read_date(cell) == pytest.approx(seconds(wanted), abs=1e-5)


@pytest.mark.parametrize(
    "cell",
    [
        "", " ", "soon", "31", "123456", "99999999", "20261331", "2026-13-01", "2026-02-30", "3 Foo 2026", "May",
        "in March 2026 we met", "2026-01-31 25:00", "03/04/2026", "-5", "1.5", "January", "2026-01-31 10:20:30 +9999",
    ],
)  # fmt: skip
def test_what_is_no_date_or_two_is_not_read(cell: str) -> None:
    assert read_date(cell) is None


def test_days_and_months_are_read_in_the_order_of_the_file() -> None:
    assert read_date("03/04/2026", DAY_FIRST) == seconds("2026-04-03")
    assert read_date("03/04/2026", MONTH_FIRST) == seconds("2026-03-04")
    assert read_date("3.4.26 1:05 pm", DAY_FIRST) == seconds("2026-04-03T13:05")
    assert read_date("12/31/99 12:30 AM", MONTH_FIRST) == seconds("1999-12-31T00:30")
    assert read_date("31/12/2026", MONTH_FIRST) is None


def table(tmp_path: Path, dates: list[str], name: str = "d.csv") -> Table:
    path = tmp_path / name
    path.write_text("text,when\n" + "".join(f"text {i},{date}\n" for i, date in enumerate(dates)), encoding="utf-8")
    return read_table(path)


def test_each_file_says_itself_what_comes_first(tmp_path: Path) -> None:
    one = table(tmp_path, ["03/04/2026", "31/01/2026", ""], "one.csv")
    two = table(tmp_path, ["03/04/2026", "01/31/2026"], "two.csv")
    three = table(tmp_path, ["03.04.2026"], "three.csv")
    clock = Clock.of("when", {"train": [one, two], "test": [three]})
    first = [clock.when(each.rows[0], each.source.name) for each in (one, two, three)]
    assert first == [seconds("2026-04-03"), seconds("2026-03-04"), seconds("2026-04-03")]
    assert clock.when(one.rows[2], "one.csv") is None


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["03/04/2026", "05/06/2026"], r"in `when` of d.csv nothing tells days from months \(rows 1, 2\), wanted"),
        (
            ["31/04/2026", "05/16/2026"],
            r"`when` of d.csv has the day first in row 1 and the month in row 2, wanted one order. Write the dates as",
        ),
    ],
)
def test_an_order_that_cannot_be_told_is_an_error(tmp_path: Path, dates: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"data.time: {message}") as caught:
        Clock.of("when", {"train": [table(tmp_path, dates)]})
    assert "2026-01-31" in str(caught.value) and dates[0] not in str(caught.value)


def test_a_column_that_is_not_there_is_an_error_for_train_only(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.time: there is no column `date` in d.csv"):
        Clock.of("date", {"train": [table(tmp_path, ["2026-01-31"])]})
    other = tmp_path / "test.csv"
    other.write_text("text\nhello\n", encoding="utf-8")
    clock = Clock.of("when", {"train": [table(tmp_path, ["2026-01-31"])], "test": [read_table(other)]})
    assert clock.when({"text": "hello"}, "test.csv") is None


def test_without_a_column_there_are_no_dates() -> None:
    assert Clock.of(None, {}).when({"when": "2026-01-31"}, "d.csv") is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2199, 12, 31)))
def test_what_is_said_is_read_again(moment: datetime) -> None:
    minute = moment.replace(second=0, microsecond=0, tzinfo=UTC)
    assert read_date(said_date(minute.timestamp())) == minute.timestamp()
    assert said_date(minute.timestamp()).startswith(minute.date().isoformat())


@given(st.text(max_size=30))
def test_any_cell_is_a_date_or_none(cell: str) -> None:
    found = read_date(cell, DAY_FIRST)
    assert found is None or said_date(found)


@given(st.integers(0, 40_000))
def test_order_is_kept(days: int) -> None:
    day = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(days=days)
    one, two = read_date(day.strftime("%Y-%m-%d")), read_date((day + timedelta(days=1)).strftime("%d %B %Y"))
    assert one is not None and two is not None and one < two
