"""The packaged word lists, read from `words/*.json`: every list has its source and its licence in its file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from metier.store.files import read_json

FOLDER = Path(__file__).parent / "words"
FORMATS = {
    "groups": "group_words",
    "names": "first_names",
    "pronouns": "pronoun_words",
    "stop_words": "stop_words",
    "swaps": "swap_words",
    "tones": "tones",
}
"""What each file calls itself."""


@lru_cache(maxsize=8)
def word_list(name: str) -> Mapping[str, Any]:
    """The content of one file.

    Args:
        name: A key of `FORMATS`.
    """
    return read_json(FOLDER / f"{name}.json", format=FORMATS[name])


def given_names() -> Mapping[str, tuple[str, ...]]:
    """First names and their short forms by the sex that they are mostly given to: `female`, `male`."""
    lists = word_list("names")
    return {sex: (*lists["given_names"][sex], *lists["short_forms"][sex]) for sex in ("female", "male")}


def sources() -> Mapping[str, str]:
    """Where each packaged list comes from, in one sentence each."""
    found = {name: str(given["source"]) for name, given in word_list("groups")["dimensions"].items()}
    found["first names"] = str(word_list("names")["given_names"]["source"])
    found["short forms of first names"] = str(word_list("names")["short_forms"]["source"])
    found["names by ethnicity"] = str(word_list("names")["names_by_ethnicity"]["source"])
    found["sentiment"] = str(word_list("tones")["sentiment"]["source"])
    found["refusal"] = str(word_list("tones")["refusal"]["source"])
    return found
