"""The evaluation folder of one set: `results.json`, `items-<system>.jsonl`, `comparison.json`.

From the items alone every number can be computed again; `verify.py` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from metier.errors import ArgumentError, RunFolderError
from metier.evaluation.results import Ablation, ClassScore, Comparison, Estimate, Evaluation, Item, Overfitting
from metier.store.files import read_json, read_json_lines, write_json, write_text
from metier.store.values import from_plain, to_plain

RESULTS, COMPARISON, ABLATION = "results.json", "comparison.json", "ablation.json"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_OF_THE_SET = ("task", "set", "n", "labels")
"""Fields that all systems of a set share: said once, above them."""


def items_path(folder: Path, system: str) -> Path:
    """Where the item rows of `system` lie.

    Raises:
        ArgumentError: The name cannot be part of a file name.
    """
    if not _NAME.match(system):
        raise ArgumentError("system", f"found the name {system!r}", "letters, digits, dot, dash, underscore")
    return folder / f"items-{system}.jsonl"


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write the items of one system, then its numbers into `results.json` beside those of the others.

    Args:
        evaluation: One system on the folder's set.
        folder: The evaluation folder of that set.

    Raises:
        RunFolderError: The folder holds results of another set or of other labels.
    """
    shared = {name: to_plain(getattr(evaluation, name)) for name in _OF_THE_SET}
    systems: dict[str, Any] = {}
    if (folder / RESULTS).exists():
        before = read_json(folder / RESULTS, format="results")
        systems = dict(before["systems"])
        for name, value in shared.items():
            if before.get(name) != value:
                raise RunFolderError(
                    str(folder / RESULTS),
                    f"holds results of another set: `{name}` differs",
                    "",
                    "Evaluate into another folder.",
                )
    rows = [json.dumps(to_plain(item), ensure_ascii=False, allow_nan=False) for item in evaluation.items]
    # Items first: a kill between the two leaves items without numbers, never numbers without items.
    write_text(items_path(folder, evaluation.system), "".join(f"{row}\n" for row in rows))
    own = [field.name for field in fields(Evaluation) if field.name not in (*_OF_THE_SET, "system", "items")]
    systems[evaluation.system] = {name: to_plain(getattr(evaluation, name)) for name in own}
    write_json(folder / RESULTS, {**shared, "systems": systems}, format="results")


def keep_systems(folder: Path, names: Collection[str]) -> None:
    """Remove the items and numbers of systems that are not among `names` any more.

    Args:
        folder: The evaluation folder of a set.
        names: Systems that stay.

    Raises:
        RunFolderError: `results.json` is missing or damaged.
    """
    results = read_json(folder / RESULTS, format="results")
    gone = [name for name in results["systems"] if name not in names]
    if not gone:
        return
    systems = {name: each for name, each in results["systems"].items() if name in names}
    # Numbers first: a kill between the two leaves items without numbers, never numbers without items.
    shared = {name: results[name] for name in _OF_THE_SET}
    write_json(folder / RESULTS, {**shared, "systems": systems}, format="results")
    for name in gone:
        items_path(folder, name).unlink(missing_ok=True)


def read_evaluations(folder: Path, *, items: bool = True, systems: Collection[str] | None = None) -> list[Evaluation]:
    """The evaluations of one set, in the order in which they were written.

    Args:
        folder: The evaluation folder of the set.
        items: Whether to read the item rows as well; a report of numbers does without.
        systems: Names of those that are wanted; others are not read. None: all.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    path = folder / RESULTS
    results = read_json(path, format="results")
    try:
        names = [name for name in results["systems"] if systems is None or name in systems]
        return [_evaluation(results, name, _read_items(folder, name) if items else ()) for name in names]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(str(path), f"is damaged: {error}", "", "Evaluate again.") from error


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.json`."""
    write_json(folder / COMPARISON, comparison, format="comparison")


def read_comparison(folder: Path) -> Comparison:
    """Read `comparison.json`.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    path = folder / COMPARISON
    return from_plain(Comparison, read_json(path, format="comparison"), where=str(path))


def write_overfitting(overfitting: Overfitting, path: Path) -> None:
    """Write `overfitting.json`."""
    write_json(path, overfitting, format="overfitting")


def read_overfitting(path: Path) -> Overfitting:
    """Read `overfitting.json`.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    return from_plain(Overfitting, read_json(path, format="overfitting"), where=str(path))


def write_ablation(ablation: Ablation, folder: Path) -> None:
    """Write `ablation.json`, beside the results and the comparison that it is about."""
    write_json(folder / ABLATION, ablation, format="ablation")


def read_ablation(folder: Path) -> Ablation | None:
    """Read `ablation.json`; None where there is none.

    Raises:
        RunFolderError: It is damaged.
    """
    path = folder / ABLATION
    return from_plain(Ablation, read_json(path, format="ablation"), where=str(path)) if path.exists() else None


def _evaluation(results: Mapping[str, Any], name: str, items: tuple[Item, ...]) -> Evaluation:
    own = dict(results["systems"][name])
    own.setdefault("per_field", {})  # results of the first version have none
    for metrics in ("metrics", "clean_metrics", "per_field"):
        own[metrics] = {key: Estimate(**estimate) for key, estimate in own[metrics].items()}
    own["per_class"] = {label: ClassScore(**score) for label, score in own["per_class"].items()}
    known = {field.name for field in fields(Evaluation)}
    shared = {key: results[key] for key in _OF_THE_SET}
    shared["labels"] = tuple(shared["labels"])
    return Evaluation(system=name, **shared, **{key: own[key] for key in own if key in known}, items=items)


def _read_items(folder: Path, system: str) -> tuple[Item, ...]:
    # Built directly: the general reader of `store.values` costs ten times as much on 10,000 rows.
    known = {field.name for field in fields(Item)}
    rows = read_json_lines(items_path(folder, system))
    path = str(items_path(folder, system))
    try:
        return tuple(
            Item(**{**{key: row[key] for key in row if key in known}, "flags": tuple(row["flags"]), "counts": {
                name: tuple(counts) for name, counts in row.get("counts", {}).items()
            }})
            for row in rows
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(path, f"is damaged: {error}", "", "Evaluate again.") from error
