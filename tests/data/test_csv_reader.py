from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.batches import FileFacts, ReadRow
from metier.data.csv_reader import csv_rows
from metier.data.records import Rejected
from metier.data.table import ReadOptions
from metier.errors import DataError


class Content:
    """All rows of a file, every row with every column."""

    def __init__(self, data: bytes, options: ReadOptions) -> None:
        facts = FileFacts()
        items = list(csv_rows(io.BytesIO(data), options, facts))
        read = [item for item in items if isinstance(item, ReadRow)]
        self.columns = tuple(facts.columns)
        self.rows = [{name: row.cells.get(name) for name in self.columns} for row in read]
        self.row_numbers = [row.number for row in read]
        self.broken = [item for item in items if isinstance(item, Rejected)]
        self.repaired = {row.number: row.repair for row in read if row.repair}
        self.encoding, self.delimiter, self.notices = facts.encoding, facts.delimiter, tuple(facts.notices)


def read(text: str | bytes, **options: str) -> Content:
    data = text.encode("utf-8") if isinstance(text, str) else text
    return Content(data, ReadOptions(name="file.csv", **options))


def texts(content: Content) -> list[str | None]:
    return [row[content.columns[0]] for row in content.rows]


# What csv.reader also reads: no carriage returns (they become line feeds), no NUL.
cells = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=12)
wild_cells = st.text(st.sampled_from('a"\n,;\t |é'), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(cells | wild_cells, cells | wild_cells, st.sampled_from("xy")), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_written_table_is_read_back_exactly(
    rows: list[tuple[str, str, str]], delimiter: str, line_end: str, quoting: int
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([("text column", "note column", "label"), *rows])
    content = read(file.getvalue(), delimiter=delimiter)
    assert [tuple(row.values()) for row in content.rows] == rows
    assert not content.broken
    assert content.row_numbers == list(range(1, len(rows) + 1))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from('ab"\n,\r'), max_size=60))
def test_any_text_is_read_without_an_error_and_every_row_is_counted(text: str) -> None:
    content = read("text,label\n" + text + "\nlast row,yes\n")
    numbers = sorted([*content.row_numbers, *(row.row for row in content.broken)])
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(set(row) == {"text", "label"} for row in content.rows)


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        pytest.param("only one field", "line 3: 1 field, wanted 2", id="too few fields"),
        pytest.param("one, two, three", "line 3: 3 fields, wanted 2", id="too many fields"),
        pytest.param("a,b,,", "line 3: 4 fields, wanted 2", id="empty cells at the end"),
        pytest.param('"never closed,b', "line 3: a quote that is never closed", id="unclosed quote"),
        pytest.param(
            '"he said "hello" twice",b', "line 3: a quote inside a quoted field that is not", id="inner quote"
        ),
        pytest.param('"a, b, c"', "line 3: 1 field, wanted 2 (the row is quoted whole)", id="quoted whole, odd width"),
    ],
)
def test_a_broken_row_is_rejected_alone(bad: str, detail: str) -> None:
    content = read(f'text,label\nfirst,x\n{bad}\nthird,y\n"fourth, quoted",y\n"fi""fth",x\n')
    assert [row.detail[: len(detail)] for row in content.broken] == [detail]
    assert content.broken[0].row == 2
    assert content.broken[0].content == bad
    assert texts(content) == ["first", "third", "fourth, quoted", 'fi"fth']
    assert content.row_numbers == [1, 3, 4, 5]


def test_an_unclosed_quote_does_not_join_with_a_quote_far_below() -> None:
    lines = [f"text {i},x" for i in range(50)]
    lines[10] = '"open for ever,x'
    lines[40] = 'a screen of 5" or so,x,one too many'
    content = read("\n".join(["text,label", *lines]))
    assert [row.row for row in content.broken] == [11, 41]
    assert len(content.rows) == 48


def test_the_rest_of_a_broken_quoted_text_is_not_taken_for_a_row() -> None:
    content = read('text,label\n"He said "hello"\nand left\nthe room",x\nnext,y\n')
    assert texts(content) == ["next"]
    assert [row.row for row in content.broken] == [1]
    assert content.broken[0].content.endswith('the room",x')


def test_a_valid_row_that_may_have_swallowed_others_is_named() -> None:
    content = read('text,label\n"open,x\na,x\nb,y\nc,x\nd,y\na 5",x\n')
    assert content.notices == ("file.csv: lines in row 1 look like rows of their own: is a quote left open?",)


def test_rows_quoted_whole_are_split_again_and_named() -> None:
    content = read('flags,text,label\nB,hello,x\n"C,""good bye, all"",y"\n')
    assert content.rows[1] == {"flags": "C", "text": "good bye, all", "label": "y"}
    assert content.repaired == {2: "quoted whole"}
    assert content.notices == ("file.csv: 1 row quoted whole, split again (row 2)",)


def test_an_unquoted_tab_separated_file_keeps_its_quotes() -> None:
    content = read('text\tlabel\n"hello" he said\tx\n"open\ty\n"quoted"\tx\n', suffix=".tsv")
    assert texts(content) == ['"hello" he said', '"open', "quoted"]
    assert content.repaired == {1: "quotes taken as text", 2: "quotes taken as text"}


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        pytest.param("text,label\na; b,x\n", ",", id="comma"),
        pytest.param("text;label\na, b;x\nc, d;y\n", ";", id="semicolon"),
        pytest.param("text\tlabel\na, b\tx\n", "\t", id="tab"),
        pytest.param("text|label\na, b|x\n", "|", id="bar"),
        pytest.param('"text, long";label\n"a, b";x\n', ";", id="comma in a quoted header"),
        pytest.param("text\nonly one column\n", ",", id="one column"),
    ],
)
def test_the_delimiter_is_found(text: str, delimiter: str) -> None:
    assert read(text).delimiter == delimiter


def test_quoted_line_breaks_and_blank_lines() -> None:
    content = read('\ntext,label\r\n"two\r\nlines",x\r\n\r\nlast,y\r\n\r\n')
    assert texts(content) == ["two\nlines", "last"]
    assert content.row_numbers == [1, 2]


def test_columns_without_a_name_are_ignored_and_names_made_unique() -> None:
    content = read(",Unnamed: 1,text,text,label\n0,9,a,b,x\n")
    assert content.rows == [{"text": "a", "text_2": "b", "label": "x"}]
    assert content.notices == (
        "file.csv: two columns are called `text`; the later one is read as `text_2`",
        "file.csv: 2 columns without a name ignored",
    )


def test_rows_of_another_encoding_are_named() -> None:
    lines = ["text,label", "café,x", "plain,y", "naïve,x"]
    data = b"\n".join(line.encode("cp1252" if "na" in line else "utf-8") for line in lines)
    content = read(data)
    assert texts(content) == ["café", "plain", "naïve"]
    assert content.notices == ("file.csv: UTF-8 except in row 3, read as Windows-1252",)
    assert content.encoding == "utf-8 and windows-1252"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('"text,label\na,b\n', "the header has a quote that is never closed", id="header quote"),
        pytest.param(",,\n1,2,3\n", "has no column names in its first row, wanted a header", id="no names"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text)


def test_a_delimiter_of_two_characters_is_an_error() -> None:
    with pytest.raises(DataError, match=r"data.delimiter: is '::', wanted one character"):
        read("a::b\n", delimiter="::")


def test_a_header_that_comes_again_is_rejected() -> None:
    content = read("text,label\na,x\ntext,label\nb,y\n")
    assert texts(content) == ["a", "b"]
    assert [row.detail for row in content.broken] == ["line 3: the header again"]
