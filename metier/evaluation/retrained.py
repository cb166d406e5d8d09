"""What folds and seeds leave in an evaluation folder, made again from the item rows: for `verify.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from metier.errors import MetierError
from metier.evaluation.evaluate import recompute
from metier.evaluation.evidence import SeedStatement
from metier.evaluation.files import read_evaluations
from metier.evaluation.folded import again
from metier.evaluation.looks import look_path, read_look
from metier.evaluation.results import Evaluation, FoldReport
from metier.evaluation.significance.seeds import state_seeds
from metier.store.trained_again import SEEDS

SEED_SYSTEM = "seed-{number}"
"""Name of the model of one seed in the set `seeds`, counted from 1, which is the promoted model."""
Remade = tuple[str, object, object]
"""A file, what it says, and what the items give."""


def remade_looks(folder: Path, systems: Mapping[str, Evaluation]) -> Iterator[Remade]:
    """`folds.json` and `seeds.json` of a set, where they are, beside what the items give.

    Args:
        folder: The evaluation folder of the set.
        systems: Its systems, every number of them computed again.

    Raises:
        MetierError: The set lacks a system that the seeds were compared with.
        RunFolderError: A file is missing or damaged.
    """
    folds = read_look(FoldReport, folder)
    if folds is not None:
        yield _name(FoldReport, folder), folds, again(folds, systems)
    seeds = read_look(SeedStatement, folder)
    if seeds is not None:
        yield _name(SeedStatement, folder), seeds, _stated(seeds, folder, systems)


def _name(kind: type, folder: Path) -> str:
    return f"{folder.name}/{look_path(kind, folder).name}"


def _stated(reported: SeedStatement, folder: Path, systems: Mapping[str, Evaluation]) -> SeedStatement:
    found = {each.system: recompute(each) for each in read_evaluations(folder.parent / SEEDS)}
    names = [SEED_SYSTEM.format(number=number) for number in range(1, len(reported.seeds) + 1)]
    missing = [name for name in names if name not in found]
    if reported.against is not None and reported.against not in systems:
        missing.append(reported.against)
    if missing:
        where = _name(SeedStatement, folder)
        raise MetierError(where, f"names {', '.join(missing)}, whose items are not there", "", "Evaluate again.")
    return state_seeds(
        [found[name] for name in names], metric=reported.metric, seeds=reported.seeds,
        against=None if reported.against is None else systems[reported.against], candidates=reported.candidates,
    )  # fmt: skip
