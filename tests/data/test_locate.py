from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.locate import builtin_name, locate_files, role_of, short_names
from metier.errors import DataError
from metier.recipe.sections import DataSection

Write = Callable[..., Path]


def names(paths: tuple[Path, ...] | None) -> list[str] | None:
    return None if paths is None else [path.name for path in paths]


@pytest.mark.parametrize(
    ("files", "train", "validation", "test"),
    [
        pytest.param(["train.csv", "dev.csv", "test.csv", "README.md"], "train.csv", "dev.csv", "test.csv", id="dev"),
        pytest.param(["train.csv", "valid.csv"], "train.csv", "valid.csv", None, id="valid"),
        pytest.param(
            ["a_train.jsonl", "a_test.jsonl", "notes.csv"], "a_train.jsonl", None, "a_test.jsonl", id="ending"
        ),
        pytest.param(["tickets.csv", "notes.txt", ".hidden.csv"], "tickets.csv", None, None, id="one file"),
    ],
)
def test_a_folder(
    write: Write, tmp_path: Path, files: list[str], train: str, validation: str | None, test: str | None
) -> None:
    for name in files:
        write(name, "text,label\n")
    located = locate_files(DataSection(train=str(tmp_path)))
    assert names(located.train) == [train]
    assert names(located.validation) == (None if validation is None else [validation])
    assert names(located.test) == (None if test is None else [test])


@pytest.mark.parametrize(("ending", "task"), [("csv", "classification"), ("md", "text")])
def test_folders_called_after_the_splits(write: Write, tmp_path: Path, ending: str, task: str) -> None:
    for role in ("train", "dev", "test"):
        write(f"{role}/part.{ending}", role)
    write("README.txt", "about")
    located = locate_files(DataSection(train=str(tmp_path)), task=task)
    assert located.train == (tmp_path / "train" / f"part.{ending}",)
    assert located.validation == (tmp_path / "dev" / f"part.{ending}",)
    assert located.test == (tmp_path / "test" / f"part.{ending}",)
    assert "for train" in located.notices[0] and "for test" in located.notices[0]


def test_a_file_for_training_comes_before_a_folder(write: Write, tmp_path: Path) -> None:
    train = write("train.csv", "x")
    write("train/other.csv", "x")
    assert locate_files(DataSection(train=str(tmp_path))).train == (train,)


