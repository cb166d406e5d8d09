"""The closer looks of one set as files beside its `results.json`: one row of `LOOKS` for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from metier.evaluation.evidence import ErrorReport, Robustness, SeedStatement, SliceReport, Trust
from metier.evaluation.results import FoldReport
from metier.evaluation.standings import Judgement, JudgeReport
from metier.evaluation.swap_values import SwapReport
from metier.store.files import read_json, write_json
from metier.store.values import from_plain

T = TypeVar("T")
LOOKS: Mapping[type, str] = {
    Trust: "trust",
    SliceReport: "slices",
    Robustness: "robustness",
    ErrorReport: "errors",
    SeedStatement: "seeds",
    FoldReport: "folds",
    Judgement: "judgement",
    JudgeReport: "judge",
    SwapReport: "swaps",
}
"""What was looked at -> its format; the file is `<format>.json`."""


def look_path(kind: type, folder: Path) -> Path:
    """Where a look lies.

    Args:
        kind: A row of `LOOKS`.
        folder: The evaluation folder of the set.
    """
    return folder / f"{LOOKS[kind]}.json"


def write_look(look: object, folder: Path) -> None:
    """Write one look.

    Args:
        look: A value whose class is a row of `LOOKS`.
        folder: The evaluation folder of the set.
    """
    write_json(look_path(type(look), folder), look, format=LOOKS[type(look)])


def read_look(kind: type[T], folder: Path) -> T | None:
    """Read one look; None where it was not taken.

    Args:
        kind: A row of `LOOKS`.
        folder: The evaluation folder of the set.

    Raises:
        RunFolderError: The file is damaged.
    """
    path = look_path(kind, folder)
    return from_plain(kind, read_json(path, format=LOOKS[kind]), where=str(path)) if path.exists() else None
