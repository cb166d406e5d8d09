from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data import unpacking
from metier.data.data_source import find_sources, open_source, source_hash
from metier.data.formats import data_stem, data_suffix
from metier.data.sources import read_table
from metier.data.stream import stream_rows
from metier.errors import DataError, MissingPackage

Write = Callable[..., Path]
ROWS = "text,label\n" + "".join(f"this is text number {number},{number % 3}\n" for number in range(2000))


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)  # type: ignore[no-any-return]


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}


def zipped(files: dict[str, bytes | str], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_read_as_what_is_in_it(write: Write, ending: str) -> None:
    plain = read_table(write("plain.csv", ROWS))
    packed = read_table(write(f"d.csv.{ending}", PACK[ending](ROWS.encode())))
    assert (packed.rows, packed.row_numbers, packed.notices) == (plain.rows, plain.row_numbers, ())
    assert packed.source.format == "csv"
    unnamed = read_table(write("d", PACK[ending](b'{"a": 1}\n{"a": 2}\n')))
    assert (unnamed.source.format, unnamed.notices) == ("jsonl", ("d: read as jsonl, by its content",))


@pytest.mark.parametrize("ending", PACK)
def test_parts_behind_each_other_are_one_file(write: Write, ending: str) -> None:
    parts = [ROWS[:1000].encode(), ROWS[1000:].encode()]
    table = read_table(write(f"d.csv.{ending}", b"".join(PACK[ending](part) for part in parts)))
    assert len(table.rows) == 2000


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_that_is_cut_off_or_goes_on_is_an_error(write: Write, ending: str) -> None:
    packed = PACK[ending](ROWS.encode())
    for name, content in (("cut", packed[:-1]), ("half", packed[: len(packed) // 2]), ("more", packed + b"garbage")):
        with pytest.raises(DataError, match=rf"{name}.csv.{ending}: is damaged \({NAMES[ending]}\)\. Pack it again"):
            read_table(write(f"{name}.csv.{ending}", content))


def test_zeros_behind_a_gzip_file_are_left_out(write: Write) -> None:
    assert len(read_table(write("d.csv.gz", gzip.compress(ROWS.encode()) + bytes(9000))).rows) == 2000


@pytest.mark.parametrize("ending", [*PACK, "zip"])
def test_a_bomb_is_refused(write: Write, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**16)
    # 3 MB of one letter: every format packs that more than 250 times.
    text = "text\n" + "a" * 3_000_000
    packed = zipped({"d.csv": text}) if ending == "zip" else PACK[ending](text.encode())
    with pytest.raises(DataError, match="becomes more than 250 times larger when it is unpacked, as an attack does"):
        read_table(write(f"d.csv.{ending}", packed))


def test_a_bomb_that_lies_about_its_size_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**16)
    packed = zipped({"d.csv": "text\n" + "a" * 3_000_000})
    size, lie = (3_000_005).to_bytes(4, "little"), (50_000).to_bytes(4, "little")
    with pytest.raises(DataError, match=r"is damaged \(zip\)|250 times"):
        read_table(write("d.zip", packed.replace(size, lie)))


def test_a_missing_zstandard_says_how_to_install_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("d.csv.zst", zstd(ROWS.encode()))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingPackage, match="zstandard: is needed for files packed with zstd, and not installed"):
        read_table(path)


def test_names_without_what_packs_them() -> None:
    assert [data_suffix(Path(f"a.csv.{ending}")) for ending in PACK] == [".csv"] * 4
    assert data_stem(Path("Train.jsonl.zst")) == "train"


def test_files_in_an_archive_are_sources_of_their_own(write: Write) -> None:
    inside: dict[str, bytes | str] = {
        "b/test.jsonl": '{"text": "y"}\n', "a/train.csv": "text\nx\n", "readme.pdf": "-", "__MACOSX/a/._train.csv": "-",
        "a/.hidden.csv": "-", "c.csv.gz": gzip.compress(b"text\nz\n"),
    }  # fmt: skip
    path = write("pile.zip", zipped(inside))
    sources = find_sources(path)
    assert [source.name for source in sources] == ["pile.zip/a/train.csv", "pile.zip/b/test.jsonl", "pile.zip/c.csv.gz"]
    assert [row["text"] for source in sources for batch in stream_rows(source) for row in batch.rows] == ["x", "y", "z"]
    assert len({source_hash(source) for source in sources}) == 3
    message = r"holds 3 data files \(a/train\.csv, b/test\.jsonl, c\.csv\.gz\), wanted one\. Name it, such as pile"
    with pytest.raises(DataError, match=message):
        read_table(path)
    assert read_table(path / "b/test.jsonl").rows == [{"text": "y"}]
    assert read_table(path / "a/train.csv").source.name == "pile.zip/a/train.csv"
    with pytest.raises(DataError, match=r"holds no file a/trian\.csv, wanted one that is there\. Did you mean a/train"):
        read_table(path / "a/trian.csv")


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_formats_in_which_reading_jumps_can_be_packed(write: Write, form: str) -> None:
    import openpyxl  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(pa.table({"text": ["a", "b"]}), sink)
    else:
        book = openpyxl.Workbook()
        for cell in ("text", "a", "b"):
            book.active.append([cell])
        book.save(sink)
    archive = zipped({f"d.{form}": sink.getvalue()}, zipfile.ZIP_STORED)
    for path in (write(f"d.{form}.gz", gzip.compress(sink.getvalue())), write("d.zip", archive)):
        table = read_table(path)
        assert (table.source.format, table.rows) == (form, [{"text": "a"}, {"text": "b"}])


@pytest.mark.parametrize("name", ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "C:\\evil.csv", "..\\evil.csv"])
def test_an_archive_that_climbs_out_is_refused(write: Write, name: str) -> None:
    with pytest.raises(DataError, match="which leads out of the folder that it is unpacked to, wanted names inside"):
        find_sources(write("d.zip", zipped({"fine.csv": "a\n1\n", name: "a\n1\n"})))


def test_an_encrypted_archive_and_one_with_two_of_a_name_are_refused(write: Write) -> None:
    plain = bytearray(zipped({"d.csv": "a\n1\n"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        plain[plain.index(mark) + offset] |= 1
    with pytest.raises(DataError, match=r"holds d\.csv, which is encrypted. Unpack it with its password first"):
        find_sources(write("d.zip", bytes(plain)))
    twice = zipped({"a.csv": "a\n1\n", "b.csv": "a\n2\n"}).replace(b"b.csv", b"a.csv")
    with pytest.raises(DataError, match=r"holds two files called a\.csv, wanted one"):
        find_sources(write("e.zip", twice))


def test_an_archive_whose_bytes_changed_is_an_error(write: Write) -> None:
    packed = bytearray(zipped({"d.csv": ROWS}, zipfile.ZIP_STORED))
    packed[500] ^= 1
    with pytest.raises(DataError, match=r"d.zip/d.csv: is damaged \(zip\)"):
        read_table(write("d.zip", bytes(packed)))


def test_nothing_is_unpacked_beside_the_file(write: Write) -> None:
    path = write("d.zip", zipped({"d.csv": ROWS}))
    with open_source(find_sources(path)[0]) as file:
        assert file.read(4) == b"text"
    assert [other.name for other in path.parent.iterdir()] == ["d.zip"]
