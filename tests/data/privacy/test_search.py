from __future__ import annotations

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import os
import sqlite3
import tarfile
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.privacy import contents, search
from metier.data.privacy.search import find_texts
from metier.errors import ArgumentError
from metier.store.fingerprint import text_sha256

NAME = "O'Xenhope & Söhne"
SENTENCE = 'She said "it hurts" after 3 km – twice'


def forms(folder: Path, *needles: str) -> set[tuple[str, int, str]]:
    return {(each.place, each.needle, each.form) for each in find_texts(folder, needles).found}


def test_a_text_is_found_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text(f"xx {NAME} and {NAME}")
    (tmp_path / "b.txt").write_text("nothing")
    found = find_texts(tmp_path, ["nobody at all", NAME])
    [exact] = [each for each in found.found if each.form == "utf-8"]
    assert (exact.place, exact.needle, exact.offset, exact.times) == ("a/notes.txt", 1, 3, 2)
    assert found.places == ("a/notes.txt",) and found.files == 2 and found.unread == ()
    assert NAME not in repr(found)


@pytest.mark.parametrize(("form", "write"), [
    ("json", lambda text: json.dumps({"said": text})),
    ("json", lambda text: json.dumps({"said": json.dumps(text)}, ensure_ascii=False)),
    ("html", html.escape),
    ("html", lambda text: text.replace("&", "&amp;").replace('"', "&#34;").replace("'", "&#39;")),
    ("html", lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode()),
    ("url", lambda text: "https://x/?q=" + urllib.parse.quote_plus(text)),
    ("url", lambda text: "https://x/" + urllib.parse.quote(text)),
    ("python", lambda text: f"ValueError: {text + chr(10)!a}"),
    ("base64", lambda text: base64.b64encode(f"a {text} b".encode()).decode()),
    ("base64", lambda text: base64.b64encode(f"ab {text} b".encode()).decode()),
    ("base64", lambda text: base64.urlsafe_b64encode(f"abc {text} b".encode()).decode()),
])  # fmt: skip
@pytest.mark.parametrize("needle", [NAME, SENTENCE])
def test_every_way_to_write_a_text(form: str, write: Callable[[str], str], needle: str, tmp_path: Path) -> None:
    written = write(needle)
    (tmp_path / "file").write_text(f"begin {written} end", encoding="utf-8")
    found = forms(tmp_path, needle)
    assert found, written
    assert {kind for _, _, kind in found} & {form, "json", "html"}


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(f"x{NAME}".encode("utf-16-le"))
    (tmp_path / "b").write_bytes(f"x{NAME}".encode("utf-16-be"))
    assert forms(tmp_path, NAME) == {("a", 0, "utf-16"), ("b", 0, "utf-16")}


