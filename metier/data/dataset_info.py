"""LLaMA-Factory's `dataset_info.json`: a list of data sets, their files, and what their columns and turns are called.

The format is that of LLaMA-Factory's data/README.md. A listed data set is read from its local file, and its rows get
the usual names (`instruction`, `input`, `output`, `conversations` with `from` and `value`, `chosen`, `rejected`), so
that everything behind reads it like any other. What lies on a hub is refused: nothing is downloaded here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.data.formats import WANTED, data_suffix
from metier.data.paths import parsed
from metier.data.table import NestedText, column_list
from metier.errors import DataError

FILE = "dataset_info.json"
_HUBS = {"hf_hub_url": "the Hugging Face hub", "ms_hub_url": "ModelScope", "om_hub_url": "Modelers",
         "cloud_file_name": "a cloud", "script_url": "a loading script"}  # fmt: skip
_MEDIA = ("images", "videos", "audios")
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TURNS = {"role_tag": "from", "content_tag": "value"}
_ROLES = {"user_tag": "human", "assistant_tag": "gpt", "observation_tag": "observation",
          "function_tag": "function_call", "system_tag": "system"}  # fmt: skip
_CHAT = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
         "observation_tag": "tool", "function_tag": "function_call", "system_tag": "system"}  # fmt: skip
_COLUMNS = ("prompt", "query", "response", "history", "messages", "system", "tools", "chosen", "rejected", "kto_tag")
_SUPPORTED = ("alpaca", "sharegpt", "openai")

RawRow = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class ListedData:
    """A data set of a `dataset_info.json`."""

    name: str
    files: tuple[Path, ...]
    shape: str
    """What its rows are after `usual`: `alpaca`, `sharegpt`, `preference`, or `columns` (plain texts in `text`)."""
    columns: Mapping[str, str]
    """What LLaMA-Factory calls a column -> its name in the files."""
    tags: Mapping[str, str]
    """What LLaMA-Factory calls a part of a turn or a role -> its name in the files."""
    formatting: str
    ranking: bool
    num_samples: int | None
    """At most so many of its rows (drawn by chance there, by hash here: `data.max_examples`). None: all."""
    notices: tuple[str, ...] = ()

    def usual(self, row: RawRow) -> dict[str, str | None]:
        """A row with the usual names; other columns are kept where their name means nothing else.

        Args:
            row: As it is in the file.
        """
        named = self._named(row)
        taken = {*self.columns.values(), *_ALPACA.values(), "conversations", "messages", "history", "text"}
        return {**{name: cell for name, cell in row.items() if name not in taken and name not in named}, **named}

    def _named(self, row: RawRow) -> dict[str, str | None]:
        found = {key: row[column] for key, column in self.columns.items() if column in row}
        named: dict[str, str | None] = {}
        if self.formatting != "alpaca":
            named["conversations"] = self._turns(found.get("messages"))
        elif self.ranking:
            named["prompt"] = _asked(found)
        elif self.shape == "columns":
            return {"text": found.get("prompt")}
        else:
            named |= {usual: found[key] for key, usual in _ALPACA.items() if key in found}
            named |= {key: found[key] for key in ("history",) if key in found}
        if self.ranking:
            named |= {key: self._turns(found.get(key)) for key in ("chosen", "rejected")}
        return {**named, **{key: cell for key, cell in found.items() if key in ("system", "tools", "kto_tag")}}

    def _turns(self, cell: str | None) -> str | None:
        """A list of turns, or one turn, with the usual names of ShareGPT; anything else as it is."""
        value = parsed(cell)
        turns = value if isinstance(value, list) else [value]
        if not turns or not all(isinstance(turn, dict) for turn in turns):
            return cell
        named = [self._turn(turn) for turn in turns]
        return NestedText(json.dumps(named if isinstance(value, list) else named[0], ensure_ascii=False))

    def _turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        names = {self.tags[tag]: usual for tag, usual in _TURNS.items()}
        roles = {self.tags[tag]: usual for tag, usual in _ROLES.items()}
        renamed = {names.get(key, key): value for key, value in turn.items()}
        said = renamed.get("from")
        return {**renamed, "from": roles.get(said, said) if isinstance(said, str) else said}


def is_listed(path: Path) -> bool:
    """Whether a path is a `dataset_info.json`, or a folder that holds one.

    Args:
        path: Any path.
    """
    return (path.name == FILE and path.is_file()) or (path / FILE).is_file()


def listed_data(path: Path, name: str | None = None) -> ListedData:
    """A data set that a `dataset_info.json` lists.

    Args:
        path: The file, or its folder.
        name: The data set. None: the only one with local files.

    Raises:
        DataError: There is no such file or data set, it lies on a hub, its file is missing, or its form is not one that
            is read (pictures, sounds).
    """
    place = path / FILE if path.is_dir() else path
    listed = _read(place)
    if name is None:
        local = [key for key, entry in listed.items() if not _hub(entry)]
        if len(local) != 1:
            found = f"lists {len(local)} data sets with files ({column_list(local)})"
            raise DataError(str(place), found, "one of them", "Name it as data.dataset.")
        name = local[0]
    if name not in listed:
        near = difflib.get_close_matches(name, list(listed), n=1)
        fix = f"Did you mean `{near[0]}`?" if near else f"There are {column_list(listed)}."
        raise DataError("data.dataset", f"`{name}` is not in {place.name}", "one that is listed", fix)
    return _listed(name, listed[name], place)


def _read(place: Path) -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(place.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(str(place), "does not exist", f"a {FILE}", "Check the path.") from error
    except OSError as error:
        raise DataError(str(place), f"cannot be read ({error.strerror or error})", "", "Check permissions.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(str(place), "is not valid JSON", "", "Repair it.") from error
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()) or not value:
        raise DataError(str(place), "is no list of data sets", "an object with an object for each data set")
    return value


def _hub(entry: Mapping[str, Any]) -> str | None:
    return next((key for key in _HUBS if entry.get(key)), None)


def _listed(name: str, entry: Mapping[str, Any], place: Path) -> ListedData:
    where = f"{place.name}: {name}"
    hub = _hub(entry)
    if hub is not None:
        found = f"lies on {_HUBS[hub]} (`{entry[hub]}`), and nothing is downloaded here"
        raise DataError(where, found, "a local file", "Download it, and name it as file_name.")
    formatting = entry.get("formatting", "alpaca")
    if formatting not in _SUPPORTED:
        raise DataError(f"{where}.formatting", f"is `{formatting}`", f"one of {', '.join(_SUPPORTED)}")
    given = _names(entry, "columns", where)
    media = [key for key in _MEDIA if key in given]
    if media:
        raise DataError(where, f"has {' and '.join(media)}, and only text is read", "text", "Choose another data set.")
    columns = {key: given[key] for key in _COLUMNS if key in given}
    if "columns" not in entry:
        columns = {"messages": "conversations"} if formatting != "alpaca" else dict(_ALPACA)
    ranking = entry.get("ranking") is True
    wanted = ["prompt" if formatting == "alpaca" else "messages", *(["chosen", "rejected"] if ranking else [])]
    if ranking and "columns" not in entry:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    missing = [key for key in wanted if key not in columns]
    if missing:
        raise DataError(f"{where}.columns", f"does not name {' and '.join(missing)}", "", "Name the columns there.")
    usual = _CHAT if formatting == "openai" else {**_TURNS, **_ROLES}
    return ListedData(
        name=name,
        files=_files(entry, place, where),
        shape=_shape(formatting, ranking, columns),
        columns=columns,
        tags={**usual, **_names(entry, "tags", where)},
        formatting=formatting,
        ranking=ranking,
        num_samples=_samples(entry, where),
        notices=_notices(name, entry, columns),
    )


def _shape(formatting: str, ranking: bool, columns: Mapping[str, str]) -> str:
    if ranking:
        return "preference"
    if formatting != "alpaca":
        return "sharegpt"
    return "alpaca" if "response" in columns else "columns"


def _names(entry: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    given = entry.get(key) or {}
    if not isinstance(given, dict) or not all(value is None or isinstance(value, str) for value in given.values()):
        raise DataError(f"{where}.{key}", "is no object of names", '{"prompt": "instruction", …}')
    return {name: value for name, value in given.items() if value is not None}


def _samples(entry: Mapping[str, Any], where: str) -> int | None:
    given = entry.get("num_samples")
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    raise DataError(f"{where}.num_samples", f"is {given!r}", "a number of rows above 0")


def _files(entry: Mapping[str, Any], place: Path, where: str) -> tuple[Path, ...]:
    given = entry.get("file_name")
    if not isinstance(given, str) or not given:
        raise DataError(where, "names no file", "file_name")
    path = place.parent / given
    if path.is_dir():
        files = tuple(sorted(file for file in path.iterdir() if file.is_file() and _is_data(file)))
        if not files:
            raise DataError(f"{where}.file_name", f"the folder `{given}` holds no data file", WANTED)
        return files
    if not path.is_file():
        raise DataError(f"{where}.file_name", f"`{given}` does not exist in {place.parent}", "a file", "Put it there.")
    return (path,)


def _is_data(file: Path) -> bool:
    return not file.name.startswith(".") and bool(data_suffix(file) or file.suffix.lower() in (".txt", ".text"))


def _notices(name: str, entry: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[str, ...]:
    said = []
    if entry.get("split", "train") != "train":
        said.append(f"{name}: split `{entry['split']}` means nothing for a local file; all of it is read")
    if entry.get("subset"):
        said.append(f"{name}: subset `{entry['subset']}` means nothing for a local file; all of it is read")
    if "kto_tag" in columns:
        said.append(f"{name}: `{columns['kto_tag']}` says which answers are liked (kto_tag); it is kept, and not used")
    return tuple(said)


def _asked(found: RawRow) -> str | None:
    """The prompt of a preference: instruction and input joined as LLaMA-Factory joins them, after the history."""
    parts = [cell for key in ("prompt", "query") if (cell := found.get(key))]
    asked = "\n".join(parts)
    history = parsed(found.get("history"))
    if not isinstance(history, list) or not history:
        return asked or None
    turns = [
        {"from": role, "value": text}
        for pair in history if isinstance(pair, list)
        for role, text in zip(("human", "gpt"), pair, strict=False)
    ]  # fmt: skip
    return NestedText(json.dumps([*turns, {"from": "human", "value": asked}], ensure_ascii=False))
