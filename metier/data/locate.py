"""Which files a recipe's paths mean: a file, a folder with train, validation and test files, or a glob."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metier.data.data_source import find_sources, one_source
from metier.data.dataset_info import FILE as LISTS
from metier.data.dataset_info import ListedData, is_listed, listed_data
from metier.data.formats import data_stem, data_suffix
from metier.data.text_reader import DOCUMENTS
from metier.errors import DataError
from metier.recipe.sections import DataSection

ROLE_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing"),
}
BUILTIN = "builtin:"
EXAMPLES = {"inbox": "example"}
"""Built-in example sets: name in the recipe, folder in this package."""
_KINDS_OF_TEXT = ", ".join(DOCUMENTS)
_KINDS = "csv, tsv, json, jsonl, parquet or xlsx"


@dataclass(frozen=True, kw_only=True)
class Located:
    """The files of each split; None where the recipe gives none and the split is drawn from train."""

    train: tuple[Path, ...]
    validation: tuple[Path, ...] | None
    test: tuple[Path, ...] | None
    notices: tuple[str, ...] = ()
    answers: Mapping[str, Path] = field(default_factory=dict)
    """Split -> the file whose lines are its answers."""
    documents: bool = False
    """Whether each file of train is one document."""
    listed: ListedData | None = None
    """What a `dataset_info.json` says of the files of train."""

    def all_files(self) -> tuple[Path, ...]:
        """Every file once, train first."""
        return (*self.train, *(self.validation or ()), *(self.test or ()), *self.answers.values())


def locate_files(section: DataSection, *, task: str = "classification") -> Located:
    """Resolve `data.train`, `data.validation`, `data.test` and the files of their answers.

    Args:
        section: The recipe's data section; paths may hold `${VAR}`, `~` and `builtin:`.
        task: The recipe's task: a folder of documents is read by task `text`.

    Raises:
        DataError: A path leads to no data file, a folder is ambiguous, or two splits share a file.
    """
    if section.format == "text" or (task == "text" and section.format == "auto"):
        located_documents = locate_documents(section)
        if located_documents is not None:
            return located_documents
    listed = _listed(section)
    located = {"train": _files(section.train, "train") if listed is None else listed.files}
    notices = [] if listed is None else list(_said_of_listed(listed))
    folder = _folder_of(section.train) if listed is None else None
    for role, given in (("validation", section.validation), ("test", section.test)):
        if given is not None:
            located[role] = _files(given, role)
        elif folder is not None:
            found = _role_file(folder, role, like=located["train"][0])
            if found is None and (inside := role_folders(folder).get(role)) is not None:
                found = _file_in(inside, role)
            # The only file of a folder is for training, whatever it is called.
            if found is not None and found not in located["train"]:
                located[role] = (found,)
    if folder is not None:
        used = ", ".join(
            f"{path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name} for {role}"
            for role, paths in located.items()
            for path in paths
        )
        notices.append(f"{folder.name}: used {used}")
    _refuse_shared(located)
    return Located(
        train=located["train"],
        validation=located.get("validation"),
        test=located.get("test"),
        notices=tuple(notices),
        answers=_answer_files(section, located),
        listed=listed,
    )


def data_files(folder: Path) -> list[Path]:
    """Files in `folder` whose names end like data, sorted; hidden files and Excel's lock files left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and data_suffix(path) and not path.name.startswith((".", "~$"))
    )


def role_of(path: Path) -> str | None:
    """The split that a file's name speaks of: `dev.csv`, `clauses_test.jsonl`. None: it does not say."""
    tokens = re.split(r"[^a-z]+", data_stem(path))
    roles = {role for role, names in ROLE_NAMES.items() if any(name in tokens for name in names)}
    return roles.pop() if len(roles) == 1 else None


def builtin_name(path: Path) -> str | None:
    """How a recipe names a file of the built-in examples; None for any other file."""
    here = Path(__file__).parent
    for name, folder in EXAMPLES.items():
        if path.parent == here / folder:
            return f"{BUILTIN}{name}/{path.name}"
    return None


