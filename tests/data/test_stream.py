from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data import decoding, text_window
from metier.data.batches import FileFacts, ReadRow, RowReader
from metier.data.csv_reader import csv_rows
from metier.data.decoding import TextBlocks
from metier.data.json_reader import json_rows, jsonl_rows
from metier.data.records import Rejected
from metier.data.stream import HowToRead, stream_rows
from metier.data.table import ReadOptions, cell_text
from metier.errors import DataError

Write = Callable[..., Path]
Small = Callable[..., None]
FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """Makes blocks and the longest line as small as a test wants them."""

    def shrink(block: int, longest: int = decoding.MOST_LINE) -> None:
        monkeypatch.setattr(decoding, "BLOCK", block)
        monkeypatch.setattr(decoding, "_HEAD", block)
        monkeypatch.setattr(decoding, "MOST_LINE", longest)
        monkeypatch.setattr(text_window, "MOST_LINE", longest)

    yield shrink


def read(reader: RowReader, data: bytes, **options: str) -> tuple[list[ReadRow | Rejected], FileFacts]:
    facts = FileFacts()
    return list(reader(io.BytesIO(data), ReadOptions(name="f", **options), facts)), facts


@FEW
@given(text=st.text(st.sampled_from('ab"\n,\r é'), max_size=80), block=st.integers(1, 30))
def test_a_table_is_read_alike_however_it_is_cut(small: Small, text: str, block: int) -> None:
    data = f"text,label\n{text}\nlast row,yes\n".encode()
    small(2**20)
    whole, about = read(csv_rows, data, delimiter=",")
    small(block)
    assert read(csv_rows, data, delimiter=",") == (whole, about)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(['"', "}", "],[", "\\", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab[", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@FEW
@given(items=st.lists(values, min_size=1, max_size=5), block=st.integers(1, 30), indent=st.sampled_from([None, 1]))
def test_a_json_list_is_read_as_python_reads_it(small: Small, items: list[Any], block: int, indent: int | None) -> None:
    small(block)
    found, _ = read(json_rows, json.dumps(items, ensure_ascii=False, indent=indent).encode("utf-8", "surrogatepass"))
    for number, (item, row) in enumerate(zip(items, found, strict=True), start=1):
        if isinstance(item, dict):
            cells = {key.strip(): cell_text(value) for key, value in item.items() if key.strip()}
            assert row == ReadRow(number, cells)
        else:
            assert isinstance(row, Rejected)
            assert (row.row, json.loads(row.content)) == (number, item)


@FEW
@given(
    text=st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=60),
    block=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-7", "gb18030"]),
)
def test_text_is_decoded_alike_however_it_is_cut(small: Small, text: str, block: int, encoding: str) -> None:
    small(block)
    text = "x" + text
    assert "".join(TextBlocks(io.BytesIO(text.encode(encoding)), name="f", encoding=encoding)) == text


@FEW
@given(data=st.binary(max_size=60), block=st.integers(1, 9))
def test_any_bytes_become_text_with_the_same_lines(small: Small, data: bytes, block: int) -> None:
    data = b"x\n" + data.replace(b"\0", b"")
    small(2**20)
    whole = TextBlocks(io.BytesIO(data), name="f")
    wanted = "".join(whole)
    small(block)
    blocks = TextBlocks(io.BytesIO(data), name="f")
    text = "".join(blocks)
    assert text.count("\n") == wanted.count("\n")
    # A line that is cut may be UTF-8 in one part and not in the other; all else is decided alike.
    assert (text == wanted) or whole.encoding != "utf-8"
    assert (blocks.encoding == "utf-8") == (whole.encoding == "utf-8")


@pytest.mark.parametrize("margin", ["", "  "])
def test_a_broken_item_of_a_json_list_is_rejected_alone_with_its_line(margin: str) -> None:
    lines = ['{"a": "1"}', '{"a": "2" "b": 3}', '{"a": "4"', '{"a": ["5"}', '{"a": "6}', "nonsense", '{"a": "7"}']
    found, facts = read(json_rows, ("[\n" + ",\n".join(margin + line for line in lines) + "\n]").encode())
    rows = [(row.number, row.cells["a"]) for row in found if isinstance(row, ReadRow)]
    broken = [(row.detail, row.content) for row in found if isinstance(row, Rejected)]
    assert rows == [(1, "1"), (7, "7")]
    assert broken == [(f"row {n} (line {n + 1}): no valid JSON", lines[n - 1]) for n in range(2, 7)]
    assert list(facts.columns) == ["a"]


def test_the_last_item_of_a_json_list_may_be_the_broken_one() -> None:
    found, _ = read(json_rows, b'[\n{"a": "1"},\n{"a": ["2"}\n]\n')
    assert [isinstance(row, Rejected) for row in found] == [False, True]


def test_a_broken_item_on_one_long_line_ends_where_its_brackets_close() -> None:
    found, _ = read(json_rows, b'[{"a": "1"}, {"a": [{"b" 2}, {}]}, {"a": "3"}]')
    assert [row.cells["a"] for row in found if isinstance(row, ReadRow)] == ["1", "3"]
    assert [row.detail for row in found if isinstance(row, Rejected)] == ["row 2 (line 1): no valid JSON"]


def test_a_missing_comma_and_a_number_of_thousands_of_digits_cost_no_neighbour() -> None:
    found, _ = read(json_rows, b'[{"a": 1} {"a": 2}, {"a": ' + b"9" * 5000 + b'}, {"a": 3}]')
    assert [row.cells["a"] for row in found if isinstance(row, ReadRow)] == ["1", "2", "3"]
    found, _ = read(jsonl_rows, b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}\n\n[" + b"[" * 9000 + b'\n{"a": 3}')
    details = [row.detail for row in found if isinstance(row, Rejected)]
    assert details == ["row 2: no valid JSON", "row 3 (line 4): no valid JSON"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "item",
    ['{"a" 1}', '{"a": "b}\n', "x", '"a', "{", '{"a": [1, "]}'],
)
def test_a_list_of_broken_items_takes_no_longer_than_its_length_wants(item: str) -> None:
    text = '[{"a": 1}, "never closed, ' + f"{item}, " * 10_000
    with pytest.raises(DataError, match="is not valid JSON at line"):
        read(json_rows, text.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('[{"a": 1},\n {"a": 2}', r"line 2, column 10 \(the list has no end\)", id="cut"),
        pytest.param('[{"a": 1},\n {"a": "2', r"line 2, column 2 \(Unterminated string", id="cut in a string"),
        pytest.param('[{"a": 1}][', r"line 1, column 11 \(Extra data", id="more"),
        pytest.param('[{"a": 1},]', r"line 1, column 11 \(Illegal trailing comma", id="comma"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "holds a number that is too long", id="number"),
        pytest.param('{"a": []}', "holds no records", id="empty column"),
    ],
)
def test_json_that_cannot_be_read_to_its_end_is_an_error(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(json_rows, text.encode())


def test_a_line_too_long_is_rejected_alone_in_every_format(small: Small) -> None:
    small(64, longest=1000)
    long = "x" * 5000
    found, _ = read(csv_rows, f"a,b\n1,2\n{long},2\n3,4\n{long}".encode(), delimiter=",")
    assert [row.row for row in found if isinstance(row, Rejected)] == [2, 4]
    assert found[1] == Rejected(
        source="f", row=2, reason="broken row", detail="line 3: a line of more than 16,777,216 characters"
    )
    found, _ = read(jsonl_rows, f'{{"a": 1}}\n{{"a": "{long}"}}\n{{"a": 2}}'.encode())
    assert [isinstance(row, Rejected) for row in found] == [False, True, False]
    with pytest.raises(DataError, match="an item has no end within"):
        read(json_rows, f'[{{"a": 1}}, {{"a": "{long}"}}]'.encode())


def test_a_quote_never_closed_does_not_take_a_long_file_along(small: Small) -> None:
    small(256, longest=2000)
    lines = ["a,b", "1,2", '"open,2', *["x,y"] * 3000, "last,row"]
    found, _ = read(csv_rows, "\n".join(lines).encode(), delimiter=",")
    assert [row.detail for row in found if isinstance(row, Rejected)] == ["line 3: a quote that is never closed"]
    assert len(found) == 3003


FORMS: dict[str, Callable[[int], str]] = {
    "csv": lambda rows: "text,label\n" + "".join(f"text number {n},x\n" for n in range(rows)),
    "tsv": lambda rows: "text\tlabel\n" + "".join(f"text number {n}\tx\n" for n in range(rows)),
    "jsonl": lambda rows: "".join(f'{{"text": "text number {n}", "label": "x"}}\n' for n in range(rows)),
    "json": lambda rows: json.dumps([{"text": f"text number {n}", "label": "x"} for n in range(rows)]),
    "lines": lambda rows: "".join(f"text number {n}\n" for n in range(rows)),
    "xml": lambda rows: f"<r>{''.join(f'<row><text>text number {n}</text></row>' for n in range(rows))}</r>",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_batches_hold_all_rows_in_order_and_progress_is_told(write: Write, form: str, packed: bool) -> None:
    content = FORMS[form](20_000).encode()
    path = write(f"d.{form}" + ".gz" * packed, gzip.compress(content, 1) if packed else content)
    told: list[tuple[int, int]] = []
    how = HowToRead(format=form, records=".//row")
    stream = stream_rows(path, how, watch=lambda done, total: told.append((done, total)), batch_rows=3000)
    with pytest.raises(ValueError, match="not read to its end"):
        stream.summary()
    batches = list(stream)
    assert [len(batch) for batch in batches] == [3000] * 6 + [2000]
    assert [row["text"] for batch in batches for row in batch.rows] == [f"text number {n}" for n in range(20_000)]
    assert [number for batch in batches for number in batch.row_numbers] == list(range(1, 20_001))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert {total for _, total in told} == {path.stat().st_size}
    assert len(told) > 1
    assert stream.summary().source.rows == 20_000
    assert [batch.rows for batch in stream] == [batch.rows for batch in batches]  # read again


def test_a_batch_of_long_texts_ends_early(write: Write) -> None:
    path = write("d.jsonl", "".join(json.dumps({"text": "x" * 2**20}) + "\n" for _ in range(20)))
    assert [len(batch) for batch in stream_rows(path)] == [8, 8, 4]


def test_rows_before_damage_stand_and_the_damage_is_an_error(write: Write) -> None:
    packed = gzip.compress(FORMS["csv"](200_000).encode(), 1)
    rows = 0
    with pytest.raises(DataError, match=r"is damaged \(gzip\)"):
        for batch in stream_rows(write("d.csv.gz", packed[: len(packed) // 2])):
            rows += len(batch)
    assert rows > 50_000


def test_an_encoding_that_was_named_wrongly_says_where(write: Write) -> None:
    path = write("d.csv", ("text\n" + "x" * 70_000 + "\nä\n").encode("cp1252"))
    with pytest.raises(DataError, match=r"is not valid utf-8 in line 3 \(byte 70006\)"):
        list(stream_rows(path, HowToRead(encoding="utf-8")))
    assert [len(batch) for batch in stream_rows(path, HowToRead(encoding="cp1252"))] == [2]
    with pytest.raises(DataError, match=r"data.encoding: is `hex`, wanted a known text encoding"):
        list(stream_rows(path, HowToRead(encoding="hex")))


def test_a_stray_zero_byte_does_not_make_a_text_binary(write: Write) -> None:
    path = write("d.csv", FORMS["csv"](500).encode().replace(b"number 77,", b"number\x0077,"))
    assert sum(len(batch) for batch in stream_rows(path)) == 500


@pytest.mark.parametrize("form", FORMS)
def test_no_more_is_read_than_a_batch_needs(write: Write, form: str) -> None:
    path = write(f"d.{form}", FORMS[form](300_000))
    told: list[int] = []
    how = HowToRead(format=form, records=".//row")
    for _ in stream_rows(path, how, watch=lambda done, _: told.append(done), batch_rows=100):
        break
    assert 0 < told[-1] < 2**21 < path.stat().st_size


@pytest.mark.slow
def test_a_large_file_passes_in_a_small_process(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    line = json.dumps({"text": "a word and another " * 50, "label": "x"}) + "\n"
    with path.open("w") as file:
        for _ in range(400):
            file.write(line * 1000)
    code = (
        "import pathlib, resource, sys\n"
        "from metier.data.stream import stream_rows\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = sum(len(batch) for batch in stream_rows(pathlib.Path(sys.argv[1])))\n"
        "print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    rows, more = map(int, done.stdout.split())
    assert (rows, more < 150) == (400_000, True), f"{more} MiB more"
