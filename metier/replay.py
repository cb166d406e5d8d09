"""A finished run done again from its recipe and lock file, and compared with itself number by number.

What was measured is done again: data, baselines, training, answers. Nothing that earlier runs stored is taken but the
base models: texts' stored states, scores, answers and stages have a fresh place of their own. The ledger of test-set
openings is not touched, as nothing is chosen by a replay; the opening that the run had is the one that the replay has.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.data.prepare import load_prepared
from metier.errors import ArgumentError, DataError, RunFolderError
from metier.evaluation.files import read_evaluations
from metier.evaluation.results import Evaluation
from metier.evaluation.seal import OPENING, Opening, record_opening
from metier.evaluation.verify import Mismatch, differing_numbers
from metier.events import Observer
from metier.recipe.dump import dump_recipe, recipe_hash
from metier.recipe.load import load_recipe
from metier.recipe.sections import Recipe
from metier.run import run_recipe
from metier.store.ablation_folder import replay_folder
from metier.store.cache import PRIVATE_VARIABLE
from metier.store.files import read_json
from metier.store.run_folder import RunFolder, claim_run_folder, finish_stage, read_state, stage_key
from metier.store.values import from_plain, to_plain

STATE_VARIABLE = "METIER_STATE"
TAKES_TIME = frozenset({"seconds_per_thousand", "seconds", "advice", "price"})
"""What depends on how busy the machine was."""
NOT_COMPARED = frozenset({"opening.json"})
"""Of an evaluation folder: who opened the test set."""
LOCKED = ("metier", "machine", "hardware", "packages", "attention")
"""Parts of the lock file that can make the same recipe give other numbers."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of doing a run again."""

    folder: Path
    """Where it was done again."""
    reused: bool
    """Whether an earlier replay was complete and is what was compared."""
    differences: tuple[Mismatch, ...]
    """Numbers and answers that came out otherwise: `reported` by the run, `recomputed` by the replay."""
    compared: int
    """Files that were compared."""
    causes: tuple[str, ...]
    """What is not as it was when the run was made, and may be why."""

    @property
    def sentence(self) -> str:
        """How it went, in words."""
        if not self.differences:
            return f"The replay gives the same numbers: {self.compared} files agree, answer by answer."
        why = (
            "It may be why that " + "; ".join(self.causes)
            if self.causes
            else "Nothing that the lock file names has changed, so this should not be: please report it"
        )
        return f"{len(self.differences):,} numbers came out otherwise in the replay. {why}."


def replay_run(folder: RunFolder, observers: Sequence[Observer] = ()) -> Replay:
    """Do a complete run again in `replay` inside of its folder, and compare.

    A replay that was stopped goes on; one that is complete is compared again.

    Args:
        folder: The run.
        observers: Told about everything that happens.

    Raises:
        ArgumentError: This process is one of several.
        RunFolderError: The run is not complete, or the folder `replay` holds something else.
        DataError: The data is not what the run was made of.
        MetierError: As `run_recipe`.
    """
    processes = int(os.environ.get("WORLD_SIZE") or 1)
    if processes > 1:
        fix = "Run metier verify --replay without torchrun; the batch stays what it was for the run's processes."
        raise ArgumentError("--replay", f"was given to {processes} processes", "one", fix)
    lock = _lock_of(folder)
    recipe = load_recipe(folder.recipe)
    again = replay_folder(folder)
    with _apart(again), tempfile.TemporaryDirectory(prefix="metier-replay-") as state:
        os.environ[STATE_VARIABLE] = state
        complete = again.state.is_file() and read_state(again).complete
        if not complete:
            _begin(again, recipe, lock)
            run_recipe(recipe, output=again.path, resume=True, until="data", observers=observers)
            _refuse_other_data(again, lock)
            _open_as_before(folder)
            run_recipe(recipe, output=again.path, resume=True, observers=observers)
    differences, compared = compare_runs(folder, again)
    causes = tuple(_causes(lock, read_json(again.lock, format="lock")))
    return Replay(
        folder=again.path, reused=complete, differences=tuple(differences), compared=compared, causes=causes
    )  # fmt: skip


def compare_runs(folder: RunFolder, again: RunFolder) -> tuple[list[Mismatch], int]:
    """Every number and every answer of two runs side by side; what takes time is left out.

    Args:
        folder: The run.
        again: The other one.

    Returns:
        What differs, and how many files were compared.
    """
    found: list[Mismatch] = []
    names = sorted({*_evidence(folder), *_evidence(again)})
    for name in names:
        paths = [each.evaluation / name for each in (folder, again)]
        missing = next((number for number, path in enumerate(paths) if not path.is_file()), None)
        if missing is not None:
            there = ["a file", "a file"]
            there[missing] = "no file"
            found.append(Mismatch(where=name, reported=there[0], recomputed=there[1]))
        elif name.endswith(".jsonl"):
            continue  # with the results of their set, below
        else:
            one, other = (_without_time(_content(path)) for path in paths)
            found += differing_numbers(name, one, other)
        if name.endswith("results.json") and missing is None:
            found += _items(name.removesuffix("results.json"), *(read_evaluations(path.parent) for path in paths))
    return found, len(names)