def short_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own, with its folder in front where two files share it."""
    own = [path.name for path in paths]
    return [f"{path.parent.name}/{path.name}" if own.count(path.name) > 1 else path.name for path in paths]


def locate_documents(section: DataSection) -> Located | None:
    """The text files that a folder, a pattern or a path of `data.train` means; None where tables lie there.

    Args:
        section: The recipe's data section.

    Raises:
        DataError: `data.format` is text, and there is no text file.
    """
    located: dict[str, tuple[Path, ...]] = {}
    notices: list[str] = []
    inside = role_folders(expanded(section.train))
    if inside:
        taken = {role: path for role, path in inside.items() if role == "train" or getattr(section, role) is None}
        used = ", ".join(f"{path.name} for {role}" for role, path in taken.items())
        notices.append(f"{Path(section.train).name}: used {used}")
    for role in ("train", "validation", "test"):
        given = getattr(section, role)
        if given is None and role not in inside:
            continue
        path = inside[role] if role in inside and (given is None or role == "train") else expanded(given)
        given = given or str(path)
        found, others = documents_at(path)
        if section.format == "text" and path.is_file():  # said by hand, whatever its name ends with
            found, others = (path,), ()
        if not found:
            if role == "train" and section.format != "text":
                return None
            raise DataError(f"data.{role}", f"`{given}` holds no document", f"files such as {', '.join(DOCUMENTS[:3])}")
        located[role] = found
        if others:
            notices.append(f"{Path(given).name}: {_some_names(others)} not read: no text files ({_KINDS_OF_TEXT})")
    _refuse_shared(located)
    return Located(
        train=located["train"],
        validation=located.get("validation"),
        test=located.get("test"),
        notices=tuple(notices),
        documents=True,
    )


def role_folders(path: Path) -> dict[str, Path]:
    """The folders of a folder that are called after the splits, by split.

    None where none is for training, or where a file beside them is.

    Args:
        path: Any path.
    """
    if not path.is_dir() or any(role_of(file) == "train" for file in data_files(path)):
        return {}
    folders = {each.name.lower(): each for each in sorted(path.iterdir()) if each.is_dir()}
    named = {role: [folders[name] for name in names if name in folders] for role, names in ROLE_NAMES.items()}
    return {role: found[0] for role, found in named.items() if found} if named["train"] else {}


def documents_at(path: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The text files at a path, a folder (with all below it) or a pattern, and files of other kinds there.

    None in a folder that has a data file for training.

    Args:
        path: A file, a folder or a pattern.
    """
    if path.is_dir():
        if any(role_of(file) == "train" for file in data_files(path)):
            return (), ()
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and not _hidden(file, path)]
    elif path.is_file():
        files = [path]
    else:
        files = list(_glob(path)) if _is_pattern(path) else []
    found = tuple(file for file in files if file.suffix.lower() in DOCUMENTS and not is_legal_notice(file))
    return found, tuple(file for file in files if file not in set(found))


def is_legal_notice(file: Path) -> bool:
    """Whether a file is a licence or notice that only accompanies the others."""
    return re.split(r"[^a-z]+", file.stem.lower())[0] in ("license", "licence", "copying", "notice", "licenses")


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith((".", "~$")) for part in file.relative_to(folder).parts)


def _some_names(files: Sequence[Path]) -> str:
    names = [file.name for file in files]
    return f"{', '.join(names[:8])} and {len(names) - 8} more" if len(names) > 8 else ", ".join(names)


def _answer_files(section: DataSection, located: Mapping[str, tuple[Path, ...]]) -> dict[str, Path]:
    fields = {"train": "answers", "validation": "validation_answers", "test": "test_answers"}
    answers: dict[str, Path] = {}
    for role, name in fields.items():
        given = getattr(section, name)
        if given is None:
            continue
        path = expanded(given)
        if not path.is_file():
            raise DataError(f"data.{name}", f"`{given}` does not exist", "a text file of answers", _near(path))
        if len(located.get(role, ())) != 1:
            found = f"goes with {len(located.get(role, ()))} files of data.{role}"
            raise DataError(f"data.{name}", found, "one file", f"Give data.{role} as one file.")
        answers[role] = path
    return answers


def _listed(section: DataSection) -> ListedData | None:
    """The data set of a `dataset_info.json` that `data.train` means; None where it means a file, a folder or a glob."""
    path = expanded(section.train)
    if not is_listed(path):
        if section.dataset is not None:
            fix = "Give data.train as that file or its folder, or remove data.dataset."
            raise DataError("data.dataset", f"is set, and `{section.train}` is no {LISTS}", "", fix)
        return None
    if path.is_dir() and section.dataset is None and _role_file(path, "train") is not None:
        return None
    return listed_data(path, section.dataset)


def _said_of_listed(listed: ListedData) -> tuple[str, ...]:
    used = ", ".join(file.name for file in listed.files[:3])
    more = f" and {len(listed.files) - 3} more" if len(listed.files) > 3 else ""
    said = [f"{LISTS}: data set `{listed.name}`, read from {used}{more} as {listed.shape}", *listed.notices]
    if listed.num_samples is not None:
        said.append(f"{LISTS}: num_samples {listed.num_samples:,} is not applied; data.max_examples is the same here")
    return tuple(said)


