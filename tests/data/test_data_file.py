"""Files in pieces: a long file gives the same rows as a short one does, from a sample that spans all of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from metier.data import data_file
from metier.data.answers import answers_beside
from metier.data.data_file import DataFile, nothing_beside
from metier.data.data_source import one_source
from metier.data.gather import look_at_files, open_files
from metier.data.locate import locate_files
from metier.data.stream import HowToRead, stream_rows
from metier.data.table import Table
from metier.errors import DataError
from metier.recipe.sections import DataSection


def opened(path: Path, how: HowToRead | None = None) -> DataFile:
    source = one_source(path)
    return DataFile(lambda watch: stream_rows(source, how, watch=watch, batch_rows=7), nothing_beside)


def all_rows(file: DataFile) -> list[tuple[int, dict[str, str | None]]]:
    return [(number, row) for piece in file.pieces() for number, row in zip(piece.row_numbers, piece.rows, strict=True)]


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(data_file, "KEPT_ROWS", 20)
    return 20


def write_lines(path: Path, rows: list[dict[str, object]], *, broken_at: int | None = None) -> Path:
    lines = [json.dumps(row) for row in rows]
    if broken_at is not None:
        lines.insert(broken_at, '{"text": "no end')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_short_file_is_kept_whole_and_read_once(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"t{i}", "label": "x"} for i in range(15)], broken_at=3)
    file = opened(path)
    assert file.whole
    path.unlink()  # its pieces need the file no more
    assert [number for number, _ in all_rows(file)] == [1, 2, 3, *range(5, 17)]
    assert [row.row for piece in file.pieces() for row in piece.broken] == [4]


def test_a_long_file_comes_in_pieces_and_its_sample_spans_it(tmp_path: Path, few_kept: int) -> None:
    rows: list[dict[str, object]] = [{"text": f"t{i}", "label": "first" if i < 50 else "last"} for i in range(100)]
    file = opened(write_lines(tmp_path / "a.jsonl", rows, broken_at=60))
    assert not file.whole
    assert 10 <= len(file.table.rows) <= few_kept
    assert {row["label"] for row in file.table.rows} == {"first", "last"}  # it is sorted by label
    pieces = list(file.pieces())
    assert max(len(piece.rows) for piece in pieces) <= 7
    assert [row for piece in pieces for row in piece.rows] == rows
    assert [row.row for piece in pieces for row in piece.broken] == [61]
    assert file.source.rows == 101
    assert all_rows(file) == all_rows(file)  # as often as wanted


def test_a_column_that_comes_late_is_there_in_every_row(tmp_path: Path, few_kept: int) -> None:
    rows: list[dict[str, object]] = [{"text": f"t{i}"} | ({"label": "late"} if i == 99 else {}) for i in range(100)]
    file = opened(write_lines(tmp_path / "a.jsonl", rows))
    assert file.table.columns == ("text", "label")
    assert [row["label"] for _, row in all_rows(file)] == [None] * 99 + ["late"]


def test_records_inside_rows_come_in_pieces_too(tmp_path: Path, few_kept: int) -> None:
    rows: list[dict[str, object]] = [
        {"page": f"p{i}", "questions": [{"q": f"q{i}a"}, {"q": f"q{i}b"}] if i % 10 else []} for i in range(60)
    ]
    file = opened(write_lines(tmp_path / "a.jsonl", rows))
    file.take_out("questions")
    found = all_rows(file)
    assert len(found) == 108
    assert found[0] == (2, {"page": "p1", "questions": '{"q": "q1a"}', "q": "q1a"})
    pieces = list(file.pieces())
    assert sum(len(piece.broken) for piece in pieces) == 6
    assert {row.reason for piece in pieces for row in piece.broken} == {"no records"}
    assert set().union(*(piece.shared_rows for piece in pieces)) == {i + 1 for i in range(60) if i % 10}
    assert file.source.rows == 114
    assert file.notices[-1].startswith("a.jsonl: 108 records in 60 rows (`questions`); those of one row stay")


def test_lines_of_answers_go_with_their_rows(tmp_path: Path, few_kept: int) -> None:
    asked = write_lines(tmp_path / "asked.jsonl", [{"text": f"t{i}"} for i in range(50)], broken_at=4)
    answers = tmp_path / "answers.txt"
    answers.write_text("".join(f"a{i}\n" for i in range(51)), encoding="utf-8")
    section = DataSection(train=str(asked))
    file = DataFile(
        lambda watch: stream_rows(one_source(asked), watch=watch, batch_rows=7),
        answers_beside(answers, "asked.jsonl", section),
    )
    found = all_rows(file)
    assert found[3] == (4, {"text": "t3", "answer": "a3"})
    assert found[4] == (6, {"text": "t4", "answer": "a5"})
    assert file.notices == ("asked.jsonl: answers are the lines of answers.txt (`answer`)",)
    answers.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(DataError) as fault:
        list(file.pieces())
    assert "answers.txt: has 2 lines, and asked.jsonl has 51 rows" in fault.value.text()


def test_a_second_table_is_joined_by_id(tmp_path: Path, few_kept: int) -> None:
    asked = write_lines(tmp_path / "asked.jsonl", [{"id": i, "text": f"t{i}"} for i in range(50)])
    labels = write_lines(tmp_path / "labels.jsonl", [{"id": i, "label": f"l{i % 3}"} for i in range(5, 52)])
    section = DataSection(train=str(asked), answers=str(labels))
    files = open_files(locate_files(section), section, task="classification")
    file = files["train"][0]
    found = all_rows(file)
    assert found[0] == (6, {"id": "5", "text": "t5", "label": "l2"})
    broken = [row for piece in file.pieces() for row in piece.broken]
    assert sorted((row.source, row.row, row.reason) for row in broken) == [
        *(("asked.jsonl", i + 1, "no label") for i in range(5)),
        *(("labels.jsonl", i - 4, "no input") for i in range(50, 52)),
    ]
    assert "asked.jsonl: 45 rows joined with labels.jsonl by `id` (`label`)" in file.notices


def test_a_second_table_of_other_ids_is_an_error(tmp_path: Path) -> None:
    asked = write_lines(tmp_path / "asked.jsonl", [{"id": i, "text": f"t{i}"} for i in range(3)])
    labels = write_lines(tmp_path / "labels.jsonl", [{"id": f"x{i}", "label": "l"} for i in range(3)])
    section = DataSection(train=str(asked), answers=str(labels))
    with pytest.raises(DataError, match=r"labels\.jsonl: shares no value of `id` with asked\.jsonl"):
        open_files(locate_files(section), section, task="classification")


def test_what_is_looked_at_of_a_long_file_is_said(tmp_path: Path, few_kept: int) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"t{i}", "label": "x"} for i in range(100)])
    section = DataSection(train=str(path))
    table: Table = look_at_files(locate_files(section), section, task="classification")["train"][0]
    assert table.notices == (f"a.jsonl: 100 rows, of which {len(table.rows)} spread over the file were looked at",)


def test_watching_tells_the_bytes(tmp_path: Path, few_kept: int) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"t{i}"} for i in range(100)])
    seen: list[tuple[int, int]] = []
    list(opened(path).pieces(partial(lambda done, total: seen.append((done, total)))))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
