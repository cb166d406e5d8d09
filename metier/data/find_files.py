"""Which files of a place are the data: a table with its test file, two aligned texts, or a folder of documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.locate import (
    ROLE_NAMES,
    data_files,
    documents_at,
    expanded,
    is_legal_notice,
    locate_files,
    role_files,
    role_folders,
    role_of,
)
from metier.data.sources import data_suffix, read_table
from metier.data.text_reader import DOCUMENTS
from metier.data.unpacking import SUFFIXES as PACKED
from metier.errors import DataError
from metier.recipe.sections import DataSection

_ALIGNED = (("nl", "cm"), ("nl", "cmd"), ("nl", "code"), ("src", "tgt"), ("source", "target"), ("in", "out"),
            ("input", "output"), ("x", "y"), ("question", "answer"), ("text", "labels"), ("en", "*"))  # fmt: skip
"""Endings of two files whose lines belong together: what is asked, what is answered."""
_MOSTLY = 10
"""Documents for each data file that make a folder one of documents."""
_LARGEST_TEXT = 2**28


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The files of a place, and what each is for."""

    train: str
    """A file, a folder or a glob, as a recipe names it."""
    files: tuple[Path, ...]
    validation: Path | None = None
    test: Path | None = None
    answers: Path | None = None
    """A text file with an answer for every row of train."""
    documents: bool = False
    """Whether each file is a document."""
    left_out: tuple[Path, ...] = ()
    """Files beside documents that are no text."""
    questions: tuple[str, ...] = ()


def find_files(given: str) -> FoundFiles:
    """The data at a place.

    Args:
        given: A file, a folder or a glob.

    Raises:
        DataError: There is none.
    """
    path = expanded(given)
    if path.is_dir():
        return _pair_in(path) or _documents_in(path) or _tables_in(path)
    if path.is_file():
        return _beside(path, given)
    try:
        located = locate_files(DataSection(train=given))
    except DataError:
        documents, others = documents_at(path)
        if not documents:
            raise
        return FoundFiles(train=given, files=documents, documents=True, left_out=others)
    if len(located.train) > 1:
        return FoundFiles(train=given, files=located.train)
    return _beside(located.train[0], given)


def answers_beside(file: Path, rows: int) -> Path | None:
    """The text file beside a table that has a line for every row of it and begins with its name.

    Args:
        file: The table's file.
        rows: Its rows.
    """
    for other in sorted(file.parent.iterdir()):
        if _is_plain(other) and other.stem.lower().startswith(file.stem.lower()) and _lines(other) == rows:
            return other
    return None


def _beside(file: Path, given: str | None = None) -> FoundFiles:
    if _is_plain(file):
        pair = _pair_in(file.parent, file.stem)
        if pair is not None:
            return pair
    if file.suffix.lower() in DOCUMENTS and file.suffix.lower() not in (".txt", ".text"):
        return FoundFiles(train=given or str(file), files=(file,), documents=True)
    return FoundFiles(
        train=given or str(file), files=(file,), validation=_sibling(file, "validation"), test=_sibling(file, "test")
    )


def _tables_in(folder: Path) -> FoundFiles:
    files = data_files(folder)
    roles = {role_of(file) for file in files}
    if "train" not in roles and len(files) > 1:
        same = [file for file in files if role_of(file) is None and file.suffix == files[0].suffix]
        if len(same) == len(files) and len({read_table(file).columns for file in files}) == 1:
            return FoundFiles(train=str(folder / f"*{files[0].suffix}"), files=tuple(files))
    questions = []
    given: dict[str, str | None] = {"validation": None, "test": None}
    found = {role: role_files(folder, role) for role in ("train", "validation", "test")}
    if len(found["train"]) == 1:
        for role in given:
            several = role_files(folder, role, like=found["train"][0])
            if len(several) > 1:
                names = " or ".join(path.name for path in several)
                questions.append(f"Which file is for {role}: {names}? The draft takes none; name it as data.{role}.")
                found[role] = []
            elif several:
                found[role] = several
        first, validation, test = found["train"][0], found["validation"], found["test"]
        return FoundFiles(
            train=str(first), files=(first,), validation=validation[0] if validation else None,
            test=test[0] if test else None, questions=tuple(questions),
        )  # fmt: skip
    located = locate_files(DataSection(train=str(folder)))
    others = [part[0] if part else None for part in (located.validation, located.test)]
    return FoundFiles(train=str(located.train[0]), files=located.train, validation=others[0], test=others[1])


def _documents_in(folder: Path) -> FoundFiles | None:
    inside = role_folders(folder)
    documents, others = documents_at(inside.get("train", folder))
    about = [file for file in documents if re.match(r"(readme|source|changelog)", file.stem.lower())]
    if len(documents) - len(about) <= _MOSTLY * len(data_files(folder)) or len(documents) == len(about):
        return None
    return FoundFiles(
        train=str(inside.get("train", folder)), files=documents, documents=True, left_out=others,
        validation=inside.get("validation"), test=inside.get("test"),
    )  # fmt: skip


def _pair_in(folder: Path, stem: str | None = None) -> FoundFiles | None:
    """Two text files of one name and of equally many lines, where there is no table."""
    if data_files(folder):
        return None
    plain = [file for file in sorted(folder.iterdir()) if _is_plain(file) and stem in (None, file.stem)]
    by_stem: dict[str, list[Path]] = {}
    for file in plain:
        by_stem.setdefault(file.stem, []).append(file)
    pairs = [files for files in by_stem.values() if len(files) == 2]
    roles = {role_of(files[0]): files for files in pairs}
    files = pairs[0] if len(pairs) == 1 else roles.get("train")
    if files is None or _lines(files[0]) != _lines(files[1]) or not _lines(files[0]):
        return None
    asked, answered, known = _in_order(files)
    question = (
        f"Which file holds the questions: {asked.name} or {answered.name}? The draft takes {asked.name}; otherwise "
        "exchange data.train and data.answers."
    )
    return FoundFiles(train=str(asked), files=(asked,), answers=answered, questions=() if known else (question,))


def _in_order(files: Sequence[Path]) -> tuple[Path, Path, bool]:
    by_ending = {file.suffix.lower().lstrip("."): file for file in files}
    for asked, answered in _ALIGNED:
        other = next((ending for ending in by_ending if ending != asked and answered in (ending, "*")), None)
        if asked in by_ending and other is not None:
            return by_ending[asked], by_ending[other], True
    return files[0], files[1], False


def _is_plain(file: Path) -> bool:
    """Whether a file is neither a table nor a document nor a packed one, by its name."""
    known = data_suffix(file) or file.suffix.lower() in (*DOCUMENTS, *PACKED, ".zip", ".docx", ".pdf", ".xml", "")
    return file.is_file() and not known and not file.name.startswith(".") and not is_legal_notice(file)


def _lines(file: Path) -> int:
    if file.stat().st_size > _LARGEST_TEXT:
        return 0
    data = file.read_bytes()
    return 0 if b"\0" in data[:4096] else data.count(b"\n") + (not data.endswith(b"\n"))


def _sibling(file: Path, role: str) -> Path | None:
    """The file beside `file` whose name differs only in saying `role` instead of train."""
    if role_of(file) not in ("train", None):
        return None
    rest = _without_role(file)
    found = [
        other
        for other in data_files(file.parent)
        if other != file and role_of(other) == role and _without_role(other) == rest
    ]
    return found[0] if len(found) == 1 else None


def _without_role(path: Path) -> list[str]:
    names = {name for known in ROLE_NAMES.values() for name in known}
    return [token for token in re.split(r"[^a-z0-9]+", path.stem.lower()) if token and token not in names]
