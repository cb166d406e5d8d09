"""A user's own scorer: one function in a Python file beside the recipe.

    # scoring.py, named in the recipe as `scoring:score`
    def score(answer, gold, text):
        return 1.0 if answer and gold.lower() in answer.lower() else 0.0

`answer` is None where a system gave none; higher is better; None leaves the item out. The file is taken from the
recipe's folder and from nowhere else, and is run only where the recipe names it.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from types import ModuleType, TracebackType

from metier.errors import ArgumentError, MetierError
from metier.evaluation.results import Item
from metier.evaluation.written.text_metrics import Counts
from metier.store.fingerprint import file_sha256

Score = Callable[[str | None, str, str], float | None]
"""From (answer, gold, text) to a score; None for an item that cannot be scored."""


@dataclass(frozen=True, kw_only=True)
class OwnScorer:
    """A scorer that was loaded."""

    name: str
    """Its dotted path."""
    sha256: str
    """Of its file: what the scores depend on."""
    function: Score
    file: str


def load_scorer(dotted: str, folder: Path, where: str = "evaluation.scorer") -> OwnScorer:
    """Load a scorer from the recipe's folder.

    Args:
        dotted: `file:function`, or `folder.file:function` for a file in a folder beside the recipe; a resolved recipe
            has the whole path of the file there. The function may stand behind a dot, too.
        folder: The recipe's folder.
        where: The recipe's field, for messages.

    Raises:
        ArgumentError: The path leads nowhere or out of the folder, the file fails, or has no such function.
    """
    path, name = _place(dotted, folder, where)
    module = ModuleType(f"metier_own_scorer_{file_sha256(path)[:16]}")
    module.__file__ = str(path)
    with _OwnFaults(where, path, "fails when it is loaded"):
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        sys.modules[module.__name__] = module  # dataclasses look their module up
        exec(code, module.__dict__)
    function = getattr(module, name, None)
    if not callable(function):
        raise ArgumentError(where, f"{path.name} has no function `{name}`", "def score(answer, gold, text)")
    return OwnScorer(name=f"{path.stem}.{name}", sha256=file_sha256(path), function=function, file=str(path))


def _place(dotted: str, folder: Path, where: str) -> tuple[Path, str]:
    """The file of a scorer and the name of its function."""
    file, _, name = dotted.rpartition(":") if ":" in dotted else dotted.rpartition(".")
    if Path(file).is_absolute() and name.isidentifier():  # as the loaded recipe has it
        if not Path(file).is_file():
            raise ArgumentError(where, f"there is no {file}", "a Python file", "Put the scorer beside the recipe.")
        return Path(file), name
    parts = file.split(".")
    if not name.isidentifier() or not all(part.isidentifier() for part in parts):
        raise ArgumentError(where, f"found {dotted!r}", "a dotted path such as scoring.score")
    path = folder.joinpath(*parts).with_suffix(".py")
    inside = folder.resolve()
    if not path.is_file() or inside not in path.resolve().parents:
        found = f"there is no {path.relative_to(folder).as_posix()} in the recipe's folder"
        raise ArgumentError(where, found, "a Python file there", "Put the scorer beside the recipe.")
    return path, name


def with_own_scores(
    items: Sequence[Item], texts: Sequence[str], scorer: OwnScorer, where: str = "evaluation.scorer"
) -> list[Item]:
    """The items with what they add to `own_score`.

    Args:
        items: Answered records.
        texts: What was asked, in the order of `items`.
        scorer: The scorer.
        where: The recipe's field, for messages.

    Raises:
        ArgumentError: The scorer fails on an item, or gives something that is no number.
    """
    rows = [_counts(item, text, scorer, where) for item, text in zip(items, texts, strict=True)]
    return [replace(item, counts={**item.counts, "own_score": row}) for item, row in zip(items, rows, strict=True)]


def _counts(item: Item, text: str, scorer: OwnScorer, where: str) -> Counts:
    place = f"row {item.row} of {item.source}" if item.source else f"item {item.id}"
    with _OwnFaults(where, Path(scorer.file), f"fails on {place}"):
        score = scorer.function(item.answer, item.gold, text)
    if score is None:
        return 0.0, 0.0
    if not isinstance(score, Real) or not math.isfinite(float(score)):
        said = "a number that is not finite" if isinstance(score, Real) else f"a {type(score).__name__}"
        raise ArgumentError(where, f"{scorer.name} gives {said} for {place}", "a finite number, or None")
    return float(score), 1.0


class _OwnFaults:
    """A block that runs the user's code: whatever goes wrong in it leaves as an error of ours, told by its place.

    The fault's own words are left out, as they can quote a record; they follow as the cause.
    """

    def __init__(self, where: str, path: Path, what: str) -> None:
        self._where, self._path, self._what = where, path, what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # No `except`: a user's function may raise anything.
        if not isinstance(error, Exception) or isinstance(error, MetierError):
            return
        lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == str(self._path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
        at = f", line {line}" if line else ""
        found = f"{self._path.name} {self._what} ({type(error).__name__}{at})"
        raise ArgumentError(self._where, found, "a scorer that runs", "Mend it, or take it out.") from error
