"""Files that were damaged on their way end in a clear error or in counted rows, never in a traceback or a hang.

Small real files of every format, changed at the level of bytes. One seed, so that a failure can be repeated; the
file that failed is named by its number.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.data_source import find_sources
from metier.data.sources import read_table
from metier.data.stream import HowToRead, stream_rows
from metier.errors import DataError

RealData = Callable[[str], Path]
Write = Callable[..., Path]
SLOWEST = 30.0
"""Seconds that one file of some kB may take; they take milliseconds, but machines are busy."""
MARKS = [b'"', b"\n", b"\r", b"{", b"]", b",", b"\\", b"<", b"&", b"\xff\xfe", b"\t"]
STARTS = [b"", b"[{", b'{"a":', b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"(\xb5/\xfd",
          b"<?xml", b"\xff\xfe", b"a,b\n", b"\xef\xbb\xbf["]  # fmt: skip
XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<rows>\n'
    + "".join(
        f'<row id="{n}"><text lang="de">Grüße &amp; mehr {n}</text><label>{n % 2}</label></row>\n' for n in range(40)
    )
    + "</rows>\n"
)


@pytest.fixture(scope="module")
def originals(real_data: RealData) -> Mapping[str, bytes]:
    """The first rows of real data sets, in every format and packing that is read."""
    place = real_data(".")

    def head(path: str, lines: int) -> bytes:
        with (place / path).open("rb") as file:
            return b"".join(next(file) for _ in range(lines))

    text = head("customer_support/banking77/train.csv", 60)
    objects = head("legal/cuad_clauses/clauses_train.jsonl", 15)
    listed = json.loads((place / "instruction/sharegpt_demo/identity.json").read_bytes())[:20]
    keyed = dict(list(json.loads((place / "legal/plain_english_contracts/tldrlegal_v1.json").read_bytes()).items())[:8])
    table = pq.read_table(place / "general/gsm8k/test.parquet").slice(0, 60)
    parquet, arrow, book, archive = (io.BytesIO() for _ in range(4))
    pq.write_table(table, parquet)
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    sheet = openpyxl.Workbook()
    for row in ("text,label", "one,1", "two,2", "three,3"):
        sheet.active.append(row.split(","))
    sheet.save(book)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("train.csv", text)
        packed.writestr("test.jsonl", objects)
    made = {
        "csv": text,
        "tsv": head("customer_support/multidogo_software/train.tsv", 60),
        "jsonl": objects,
        "list.json": json.dumps(listed, ensure_ascii=False).encode(),
        "lines.json": json.dumps(listed, ensure_ascii=False, indent=1).encode(),
        "keyed.json": json.dumps(keyed).encode(),
        "utf16.csv": text.decode().encode("utf-16"),
        "txt": text,
        "xml": XML.encode(),
        "parquet": parquet.getvalue(),
        "arrow": arrow.getvalue(),
        "xlsx": book.getvalue(),
        "zip": archive.getvalue(),
        "csv.gz": gzip.compress(text),
        "csv.bz2": bz2.compress(text),
        "jsonl.xz": lzma.compress(objects),
    }
    zstandard = pytest.importorskip("zstandard")
    return {**made, "csv.zst": zstandard.ZstdCompressor().compress(text)}


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes as disks, lines and hands make them."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, size = chance.randrange(len(out) + 1), chance.choice([1, 1, 2, 8, 64, 512])
        kind = chance.randrange(8)
        if kind == 0:  # cut off
            del out[place:]
        elif kind == 1:  # lost
            del out[place : place + size]
        elif kind == 2:  # twice
            out[place:place] = out[place : place + size]
        elif kind == 3:  # noise
            out[place : place + size] = chance.randbytes(size)
        elif kind == 4 and out:  # a flipped bit
            out[place % len(out)] ^= 1 << chance.randrange(8)
        elif kind == 5:  # zeros, as a disk leaves them
            out[place : place + size] = bytes(size)
        elif kind == 6:  # what formats mean something by
            out[place:place] = chance.choice(
                [b'"', b"\n", b"\r", b"{", b"]", b",", b"\\", b"<", b"&", b"\xff\xfe", b"\t"]
            )
        else:  # pieces exchanged
            other = chance.randrange(len(out) + 1)
            piece = bytes(out[place : place + size])
            out[place : place + size] = out[other : other + size]
            out[other : other + size] = piece
    return bytes(out)


def damaged_inside(data: bytes, chance: random.Random) -> bytes:
    """A zip file with damage in one of its parts, which its own checksums do not show."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        hit = chance.choice(old.namelist())
        for part in old.namelist():
            new.writestr(part, damaged(old.read(part), chance) if part == hit else old.read(part))
    return sink.getvalue()