def test_a_glob_gives_files_in_order(write: Write, tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.md", "~$a.csv"):
        write(name, "x")
    assert names(locate_files(DataSection(train=str(tmp_path / "*"))).train) == ["a.csv", "b.csv"]


def test_a_name_with_brackets_is_a_name_first(write: Write) -> None:
    path = write("data [1].csv", "x")
    assert locate_files(DataSection(train=str(path))).train == (path,)


def test_variables_and_home_are_expanded(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write("d.csv", "x")
    monkeypatch.setenv("TICKETS", str(tmp_path))
    assert locate_files(DataSection(train="${TICKETS}/d.csv")).train == (path,)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate_files(DataSection(train="~/d.csv")).train == (path,)


def test_a_built_in_example() -> None:
    (path,) = locate_files(DataSection(train="builtin:inbox/train.csv")).train
    assert path.is_file()
    assert builtin_name(path) == "builtin:inbox/train.csv"
    with pytest.raises(DataError, match=r"`builtin:inbox/x.csv` is not among .* `builtin:inbox/test.csv`"):
        locate_files(DataSection(train="builtin:inbox/x.csv"))
    with pytest.raises(DataError, match="is not among the built-in examples"):
        locate_files(DataSection(train="builtin:inbox/../../prepare.py"))


@pytest.mark.parametrize(
    ("files", "train", "message"),
    [
        pytest.param(
            ["train.csv"], "trian.csv", r"does not exist, wanted a file .* Did you mean train.csv\?", id="typo"
        ),
        pytest.param([], "no/where.csv", "The folder .*no does not exist either", id="no folder"),
        pytest.param(["notes.md"], "", "holds no data file, wanted csv", id="folder without data"),
        pytest.param(["a.csv", "b.csv"], "", r"several files and none is called train \(a.csv, b.csv\)", id="several"),
        pytest.param(["x_train.csv", "y_train.csv"], "", r"several train files \(x_train.csv, y_train.csv\)", id="two"),
        pytest.param(["a.md"], "*.csv", "no data file matches", id="glob without match"),
    ],
)
def test_paths_that_lead_nowhere(write: Write, tmp_path: Path, files: list[str], train: str, message: str) -> None:
    for name in files:
        write(name, "x")
    with pytest.raises(DataError, match=message):
        locate_files(DataSection(train=str(tmp_path / train)))


def test_one_file_for_two_splits_is_an_error(write: Write) -> None:
    path = str(write("d.csv", "x"))
    with pytest.raises(DataError, match=r"data.test: d.csv is also the train file, wanted another file"):
        locate_files(DataSection(train=path, test=path))


@pytest.mark.parametrize(
    ("name", "role"),
    [("dev.csv", "validation"), ("clauses_test.jsonl", "test"), ("latest.csv", None), ("train_test.csv", None)],
)
def test_what_a_name_says(name: str, role: str | None) -> None:
    assert role_of(Path(name)) == role


def test_equal_names_get_their_folder() -> None:
    assert short_names([Path("a/d.csv"), Path("b/d.csv"), Path("b/e.csv")]) == ["a/d.csv", "b/d.csv", "e.csv"]


def test_the_folder_error_offers_the_glob(write: Write, tmp_path: Path) -> None:
    write("a.xlsx", "x")
    write("b.xlsx", "x")
    with pytest.raises(DataError, match=re.escape(f"take all of them: `data.train: {tmp_path / '*.xlsx'}`")):
        locate_files(DataSection(train=str(tmp_path)))


def test_the_only_file_of_a_folder_is_for_training_whatever_it_is_called(write: Write, tmp_path: Path) -> None:
    write("set_dev.json", "x")
    located = locate_files(DataSection(train=str(tmp_path)))
    assert (names(located.train), located.validation, located.test) == (["set_dev.json"], None, None)


def test_of_several_test_files_the_one_like_train_is_taken(write: Write, tmp_path: Path) -> None:
    for name in ("train_2000.jsonl", "test.jsonl", "test.parquet"):
        write(name, "x")
    assert names(locate_files(DataSection(train=str(tmp_path))).test) == ["test.jsonl"]


def test_packed_files_have_the_name_inside(write: Write, tmp_path: Path) -> None:
    for name in ("train.jsonl.gz", "dev.csv.gz", "notes.gz"):
        write(name, "x")
    located = locate_files(DataSection(train=str(tmp_path)))
    assert (names(located.train), names(located.validation)) == (["train.jsonl.gz"], ["dev.csv.gz"])


def test_answers_are_among_all_files(write: Write) -> None:
    train, answers = write("a.nl", "x"), write("a.cm", "y")
    located = locate_files(DataSection(train=str(train), answers=str(answers)))
    assert located.all_files() == (train, answers)


def test_answers_go_with_one_file(write: Write, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "a.lst"):
        write(name, "x")
    section = DataSection(train=str(tmp_path / "*.csv"), answers=str(tmp_path / "a.lst"))
    with pytest.raises(DataError, match=r"data.answers: goes with 2 files of data.train, wanted one file"):
        locate_files(section)


def test_documents_are_located_by_the_task_or_the_format(write: Write, tmp_path: Path) -> None:
    for name in ("docs/a.md", "docs/b/c.rst", "docs/b/table.csv", "docs/LICENSE", "page.html"):
        write(name, "x")
    section = DataSection(train=str(tmp_path / "docs"))
    assert names(locate_files(section, task="text").train) == ["a.md", "c.rst"]
    with pytest.raises(DataError, match="holds no data file"):
        locate_files(section)
    by_hand = DataSection(train=str(tmp_path / "page.html"), format="text")
    assert names(locate_files(by_hand).train) == ["page.html"]