def _items(where: str, ours: Sequence[Evaluation], theirs: Sequence[Evaluation]) -> Iterator[Mismatch]:
    """Answers that differ, row by row; what they say is not told, as it may be a text."""
    others = {evaluation.system: evaluation for evaluation in theirs}
    for evaluation in ours:
        if evaluation.system not in others:
            continue
        by_id = {item.id: item for item in others[evaluation.system].items}
        for place, item in enumerate(evaluation.items, start=1):
            if item.id not in by_id:
                row = f"{where}items-{evaluation.system}.jsonl row {place}"
                yield Mismatch(where=row, reported="an answered record", recomputed="no such record")
                continue
            one, other = to_plain(item), to_plain(by_id[item.id])
            texts = {name for name in ("answer", "gold", "reason") if one.pop(name) != other.pop(name)}
            row = f"{where}items-{evaluation.system}.jsonl row {place}"
            for name in sorted(texts):
                yield Mismatch(where=f"{row}: {name}", reported="one", recomputed="another")
            yield from differing_numbers(row, one, other)


def _lock_of(folder: RunFolder) -> Mapping[str, Any]:
    if not folder.state.is_file() or not read_state(folder).complete:
        fix = "Continue it: metier run RECIPE --resume."
        raise RunFolderError(str(folder.path), "cannot be replayed yet", "a complete run", fix)
    return read_json(folder.lock, format="lock")


@contextmanager
def _apart(again: RunFolder) -> Iterator[None]:
    """The replay's own cache and, later, its own state; the environment is as before when the block ends."""
    before = {name: os.environ.get(name) for name in (PRIVATE_VARIABLE, STATE_VARIABLE)}
    with tempfile.TemporaryDirectory(prefix="metier-replay-", dir=again.path.parent) as cache:
        os.environ[PRIVATE_VARIABLE] = cache
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _begin(again: RunFolder, recipe: Recipe, lock: Mapping[str, Any]) -> None:
    """Claim the folder, and say for how many processes a batch counted: those of the run, not those of today."""
    claim_run_folder(again.path, recipe_hash=recipe_hash(recipe), recipe_text=dump_recipe(recipe), resume=True)
    processes = lock.get("hardware", {}).get("batch_processes")
    if processes is not None and stage_key(again, "processes") is None:
        finish_stage(again, "processes", str(processes))


def _refuse_other_data(again: RunFolder, lock: Mapping[str, Any]) -> None:
    """The rows must be those of the run: other data gives other numbers, which says nothing about the run."""
    card = load_prepared(again.data).card
    was, now = lock["data"], {source.name: source.sha256 for source in card.sources}
    if was["fingerprint"] == card.fingerprint:
        return
    changed = sorted(name for name in {**was["files"], **now} if was["files"].get(name) != now.get(name))
    what = f"{', '.join(changed)} changed" if changed else "metier prepares it otherwise"
    fix = f"Put the data back as it was, and remove {again.path}."
    raise DataError(str(again.path), f"the data is not what the run was made of: {what}", "the same rows", fix)


def _open_as_before(folder: RunFolder) -> None:
    """Let the replay's own ledger say that as many runs opened the set before as before the run."""
    for path in sorted(folder.evaluation.glob(f"*/{folder.evaluation_of('test').opening.name}")):
        opening = from_plain(Opening, read_json(path, format=OPENING), where=str(path))
        for number in range(1, opening.openings or 1):
            record_opening(opening.fingerprint, f"before the run, {number}")


def _evidence(folder: RunFolder) -> list[str]:
    found = [*folder.evaluation.glob("*.json"), *folder.evaluation.glob("*/*.json"),
             *folder.evaluation.glob("*/items-*.jsonl")]  # fmt: skip
    return [path.relative_to(folder.evaluation).as_posix() for path in found if path.name not in NOT_COMPARED]


def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _without_time(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_time(each) for name, each in value.items() if name not in TAKES_TIME}
    return [_without_time(each) for each in value] if isinstance(value, list) else value


def _causes(lock: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What the two lock files say otherwise, as `torch was 2.4 and is 2.5`."""
    for name in LOCKED:
        for where, was, is_now in _leaves(name, lock.get(name), now.get(name)):
            if not where.endswith((".reason", "_bytes")):
                yield f"{where} was {was} and is {is_now}"
    for name, model in (lock.get("models") or {}).items():
        other = (now.get("models") or {}).get(name, {})
        if model.get("weights_sha256") != other.get("weights_sha256"):
            yield f"the weights of {model.get('name')} are others"


def _leaves(where: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from _leaves(f"{where}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield where, one, other