def _packed(path: Path, role: str) -> tuple[Path, ...] | None:
    """The table inside a zip archive that is for `role`; None: the path is no archive, nor inside one."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return None
    if not path.is_file() and not any(parent.is_file() for parent in path.parents):
        return None
    inside = find_sources(path)
    if len(inside) == 1:
        return (path,)
    named = [source for source in inside if role_of(source.inner) == role]
    if len(named) == 1:
        return (path / str(named[0].member),)
    one_source(path)  # says what is in it, and how to name one
    return (path,)


def _files(text: str, role: str) -> tuple[Path, ...]:
    path = expanded(text)
    packed = _packed(path, role)
    if packed is not None:
        return packed
    if path.is_file():
        return (path,)
    if path.is_dir():
        return (_file_in(role_folders(path).get(role, path), role),)
    if _is_pattern(path):
        return _matches(path, role)
    raise DataError(f"data.{role}", f"`{text}` does not exist", f"a file ({_KINDS}), a folder or a glob", _near(path))


def expanded(text: str) -> Path:
    """A path as a recipe writes it, with `${VAR}`, `~` and `builtin:` resolved."""
    if text.startswith(BUILTIN):
        return _builtin(text)
    if "$" in text or text.startswith("~"):
        from metier.recipe.load import expand

        text = expand(text)
    return Path(text)


def _builtin(text: str) -> Path:
    example, _, file = text.removeprefix(BUILTIN).partition("/")
    here = Path(__file__).parent
    path = here / EXAMPLES.get(example, "-") / file
    if ".." in path.parts or not path.exists():
        there = [
            f"`{BUILTIN}{name}/{known.name}`"
            for name, folder in EXAMPLES.items()
            for known in sorted((here / folder).glob("*.csv"))
        ]
        raise DataError("data", f"`{text}` is not among the built-in examples", ", ".join(there) or "none installed")
    return path


def _folder_of(text: str) -> Path | None:
    path = expanded(text)
    return path if path.is_dir() else None


def _file_in(folder: Path, role: str) -> Path:
    found = _role_file(folder, role)
    if found is not None:
        return found
    files = data_files(folder)
    if len(files) == 1:
        return files[0]
    if not files:
        raise DataError(f"data.{role}", f"the folder {folder} holds no data file", _KINDS)
    shown = ", ".join(path.name for path in files[:12])
    problem = f"the folder {folder} has several files and none is called {role} ({shown})"
    pattern = folder / f"*{files[0].suffix}"
    of_one_kind = len({path.suffix for path in files}) == 1
    fix = f"Name one{f', or take all of them: `data.{role}: {pattern}`' if of_one_kind else ''}."
    raise DataError(f"data.{role}", problem, "one file, or a glob", fix)


def role_files(folder: Path, role: str, *, like: Path | None = None) -> list[Path]:
    """The files in a folder whose names say that they are for `role`: those that say nothing else, if there are any.

    Args:
        folder: The folder.
        role: train, validation or test.
        like: Where several are left, those with this file's ending come first.
    """
    files = data_files(folder)
    exact = [path for path in files if data_stem(path) in ROLE_NAMES[role]]
    found = exact or [path for path in files if role_of(path) == role]
    same = [path for path in found if like is not None and path.suffixes == like.suffixes]
    return same if len(found) > 1 and len(same) == 1 else found


def _role_file(folder: Path, role: str, *, like: Path | None = None) -> Path | None:
    found = role_files(folder, role, like=like)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        found_here = f"the folder {folder} has several {role} files ({names})"
        raise DataError(f"data.{role}", found_here, "one", f"Set data.{role} to one of them, or to a pattern for all.")
    return found[0] if found else None


def _is_pattern(path: Path) -> bool:
    return any(mark in str(path) for mark in "*?[")


def _glob(pattern: Path) -> list[Path]:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if any(mark in part for mark in "*?["))
    base = Path(*parts[:fixed]) if fixed else Path()
    return sorted(path for path in base.glob(str(Path(*parts[fixed:]))) if path.is_file())


def _matches(pattern: Path, role: str) -> tuple[Path, ...]:
    found = _glob(pattern)
    found = [path for path in found if data_suffix(path) and not path.name.startswith((".", "~$"))]
    if not found:
        raise DataError(f"data.{role}", f"no data file matches `{pattern}`", _KINDS, "Check the pattern.")
    return tuple(found)


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either."
    names = [other.name for other in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {near[0]}?" if near else f"Look into {path.parent}."


def _refuse_shared(located: dict[str, tuple[Path, ...]]) -> None:
    seen: dict[Path, str] = {}
    for role, paths in located.items():
        for path in paths:
            other = seen.setdefault(path.resolve(), role)
            if other != role:
                fix = f"Give {role} a file of its own, or leave data.{role} out: it is then drawn from train."
                raise DataError(f"data.{role}", f"{path.name} is also the {other} file", "another file", fix)
