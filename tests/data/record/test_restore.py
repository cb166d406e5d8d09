"""The input comes back byte for byte, or the file that cannot is named; single rows come back too."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.prepare import prepare_data
from metier.data.record.restore import restore_files, restore_rows
from metier.errors import ArgumentError, DataError, RunFolderError
from metier.recipe.sections import Recipe
from metier.store.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
ROWS = "".join(f"text {n} of it,{'ab'[n % 2]}\r\n" for n in range(30))
MESSY = ("\ufefftext,label\r\n" + ROWS + ",a\r\nwhite   space  ,b\r\ntext 3 of it,b\r\nno label,\r\n").encode()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_come_back_byte_for_byte(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    (file,) = restore_files(run.data, tmp_path / "out")
    assert file.path == tmp_path / "out" / "tickets.csv"
    assert file.path.read_bytes() == MESSY
    assert (tmp_path / "out").is_dir()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.lists(st.binary(max_size=30).filter(lambda b: b"\0" not in b), max_size=5), packed=st.booleans())
def test_whatever_was_read_comes_back(
    tmp_path_factory: pytest.TempPathFactory, extra: list[bytes], packed: bool
) -> None:
    place = tmp_path_factory.mktemp("restore")
    data = MESSY + b"\r\n".join(extra)
    data = gzip.compress(data, mtime=0) if packed else data
    path = place / ("d.csv.gz" if packed else "d.csv")
    path.write_bytes(data)
    section = Recipe.model_validate({"task": "classification", "data": {"train": str(path)}}).data
    try:
        prepare_data(section, seed=1, folder=place / "data")
    except DataError:
        return  # a file that cannot be read leaves no run
    (file,) = restore_files(place / "data", place / "out")
    assert file.path.read_bytes() == data


def test_files_of_the_same_name_stay_apart(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "tickets.csv").write_text("text,label\nsomething else,a\nand more,b\n", encoding="utf-8")
    run = make_run("text,label\n" + ROWS, file="early/tickets.csv",
                   data={"test": str(tmp_path / "late" / "tickets.csv")})  # fmt: skip
    files = restore_files(run.data, tmp_path / "out")
    assert sorted(file.path.relative_to(tmp_path / "out").as_posix() for file in files) == [
        "early/tickets.csv", "late/tickets.csv",
    ]  # fmt: skip
    for file in files:
        assert file.path.read_bytes() == (tmp_path / file.name).read_bytes()


def test_what_is_missing_or_changed_is_named_and_nothing_is_written(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,label\nsomething else,a\nand more,b\n", encoding="utf-8")
    run = make_run("text,label\n" + ROWS, data={"test": str(tmp_path / "test.csv")})
    (tmp_path / "test.csv").unlink()
    (tmp_path / "tickets.csv").write_text("text,label\nx,a\n", encoding="utf-8")
    message = (
        r"cannot be restored: tickets\.csv has changed \(.*tickets\.csv: its hash is [0-9a-f]{12}, it was "
        r"[0-9a-f]{12}\); test\.csv is missing \(.*test\.csv\), wanted the files as they were read\. Put the files"
    )
    with pytest.raises(DataError, match=message):
        restore_files(run.data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_moved_files_are_found_by_hash(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    (tmp_path / "archive").mkdir()
    (tmp_path / "tickets.csv").rename(tmp_path / "archive" / "tickets.csv")
    (tmp_path / "tickets.csv").write_bytes(b"text,label\nanother,a\n")
    (file,) = restore_files(run.data, tmp_path / "out", source_folder=tmp_path / "archive")
    assert file.path.read_bytes() == MESSY


def test_a_place_that_holds_something_is_left_alone(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"out: holds something, wanted a new folder\. Choose another one\."):
        restore_files(run.data, tmp_path / "out")
    with pytest.raises(ArgumentError, match=r"mine\.txt: is there already, wanted a new file"):
        restore_rows(run.data, tmp_path / "out" / "mine.txt")
    with pytest.raises(RunFolderError, match=r"card\.json"):
        restore_files(tmp_path / "nothing", tmp_path / "other")


def test_every_rejected_and_changed_row_comes_back_as_it_stood(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    rows = lines(tmp_path / "rows.jsonl")
    logged = lines(run.data / "rejected.jsonl")
    assert (done.rejected, done.changed) == (len(logged), 1)
    assert done.rejected >= 3
    assert done.checked == len(rows)
    assert done.missing == ()
    by_row = {row["row"]: row for row in rows}
    assert by_row[31]["content"] == {"text": "", "label": "a"}
    assert by_row[31]["why"] == ["empty text"]
    assert by_row[32] == {"source": "tickets.csv", "row": 32, "what": "changed", "why": ["white space"],
                          "checked": True, "content": {"text": "white   space  ", "label": "b"}}  # fmt: skip
    assert by_row[34]["why"] == ["empty label"]


def test_rejected_rows_outlive_their_file(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    (tmp_path / "tickets.csv").unlink()
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    assert done.rejected >= 3
    assert (done.changed, done.checked) == (0, 0)
    (lost,) = done.missing
    assert lost.startswith("1 changed row of tickets.csv is missing (")


def test_a_row_that_was_tampered_with_is_not_called_checked(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    path = run.data / "rejected.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("no label", "a label"), encoding="utf-8")
    restore_rows(run.data, tmp_path / "rows.jsonl")
    assert {row["row"]: row["checked"] for row in lines(tmp_path / "rows.jsonl")}[34] is False


def test_broken_lines_come_back_as_the_text_they_were(make_run: MakeRun, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}) + "\n" for n in range(30))
    run = make_run(rows + '{"text": "torn", "la\n', file="d.jsonl")
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    broken = [row for row in lines(tmp_path / "rows.jsonl") if row["why"] == ["broken row"]]
    assert [row["row"] for row in broken] == [31]
    assert '{"text": "torn", "la' in json.dumps(broken[0]["content"], ensure_ascii=False).replace('\\"', '"')
    assert done.checked == done.rejected


def test_a_file_in_an_archive_comes_back(make_run: MakeRun, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside/d.csv", MESSY)
        archive.writestr("readme.md", "about it")
    run = make_run(packed.getvalue(), file="tickets.zip")
    (file,) = restore_files(run.data, tmp_path / "out")
    assert file.path.read_bytes() == MESSY
    assert file.path.is_relative_to(tmp_path / "out")
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    assert (done.changed, done.checked) == (1, done.rejected + 1)
    (tmp_path / "tickets.zip").write_bytes(packed.getvalue()[:-30])
    with pytest.raises(DataError, match=r"inside/d\.csv has changed \(.*tickets\.zip: its hash is"):
        restore_files(run.data, tmp_path / "again")


def test_rows_without_stored_content_come_from_their_file(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MESSY)
    path = run.data / "rejected.jsonl"
    path.write_text("".join(json.dumps({**line, "content": ""}) + "\n" for line in lines(path)), encoding="utf-8")
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    by_row = {row["row"]: row["content"] for row in lines(tmp_path / "rows.jsonl")}
    assert by_row[34] == {"text": "no label", "label": ""}
    assert done.checked == done.rejected + done.changed
    (tmp_path / "tickets.csv").unlink()
    assert restore_rows(run.data, tmp_path / "more.jsonl").missing[0].endswith(f"({tmp_path / 'tickets.csv'})")
    assert lines(tmp_path / "more.jsonl") == []


def test_a_workbook_comes_back(make_run: MakeRun, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    for number in range(30):
        book.active.append([f"text {number}", "ab"[number % 2]])
    book.active.append(["  two   spaces ", "a"])
    book.save(tmp_path / "d.xlsx")
    data = (tmp_path / "d.xlsx").read_bytes()
    run = make_run(data, file="d.xlsx")
    (file,) = restore_files(run.data, tmp_path / "out")
    assert file.path.read_bytes() == data
    done = restore_rows(run.data, tmp_path / "rows.jsonl")
    assert (done.changed, done.checked) == (1, 1)
