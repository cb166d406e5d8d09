"""Dates in the cells of one column, as seconds since 1970: read where they say one thing, never guessed.

Read are ISO 8601 (`2026-01-31T10:00:00Z`, `2026-01`, `2026-W05-6`), the year first with other separators, English
month names (`3 March 2026`, `Mar 3, 2026`, mail and log dates), day and month by numbers where the file itself shows
which comes first, years, and whole numbers of seconds, milli-, micro- or nanoseconds since 1970. A time without a zone
is taken as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from metier.data.paths import cell_at, check_path, reaches
from metier.data.table import RawRow, Table, rows_at
from metier.errors import DataError

DAY_FIRST, MONTH_FIRST = "day first", "month first"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = {name[:length]: number for number, name in enumerate(_MONTHS, 1) for length in (3, len(name))} | {"sept": 9}
_CLOCK = (
    r"(?:[T ,]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?\s?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_NAME = r"(?P<name>[a-z]{3,9})\.?"
_YEAR = r"(?P<year>\d{4})"
_YEAR_FIRST = re.compile(rf"{_YEAR}(?P<between>[-/.])(?P<month>\d{{1,2}})(?:(?P=between)(?P<day>\d{{1,2}}))?{_CLOCK}")
_ISO_ONLY = re.compile(r"\d{4}-?W\d{2}.*|\d{8}T\d{4}.*")
_NAMED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_WEEKDAY}{_DAY}[ -]{_NAME},?[ -]{_YEAR}{_CLOCK}",
        rf"{_WEEKDAY}{_NAME} {_DAY},? {_YEAR}{_CLOCK}",
        rf"{_WEEKDAY}{_NAME} {_DAY}{_CLOCK} {_YEAR}",
        rf"{_NAME},? {_YEAR}",
    )
)
_NUMBERS = re.compile(
    rf"(?P<one>\d{{1,2}})(?P<between>[-/.])(?P<two>\d{{1,2}})(?P=between)(?P<year>\d{{4}}|\d{{2}}){_CLOCK}"
)
_DIGITS = re.compile(r"\d+")
_WHOLE = re.compile(r"(\d+)\.0+")
_FRACTION = re.compile(r"\d{9,10}\.\d+")
_SINCE_1970 = {9: 1, 10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
"""Digits of a number -> its units in a second: to 2286, from 1973 (with 9 digits) or 2001."""
_YEARS = range(1000, 3000)
_CENTURY = 69
"""Years of two digits from here on are of the last century, as POSIX has it."""


@dataclass(frozen=True, eq=False)
class Clock:
    """Reads the dates of one column; which number is the day is settled for each file."""

    path: str | None = None
    """Column or path; None: there are no dates."""
    orders: Mapping[str, str | None] = field(default_factory=dict)
    """File -> `DAY_FIRST`, `MONTH_FIRST`, or None where no cell leaves that open."""

    @classmethod
    def of(cls, path: str | None, tables: Mapping[str, Sequence[Table]]) -> Clock:
        """Look at the files, or at many rows of each.

        Args:
            path: `data.time`.
            tables: By split. Those of train must have the column.

        Raises:
            DataError: The column is not there, or nothing says whether its dates begin with the day or the month.
        """
        if path is None:
            return cls()
        for table in tables["train"]:
            check_path(table, path, "data.time")
        several = [table for part in tables.values() for table in part if reaches(table, path)]
        return cls(path, {table.source.name: _order(table, path) for table in several})

    def when(self, row: RawRow, source: str) -> float | None:
        """Seconds since 1970 that a row says; None where it says none, or nothing that can be read.

        Args:
            row: The row as it was read.
            source: Name of its file.
        """
        return None if self.path is None else read_date(cell_at(row, self.path), self.orders.get(source))


def read_date(cell: str, order: str | None = None) -> float | None:
    """Seconds since 1970 at which the date in a cell begins; None: it holds none that can be read.

    Args:
        cell: A cell.
        order: `DAY_FIRST` or `MONTH_FIRST`, for dates such as `03/04/2026`; None: these are not read.
    """
    text = " ".join(cell.split())
    if not text:
        return None
    if (whole := _WHOLE.fullmatch(text)) is not None:
        text = whole[1]
    if _DIGITS.fullmatch(text):
        return _of_digits(text)
    if _FRACTION.fullmatch(text):
        return float(text)
    if _ISO_ONLY.fullmatch(text):
        return _of_iso(text)
    if (found := _YEAR_FIRST.fullmatch(text)) is not None:
        return _moment(found, int(found["month"]), int(found["day"] or 1))
    if (found := _NUMBERS.fullmatch(text)) is not None:
        one, two = int(found["one"]), int(found["two"])
        if order is None and one != two:
            return None
        return _moment(found, two, one) if order == DAY_FIRST else _moment(found, one, two)
    for form in _NAMED:
        found = form.fullmatch(text)
        if found is not None and found["name"].lower() in _MONTH:
            return _moment(found, _MONTH[found["name"].lower()], int(found.groupdict().get("day") or 1))
    return None


def said_date(seconds: float) -> str:
    """A moment for a message: its day, and the minute where it is not the day's first."""
    moment = _EPOCH + timedelta(seconds=float(seconds))
    return moment.strftime("%Y-%m-%d" if moment == moment.replace(hour=0, minute=0, second=0) else "%Y-%m-%d %H:%M")