def test_wrapped_and_marked_up_text_in_another_case(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("SHE SAID &quot;it\n    hurts&quot; <b>after</b>\r\n3&nbsp;km – twice")
    (tmp_path / "code.json").write_text('"she said \\"it hurts\\" after 3\\nkm – twice"')
    assert ("log.txt", 0, "folded") in forms(tmp_path, SENTENCE)
    assert not forms(tmp_path, "she said nothing of the kind")


def test_tokens_and_plain_hashes(tmp_path: Path) -> None:
    ids = [7, 1001, 70_000, 42, 9, 13, 77]
    for name, kind in (("i4", "<i4"), ("i8", "<i8")):
        (tmp_path / name).write_bytes(b"\0\1" + np.array([1, *ids, 2], kind).tobytes())
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": text_sha256("anna muster")[:16] + "-0"}))
    found = find_texts(tmp_path, ["Anna  Muster"], encode=lambda text: ids, hashes=True)
    assert {(each.place, each.form) for each in found.found} == {
        ("i4", "tokens"), ("i8", "tokens"), ("ids.json", "tokens"), ("items.jsonl", "hash")
    }  # fmt: skip
    assert not find_texts(tmp_path, ["Anna  Muster"]).found


def _zip(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/notes.txt", data)
    return made.getvalue()


def _tar(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        about = tarfile.TarInfo("notes.txt")
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    return made.getvalue()


def _zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": _zstd, "zip": _zip, "tar": _tar}


@pytest.mark.parametrize("first", PACKERS)
@pytest.mark.parametrize("second", [None, "gz", "zip", "zst"])
def test_what_is_packed_is_unpacked(first: str, second: str | None, tmp_path: Path) -> None:
    data = PACKERS[first]((SENTENCE + " " + "x" * 1000).encode())
    (tmp_path / "file.bin").write_bytes(PACKERS[second](data) if second else data)
    found = find_texts(tmp_path, [SENTENCE])
    assert found.unread == ()
    assert any(each.place.startswith("file.bin!") or first == "tar" for each in found.found), found


def test_names_in_archives_and_links(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Anna Muster.txt", "x")
        archive.comment = b"by Bert Muster"
    (tmp_path / "Clara Muster.txt").write_text("x")
    (tmp_path / "link").symlink_to("/nowhere/Dora Muster")
    people = [f"{name} Muster" for name in ("Anna", "Bert", "Clara", "Dora")]
    places = {each.needle: each.place for each in find_texts(tmp_path, people).found}
    assert places[0].startswith("a.zip") and places[1].startswith("a.zip")
    assert places[2] == "name of Clara Muster.txt" and places[3] == "link link"


def test_tables_and_databases(tmp_path: Path) -> None:
    rows = {"messages": [[{"role": "user", "content": SENTENCE}], []], "raw": [None, NAME.encode()], "n": [1, 2]}
    table = pa.table(rows).replace_schema_metadata({"note": "from Anna Muster"})
    pq.write_table(table, tmp_path / "split.parquet", compression="zstd")
    feather.write_feather(table, str(tmp_path / "split.arrow"), compression="lz4")
    with sqlite3.connect(tmp_path / "db.sqlite") as base:
        base.execute("create table notes (said)")
        base.execute("insert into notes values (?)", (SENTENCE,))
    found = forms(tmp_path, SENTENCE, NAME, "Anna Muster")
    for place in ("split.parquet", "split.arrow"):
        inside = {needle for where, needle, _ in found if where.startswith(f"{place}!")}
        assert inside == {0, 1}, place
        assert any(where == place and needle == 2 for where, needle, _ in found), place
    assert ("db.sqlite", 0, "utf-8") in found


def test_safetensors_with_metadata_and_tokens(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    ids = np.arange(100, 120, dtype=np.int64)
    save_file({"tokens": ids}, tmp_path / "chunk.safetensors", metadata={"about": SENTENCE})
    found = find_texts(tmp_path, [SENTENCE], encode=lambda text: ids[3:12].tolist())
    assert {each.form for each in found.found} >= {"json", "tokens"}


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(5000))[:-100])
    (tmp_path / "broken.zip").write_bytes(_zip(b"x" * 100)[:50])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + b"x" * 50)
    unread = find_texts(tmp_path, [SENTENCE]).unread
    assert sorted(each.partition("!")[0].partition(":")[0] for each in unread) == [
        "broken.parquet",
        "broken.zip",
        "cut.gz",
    ]
    monkeypatch.setattr(contents, "DEEPEST", 1)
    (tmp_path / "deep.gz").write_bytes(gzip.compress(gzip.compress(b"x")))
    assert "deep.gz!gz: packed more than 1 times" in find_texts(tmp_path, [SENTENCE]).unread
    monkeypatch.setattr(contents, "MOST_IN_MEMORY", 10)
    assert "deep.gz!gz: packed twice and too large" in find_texts(tmp_path, [SENTENCE]).unread


def test_short_needles_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"needle 1: has 4 characters, wanted 5 or more: less is found by chance"):
        find_texts(tmp_path, ["enough", " four "])
    with pytest.raises(ArgumentError, match="is no folder, wanted the folder of a run"):
        find_texts(tmp_path / "none", ["enough"])


def test_places_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text(SENTENCE)
    assert not find_texts(tmp_path, [SENTENCE], skip=lambda place: place == "known.txt").found


@settings(max_examples=60, deadline=None)
@given(before=st.binary(max_size=60), block=st.integers(7, 40), text=st.text(min_size=5, max_size=30))
def test_a_text_across_blocks_is_found_once(
    before: bytes, block: int, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = text.strip().encode("utf-8", "ignore").decode()
    if len(text) < 5:
        return
    data = before + text.encode() + before
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "file").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "BLOCK", block)
        found = find_texts(folder, [text]).found
    wanted = sum(data.startswith(text.encode(), place) for place in range(len(data)))
    [exact] = [each for each in found if each.form == "utf-8" and each.place == "file"]
    assert (exact.offset, exact.times) == (data.find(text.encode()), wanted)


def test_the_matcher_finds_what_a_plain_search_finds() -> None:
    random = np.random.default_rng(0)
    data = bytes(random.integers(97, 100, 20_000, dtype=np.uint8))
    for width in (5, 9):
        patterns = [(number, "", data[place : place + width]) for number, place in enumerate(range(0, 18_000, 300))]
        patterns += [(1000, "", b"zzzzzzzzzz"[:width])]
        matcher = search._Matcher(patterns)
        found = {(number, place) for number, _, place, _ in matcher.find(data)}
        wanted = {
            (number, place) for number, _, pattern in patterns for place in range(len(data))
            if data.startswith(pattern, place)
        }  # fmt: skip
        assert found == wanted


def test_every_planted_text_is_found_in_an_ordinary_folder(planted: Any, tmp_path: Path) -> None:
    """The test of a strict run is worth something only if it fails where nothing is hidden."""
    rows = planted.rows
    pq.write_table(pa.table({"text": [text for text, _ in rows[0::3]]}), tmp_path / "train.parquet", compression="zstd")
    (tmp_path / "rejected.jsonl").write_text("".join(json.dumps({"content": text}) + "\n" for text, _ in rows[1::3]))
    page = "".join(f"<p>{html.escape(text)}</p>\n" for text, _ in rows[2::3])
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    found = find_texts(tmp_path, planted.needles)
    assert len(planted.needles) == len(set(planted.needles)) == 200
    assert {each.needle for each in found.found} == set(range(200))


def test_nothing_is_found_where_nothing_is(planted: Any, tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(size=500_000).astype(np.float32)
    (tmp_path / "weights.bin").write_bytes(weights.tobytes())
    (tmp_path / "page.html").write_text("<p>On day 3 she was fine. Her dose is 12 units.</p>" * 1000)
    found = find_texts(tmp_path, planted.needles)
    assert found.found == () and found.unread == ()