def read(path: Path) -> tuple[int, str]:
    """Rows read and rejected, or the error in our words; any other exception is a failure."""
    rows = 0
    try:
        for source in find_sources(path):
            numbers: list[int] = []
            stream = stream_rows(source, HowToRead(records=".//row" if ".xml" in path.name else None))
            for batch in stream:
                numbers += [*batch.row_numbers, *(row.row for row in batch.broken)]
                assert all(row.reason and row.detail for row in batch.broken)
            assert len(set(numbers)) == len(numbers) == stream.summary().source.rows
            rows += len(numbers)
    except DataError as error:
        assert error.where and error.found
        return 0, str(error)
    return rows, ""


def run(originals: Mapping[str, bytes], folder: Path, numbers: Iterator[int]) -> tuple[int, int]:
    """Damaged files that ended in rows, and in an error."""
    names = sorted(originals)
    read_count = refused = 0
    for number in numbers:
        chance = random.Random(number)
        name = names[number % len(names)]
        path = folder / f"d.{name}"
        inside = name in ("xlsx", "zip") and chance.random() < 0.7
        path.write_bytes((damaged_inside if inside else damaged)(originals[name], chance))
        start = time.monotonic()
        try:
            rows, _ = read(path)
        except Exception as error:
            raise AssertionError(f"damaged file {number} ({name}): {type(error).__name__}: {error}") from error
        assert time.monotonic() - start < SLOWEST, f"damaged file {number} ({name}) takes for ever"
        read_count += rows > 0
        refused += rows == 0
    return read_count, refused


def test_originals_are_read_whole(originals: Mapping[str, bytes], tmp_path: Path) -> None:
    for name, data in originals.items():
        path = tmp_path / f"d.{name}"
        path.write_bytes(data)
        rows, error = read(path)
        assert rows > 2, f"{name}: {error}"


def test_damaged_files_end_in_rows_or_in_an_error(originals: Mapping[str, bytes], tmp_path: Path) -> None:
    read_count, refused = run(originals, tmp_path, iter(range(320)))
    # Most damage to texts costs single rows; most damage to what is packed is refused.
    assert read_count > 60
    assert refused > 60


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_damaged_files_end_in_rows_or_in_an_error(originals: Mapping[str, bytes], tmp_path: Path) -> None:
    read_count, refused = run(originals, tmp_path, iter(range(1000, 11_000)))
    assert read_count + refused == 10_000


def test_one_changed_byte_costs_few_rows_of_a_text_table(originals: Mapping[str, bytes], tmp_path: Path) -> None:
    for name in ("csv", "jsonl", "lines.json"):
        path = tmp_path / f"d.{name}"
        path.write_bytes(originals[name])
        whole = len(read_table(path).rows)
        for number in range(20):
            chance = random.Random(number)
            data = bytearray(originals[name])
            data[chance.randrange(200, len(data))] = chance.choice(b'x",}{')
            path.write_bytes(bytes(data))
            assert len(read_table(path).rows) >= whole - 12, f"{name} {number}"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from(STARTS),
    name=st.sampled_from(["d", "d.csv", "d.json", "d.jsonl", "d.xlsx", "d.parquet", "d.xml", "d.csv.gz", "d.zip"]),
)
def test_any_bytes_end_in_rows_or_in_an_error(write: Write, data: bytes, start: bytes, name: str) -> None:
    read(write(name, start + data))