def _order(table: Table, path: str) -> str | None:
    """Which number comes first in the dates of a file that begin with a day or a month."""
    cells = ((number, cell_at(row, path)) for row, number in zip(table.rows, table.row_numbers, strict=True))
    day, month, dots, open_rows = _evidence(cells)
    if day and month:
        found = f"`{path}` of {table.source.name} has the day first in {rows_at(day)} and the month in {rows_at(month)}"
        raise DataError("data.time", found, "one order", "Write the dates as 2026-01-31.")
    if day or month:
        return DAY_FIRST if day else MONTH_FIRST
    if open_rows and not dots:
        found = f"in `{path}` of {table.source.name} nothing tells days from months ({rows_at(open_rows)})"
        raise DataError("data.time", found, "dates such as 2026-01-31", "Write them so: the year first.")
    return DAY_FIRST if dots else None


def _evidence(cells: Iterable[tuple[int, str]]) -> tuple[list[int], list[int], bool, list[int]]:
    """Rows whose date must begin with the day, with the month, whether all open ones have dots, and the open rows."""
    day: list[int] = []
    month: list[int] = []
    open_rows: list[int] = []
    dots = True
    for number, cell in cells:
        found = _NUMBERS.fullmatch(" ".join(cell.split()))
        if found is None:
            continue
        one, two = int(found["one"]), int(found["two"])
        if one > 12 >= two:
            day.append(number)
        elif two > 12 >= one:
            month.append(number)
        elif one != two:
            open_rows.append(number)
            dots = dots and found["between"] == "."  # with dots, nobody puts the month first
    return day, month, dots and bool(open_rows), open_rows


def _of_digits(text: str) -> float | None:
    if len(text) in _SINCE_1970:
        return int(text) / _SINCE_1970[len(text)]
    forms = {4: "%Y", 8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
    if len(text) not in forms or int(text[:4]) not in _YEARS:
        return None
    try:
        return _seconds(datetime.strptime(text, forms[len(text)]).replace(tzinfo=UTC))
    except ValueError:
        return None


def _of_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.year not in _YEARS:
        return None
    return _seconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _moment(found: re.Match[str], month: int, day: int) -> float | None:
    """The date and, where it is there, the time of day of a match."""
    parts = found.groupdict()
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 1900 if year >= _CENTURY else 2000
    if year not in _YEARS:
        return None
    hour = int(parts.get("hour") or 0)
    if parts.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (parts["half"] in "Pp")
    try:
        moment = datetime(
            year, month, day, hour, int(parts.get("minute") or 0), int(parts.get("second") or 0),
            int((parts.get("part") or "0").ljust(6, "0")[:6]), _zone(parts.get("zone") or "Z"),
        )  # fmt: skip
    except ValueError:
        return None
    return _seconds(moment)


def _zone(name: str) -> timezone:
    if name[0] not in "+-":
        return UTC
    digits = name[1:].replace(":", "").ljust(4, "0")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-away if name[0] == "-" else away)


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()
