"""Files are written whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.errors import DiskFull, RunFolderError
from metier.store.files import (
    append_json_line,
    disk_full,
    is_leftover,
    read_json,
    read_json_lines,
    remove_leftovers,
    whole_folder,
    write_bytes,
    write_json,
    write_text,
)


def _fail(code: int) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


def test_written_bytes_are_read_back_and_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.bin"
    write_bytes(path, b"\x00\r\n\xff")
    assert path.read_bytes() == b"\x00\r\n\xff"
    write_text(path, "zwei\n")
    assert path.read_bytes() == b"zwei\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.bin"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_bytes(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["no space", "quota"])
def test_a_full_disk_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")
    monkeypatch.setattr(os, call, _fail(code))
    with pytest.raises(
        DiskFull, match=r"results\.json: no space left on the device\. Free some space or set"
    ) as caught:
        write_text(path, "new")
    assert caught.value.exit_code == 5
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_write_error_says_what_the_system_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", _fail(errno.EACCES))
    with pytest.raises(RunFolderError, match=r"x: cannot be written \(Permission denied\)\. Choose another --output"):
        write_text(tmp_path / "x", "new")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_text(tmp_path / "a" / "b", "")


KILLED = """
import os, signal, sys
from pathlib import Path
from metier.store.files import write_text, whole_folder
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_text(Path(sys.argv[1]), "new")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_between_write_and_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    leftover = next(entry for entry in tmp_path.iterdir() if entry != path)
    assert is_leftover(leftover)
    assert remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_only_our_leftovers_are_removed(tmp_path: Path) -> None:
    for name in (".hidden", ".x.tmp-1", "x.tmp-12-0123abcd"):
        (tmp_path / name).write_text("")
    assert remove_leftovers(tmp_path) == 0


# JSON


def test_json_starts_with_format_and_version(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    write_json(path, {"rows": 3, "name": "Zürich"}, format="card")
    assert path.read_text(encoding="utf-8").startswith('{\n  "format": "metier.card",\n  "version": 1,')
    assert "Zürich" in path.read_text(encoding="utf-8")
    assert read_json(path, format="card") == {"format": "metier.card", "version": 1, "rows": 3, "name": "Zürich"}


def test_what_was_read_can_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    write_json(path, {"rows": 3}, format="card")
    write_json(path, read_json(path, format="card"), format="card")
    assert read_json(path, format="card")["rows"] == 3


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"text": "\ud800"}, format="x")
    assert read_json(path, format="x")["text"] == "\ud800"


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loss: nan has no place in a file; use None and a reason"):
        write_json(tmp_path / "x.json", {"loss": float("nan")}, format="x")
    assert not (tmp_path / "x.json").exists()


def test_format_and_version_belong_to_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`format` and `version` are the file's own"):
        write_json(tmp_path / "x.json", {"format": "csv"}, format="x")


def test_only_mappings_become_json_files(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"x\.json: a JSON file holds a mapping, not list"):
        write_json(tmp_path / "x.json", [1], format="x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"x\.json: is missing\. Run the recipe again with --resume"),
        (b"", r"x\.json: is damaged: no readable JSON"),
        (b'{"format": "metier.x", ', "is damaged"),
        (b"\x00\x00", "is damaged"),
        (b'{"format": "metier.x", "version": 1, "a": NaN}', "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[1]", r"has the format None, wanted 'metier\.x'"),
        (b'{"format": "metier.y", "version": 1}', r"has the format 'metier\.y', wanted 'metier\.x'"),
        (b'{"format": "metier.x", "version": 2}', r"has version 2 of metier\.x, wanted at most 1\. Use the metier ver"),
    ],
    ids=["missing", "empty", "torn", "zeros", "nan", "nested", "list", "other format", "newer"],
)
def test_unreadable_json_says_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match=message):
        read_json(path, format="x")


# JSON Lines


def test_lines_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "h" / "history.jsonl"
    for step in range(3):
        append_json_line(path, {"step": step, "text": "a\u2028b\nc"})
    assert read_json_lines(path) == [{"step": step, "text": "a\u2028b\nc"} for step in range(3)]


@pytest.mark.parametrize("tail", [b'{"step": 9', b'{"step": 9}'[:1], b"\x00\x00\x00", b'{"t": "\xc3'])
def test_a_torn_last_line_is_ignored_and_then_removed(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "h.jsonl"
    append_json_line(path, {"step": 1})
    with path.open("ab") as file:
        file.write(tail)
    assert read_json_lines(path) == [{"step": 1}]
    append_json_line(path, {"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_long_torn_line_and_a_torn_only_line(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * 200_000)
    assert read_json_lines(path) == []
    append_json_line(path, {"step": 2})
    assert path.read_bytes() == b'{"step": 2}\n'


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}')
    assert len(read_json_lines(path)) == 2
    append_json_line(path, {"step": 3})
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(RunFolderError, match=r"h\.jsonl, line 2: is damaged: no readable JSON"):
        read_json_lines(path)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b"[1]\n")
    with pytest.raises(RunFolderError, match=r"line 1: holds a list, wanted a JSON object"):
        read_json_lines(path)


def test_a_full_disk_while_appending_leaves_the_earlier_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.jsonl"
    append_json_line(path, {"step": 1})
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 5:
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DiskFull, match="no space left on the device"):
        append_json_line(path, {"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n'


# folders


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "out" / "model"
    with whole_folder(path) as temporary:
        (temporary / "a" / "b").mkdir(parents=True)
        (temporary / "a" / "b" / "weights").write_bytes(b"1")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert (path / "a" / "b" / "weights").read_bytes() == b"1"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("old", "new"):
        with whole_folder(path) as temporary:
            (temporary / name).write_text("")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError("x"), KeyboardInterrupt(), PermissionError(errno.EACCES, "x")])
def test_a_failed_block_leaves_the_older_folder(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as temporary:
        (temporary / "old").write_text("")
    with pytest.raises(type(failure)), whole_folder(path) as temporary:
        (temporary / "new").write_text("")
        raise failure
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_inside_the_block(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="model: no space left on the device"), whole_folder(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "full")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_syncing_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFull, match="no space left"), whole_folder(tmp_path / "model") as temporary:
        (temporary / "x").write_text("")
        monkeypatch.setattr(os, "fsync", _fail(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_the_error_for_libraries_that_report_a_full_disk_their_own_way() -> None:
    assert str(disk_full(Path("m"))).startswith("m: no space left on the device. Free some space or set output.dir")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(rows=st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5), cut=st.integers(0, 40))
def test_a_cut_anywhere_loses_only_the_last_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.touch()
    for row in rows:
        append_json_line(path, row)
    assert read_json_lines(path) == json.loads(json.dumps(rows))
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    kept = read_json_lines(path)
    assert kept == rows[: len(kept)]
    append_json_line(path, {"last": True})
    assert read_json_lines(path) == [*kept, {"last": True}]
